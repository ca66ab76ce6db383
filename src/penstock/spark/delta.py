"""Delta in a session of Spark: its jars are in no wheel, but in Maven's repository or in a folder of yours."""

from collections.abc import Sequence
from pathlib import Path

from penstock.domain.errors import NotSupported

RELEASE = "4.4.1"
_SPARK_VERSIONS = ("4.0", "4.1", "4.2")
"""Those that this release of Delta has jars for."""
_EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
_CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"


def delta_conf(spark_version: str, jars: Sequence[Path]) -> dict[str, str]:
    """The settings of a session that reads and writes Delta.

    Args:
        spark_version: of the session, such as 4.2.1.
        jars: Delta's, if they are at hand; else Spark asks Maven's repository when the session starts.

    Raises:
        NotSupported: Delta has no jars for this Spark.
    """
    conf = {"spark.sql.extensions": _EXTENSION, "spark.sql.catalog.spark_catalog": _CATALOG}
    if jars:
        return {**conf, "spark.jars": ",".join(str(jar) for jar in jars)}
    minor = ".".join(spark_version.split(".")[:2])
    if minor not in _SPARK_VERSIONS:
        raise NotSupported(
            f"Delta {RELEASE} has no jars for Spark {spark_version}, but for {', '.join(_SPARK_VERSIONS)}: "
            "install such a pyspark, or give the jars (jars)."
        )
    return {**conf, "spark.jars.packages": f"io.delta:delta-spark_{minor}_2.13:{RELEASE}"}
