"""A local Spark session."""

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.domain.errors import InvalidParameterValue, NotSupported, TemporarilyUnavailable
from penstock.spark.delta import delta_conf
from penstock.spark.java import find_java

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JARS = "PENSTOCK_SPARK_JARS"
_PYTHON = "PYSPARK_PYTHON"
LOOPBACK = "127.0.0.1"


def session(
    *,
    cores: int | None = None,
    memory: str = "1g",
    delta: bool = False,
    jars: Sequence[str | Path] = (),
    conf: Mapping[str, str] | None = None,
) -> "SparkSession":
    """A Spark session of this machine; the one that runs already, if there is one.

    It listens on the loopback alone, has no web page, takes times for UTC, and its workers are this very Python, so
    that they have what models need.

    Args:
        cores: how many tasks run at once; all cores by default.
        memory: of the Java process, as Spark writes sizes.
        delta: whether Delta tables are read and written. Spark asks Maven's repository for what is missing.
        jars: Delta's jars, if they are at hand, else those that `PENSTOCK_SPARK_JARS` names, as a path does.
        conf: further settings of Spark; they win.

    Raises:
        NotSupported: pyspark is not installed, or Delta has no jars for it.
        TemporarilyUnavailable: there is no Java, or Spark does not start.
        InvalidParameterValue: an argument cannot be.
    """
    if importlib.util.find_spec("pyspark") is None:
        raise NotSupported("Spark is not installed: pip install 'penstock[spark]'.")
    if cores is not None and cores < 1:
        raise InvalidParameterValue(f"cores: got {cores}; wanted a whole number from 1.")
    import pyspark  # noqa: PLC0415 - the extra `spark` has it

    files = [Path(jar).absolute() for jar in jars or filter(None, os.environ.get(JARS, "").split(os.pathsep))]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise InvalidParameterValue(f"jars: got {', '.join(missing)}; wanted files that exist.")
    settings = session_conf(cores or os.cpu_count() or 1, memory)
    if delta or files:
        settings |= delta_conf(pyspark.__version__, files)
    return _started({**settings, **(conf or {})}, asks_maven="spark.jars.packages" in settings)


@contextmanager
def session_for(cores: int | None) -> Iterator["SparkSession"]:
    """The session that runs, else one that ends with the block; raises as `session` does.

    Raises:
        NotSupported: the one that runs is of Spark Connect, which knows no cores.
    """
    running = _running()
    if running is not None:
        if not hasattr(running, "_jvm"):
            raise NotSupported("engine spark: the session that runs is one of Spark Connect; wanted a classic one.")
        yield running
        return
    opened = session(cores=cores)
    try:
        yield opened
    finally:
        opened.stop()


def session_conf(cores: int, memory: str) -> dict[str, str]:
    """The settings of a session without Delta."""
    return {
        "spark.master": f"local[{cores}]",
        "spark.app.name": "penstock",
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        "spark.driver.memory": memory,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(cores),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.log.level": "ERROR",
    }


def _started(conf: Mapping[str, str], *, asks_maven: bool) -> "SparkSession":
    from pyspark.errors import PySparkRuntimeError  # noqa: PLC0415 - the extra `spark` has it
    from pyspark.sql import SparkSession  # noqa: PLC0415

    running = _running()
    if running is not None:
        return running
    find_java()
    builder = SparkSession.builder
    for name, value in conf.items():
        builder = builder.config(name, value)
    try:
        with _workers_are(sys.executable):
            return builder.getOrCreate()
    except PySparkRuntimeError as exc:
        why = (
            " It was to fetch Delta's jars from Maven's repository: is that reached from here? "
            "Else give the jars (jars), or leave Delta to the local engine."
            if asks_maven
            else ""
        )
        raise TemporarilyUnavailable(f"Spark does not start: {str(exc).rstrip('.')}.{why}") from exc


def _running() -> "SparkSession | None":
    if "pyspark.sql" not in sys.modules:
        return None
    from pyspark.sql import SparkSession  # noqa: PLC0415 - the extra `spark` has it

    return SparkSession.getActiveSession()


@contextmanager
def _workers_are(python: str) -> Iterator[None]:
    """Spark takes the Python of its workers from a variable when it starts, and from no setting; yours wins."""
    given = os.environ.get(_PYTHON)
    os.environ.setdefault(_PYTHON, python)
    try:
        yield
    finally:
        if given is None:
            del os.environ[_PYTHON]
