"""Parquet files of a chunk. A table is told of a file when it is whole, so a torn one harms nobody."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from penstock.batch.plan import PROVENANCE

_GROUP_ROWS = 1 << 20


def write_file(path: Path, table: pa.Table) -> int:
    """Write rows to a file, over what may be there of an earlier attempt; returns its size.

    Texts and what is the same in all rows are stored by dictionary; numbers are not, for which it costs more than it
    saves.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    coded = [field.name for field in table.schema if field.name in PROVENANCE or _is_text(field.type)]
    try:
        pq.write_table(
            table,
            path,
            row_group_size=_GROUP_ROWS,
            compression="snappy",
            use_dictionary=coded,
            store_schema=False,
        )
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path.stat().st_size


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_dictionary(kind))
