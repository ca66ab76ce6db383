"""Delta in Spark: its jars are in no wheel, but in Maven's repository or in a folder of yours."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.domain.errors import NotSupported

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RELEASE = "4.4.1"
_SPARK_VERSIONS = ("4.0", "4.1", "4.2")
"""Those that this release of Delta has jars for."""
EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
_CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"


def delta_conf(spark_version: str, jars: Sequence[Path]) -> dict[str, str]:
    """The settings of a session that reads and writes Delta.

    Args:
        spark_version: of the session, such as 4.2.1.
        jars: Delta's, if they are at hand; else Spark asks Maven's repository when the session starts.

    Raises:
        NotSupported: Delta has no jars for this Spark.
    """
    conf = {"spark.sql.extensions": EXTENSION, "spark.sql.catalog.spark_catalog": _CATALOG}
    if jars:
        return {**conf, "spark.jars": ",".join(str(jar) for jar in jars)}
    minor = ".".join(spark_version.split(".")[:2])
    if minor not in _SPARK_VERSIONS:
        raise NotSupported(
            f"Delta {RELEASE} has no jars for Spark {spark_version}, but for {', '.join(_SPARK_VERSIONS)}: "
            "install such a pyspark, or give the jars (jars)."
        )
    return {**conf, "spark.jars.packages": f"io.delta:delta-spark_{minor}_2.13:{RELEASE}"}


def has_delta(spark: "SparkSession") -> bool:
    """Whether a session reads and writes Delta."""
    return EXTENSION in (spark.conf.get("spark.sql.extensions", "") or "")


def require_delta(spark: "SparkSession", what: str) -> None:
    """Go on only if a session reads and writes Delta.

    Args:
        spark: the session.
        what: is a Delta table, for the message.

    Raises:
        NotSupported: it does not.
    """
    if not has_delta(spark):
        raise NotSupported(
            f"{what} is a Delta table, and this Spark session has not Delta's jars. Give them with "
            "penstock.spark.session(delta=True), which asks Maven's repository, or with PENSTOCK_SPARK_JARS; "
            "or run it by the local engine, which needs neither jars nor Java."
        )
