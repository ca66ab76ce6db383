"""What notebooks use beside Python: SQL over the stack's tables, and Spark where it is. Loaded when it is used."""

import os
from typing import Any

from penstock.notebook.errors import NotSupportedHere


def query(statement: str) -> Any:
    """What a statement gives, as a DataFrame of pandas; it sees the tables that the task's token shows.

    Raises:
        PenstockError: as `penstock tables sql` does.
    """
    # Most notebooks have no SQL, and need not wait for what it takes.
    import pyarrow as pa  # noqa: PLC0415

    from penstock.catalog.query import run  # noqa: PLC0415
    from penstock.catalog.stack import StackSource  # noqa: PLC0415
    from penstock.client.api import ApiClient  # noqa: PLC0415

    api = ApiClient(os.environ["DATABRICKS_HOST"], os.environ["DATABRICKS_TOKEN"])
    rows = run(StackSource(api), statement)
    return pa.Table.from_batches(rows.batches, rows.schema).to_pandas()


class LazySpark:
    """Stands for `spark` until it is used; then it is a local session."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(_session(), name)


def _session() -> Any:
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415 - an extra
    except ImportError:
        raise NotSupportedHere(
            "spark: this notebook uses Spark, which is not installed here; pip install 'penstock[spark]' brings it."
        ) from None
    return SparkSession.builder.getOrCreate()
