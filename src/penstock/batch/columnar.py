"""Rows of Parquet files and Delta tables: file by file in the order of their names, row group by row group."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from penstock.batch.pieces import Piece

_BATCH_ROWS = 65_536
_OPTIONS = ds.ParquetFragmentScanOptions(pre_buffer=False)
"""A row group is read column by column as it is decoded, and not into memory as a whole before."""


class ColumnarRows:
    """A `Rows` of a dataset whose files have a known number of rows."""

    def __init__(self, dataset: ds.Dataset) -> None:
        self._fragments = sorted(dataset.get_fragments(), key=lambda fragment: str(fragment.path))
        self.schema = dataset.schema
        self.total: int | None = sum(fragment.count_rows() for fragment in self._fragments)

    def pieces(self, start: int) -> Iterator[Piece]:
        """See `Rows`."""
        for fragment in self._fragments:
            rows = fragment.count_rows()
            if start >= rows:
                start -= rows
                continue
            yield from self._pieces_of(fragment, start)
            start = 0

    def _pieces_of(self, fragment: ds.ParquetFileFragment, start: int) -> Iterator[Piece]:
        first = 0
        for group in fragment.split_by_row_group():
            rows = group.count_rows()
            if first + rows <= start:
                first += rows
                continue
            scanner = group.scanner(
                schema=self.schema, batch_size=_BATCH_ROWS, batch_readahead=2, fragment_scan_options=_OPTIONS
            )
            for batch in scanner.to_batches():
                piece = Piece(str(fragment.path), first, batch.num_rows, pa.Table.from_batches([batch]))
                first += batch.num_rows
                if first > start:
                    yield piece.part(max(0, start - piece.first), piece.records)


def parquet_rows(files: list[str], base: str | None) -> ColumnarRows:
    """Those of files; folders beneath `base` named `column=value` are columns.

    Raises:
        pyarrow.ArrowException, OSError: a file cannot be read, or their columns do not agree.
    """
    options = {
        "format": "parquet",
        "partitioning": ds.partitioning(flavor="hive") if base is not None else None,
        "partition_base_dir": base,
    }
    found = ds.dataset(files, **options)
    schema = pa.unify_schemas([found.schema, *(fragment.physical_schema for fragment in found.get_fragments())])
    return ColumnarRows(ds.dataset(files, schema=pa.schema([_decoded(field) for field in schema]), **options))


def _decoded(field: pa.Field) -> pa.Field:
    """A column that is stored by dictionary, as pandas' categories are, is one of its values."""
    return pa.field(field.name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type)


def local_filesystem(folder: Path) -> fs.FileSystem:
    """A folder of this machine, read without a detour through Python."""
    return fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem())
