"""Feedback that tells of requests which are not in the payload table."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

MAX_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Unmatched:
    """How much of it there is, and some of the ids."""

    count: int
    examples: tuple[str, ...]


def unmatched(feedback: Path, payload: Path, since_us: int, until_us: int) -> Unmatched:
    """Look for feedback that was told after one time, until another, and belongs to nothing.

    Args:
        feedback: folder of the feedback table.
        payload: folder of the payload table; there need not be one.
        since_us: microseconds since 1970.
        until_us: the same.

    Raises:
        DeltaError, OSError: a table cannot be read.
    """
    tables = QueryBuilder().register("told", DeltaTable(str(feedback)))
    has_payload = (payload / "_delta_log").is_dir()
    if has_payload:
        tables = tables.register("logged", DeltaTable(str(payload)))
    count, examples = 0, []
    for key in ("databricks_request_id", "client_request_id"):
        wanted = (
            f"SELECT {key} AS id, count(*) AS n FROM told WHERE {key} IS NOT NULL "  # noqa: S608 - names of ours
            f"AND feedback_time > to_timestamp_micros({since_us}) AND feedback_time <= to_timestamp_micros({until_us}) "
            f"GROUP BY {key}"
        )
        known = f" LEFT ANTI JOIN logged ON t.id = logged.{key}" if has_payload else ""
        left = f"SELECT id, n FROM ({wanted}) AS t{known}"  # noqa: S608
        found = pa.table(tables.execute(f"SELECT coalesce(sum(n), 0) AS n FROM ({left})"))  # noqa: S608
        if more := found.column("n")[0].as_py():
            count += more
            some = pa.table(tables.execute(f"SELECT id FROM ({left}) ORDER BY id LIMIT {MAX_EXAMPLES}"))  # noqa: S608
            examples += some.column("id").to_pylist()
    return Unmatched(count, tuple(examples[:MAX_EXAMPLES]))
