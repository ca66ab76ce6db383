"""Rows of CSV and JSON-lines files. A line that is no row, or a value of the wrong type, costs its own row only.

What types columns have is seen in the beginning of the first file, but for those that the model's signature tells of.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv, json

from penstock.batch.casting import not_castable
from penstock.batch.pieces import BadRow, Piece

_BLOCK_BYTES = 4 << 20
_MAX_TEXT = 4000

Parsed = tuple[int, pa.Table, tuple[BadRow, ...]]
"""Records, those that could be read, those that could not."""


class TextRows:
    """A `Rows` of text files, which are read from their beginning whatever row is wanted."""

    total: int | None = None

    def __init__(self, files: Sequence[str], schema: pa.Schema, parse: Callable[[str, pa.Schema], Iterator[Parsed]]):
        self.schema = schema
        self._files = files
        self._parse = parse

    def pieces(self, start: int) -> Iterator[Piece]:
        """See `Rows`."""
        seen = 0
        for file in self._files:
            first = 0
            for records, table, bad in self._parse(file, self.schema):
                piece = Piece(file, first, records, table, bad)
                first, seen = first + records, seen + records
                if seen > start:
                    yield piece.part(max(0, records - (seen - start)), records)


def csv_rows(files: Sequence[str], known: pa.Schema) -> TextRows:
    """Those of CSV files with a heading; `known` are columns whose types are told.

    Raises:
        pyarrow.ArrowException, OSError: the first file cannot be read.
    """
    with _opened(files[0]) as stream:
        options = csv.ParseOptions(invalid_row_handler=lambda _: "skip")
        found = csv.open_csv(
            stream, read_options=csv.ReadOptions(block_size=_BLOCK_BYTES), parse_options=options
        ).schema
    return TextRows(files, _known(found, known), _parse_csv)


def json_rows(files: Sequence[str], known: pa.Schema) -> TextRows:
    """Those of files with a JSON object a line; `known` are columns whose types are told.

    Raises:
        pyarrow.ArrowException, OSError: the first file cannot be read.
    """
    with _opened(files[0]) as stream:
        block = next(_blocks(stream), b"")
    return TextRows(files, _known(_inferred(block), known), _parse_json)


def _known(found: pa.Schema, known: pa.Schema) -> pa.Schema:
    fields = [known.field(field.name) if field.name in known.names else field for field in found]
    return pa.schema([pa.field(f.name, pa.string() if pa.types.is_null(f.type) else f.type) for f in fields])


def _opened(file: str) -> Any:
    """A file, unpacked if its name says that it is packed."""
    return pa.input_stream(file, compression="detect")


def _parse_csv(file: str, schema: pa.Schema) -> Iterator[Parsed]:
    """Every value is read as text and then cast: a text that is no number is told of with its row."""
    wrong: list[BadRow] = []

    def keep(row: Any) -> str:
        wrong.append(BadRow(row.number, row.text, f"it has {row.actual_columns} values; wanted {row.expected_columns}"))
        return "skip"

    with _opened(file) as stream:
        try:
            reader = csv.open_csv(
                stream,
                read_options=csv.ReadOptions(block_size=_BLOCK_BYTES, use_threads=False),
                parse_options=csv.ParseOptions(invalid_row_handler=keep),
                convert_options=csv.ConvertOptions(
                    column_types={name: pa.string() for name in schema.names},
                    strings_can_be_null=True,
                    include_columns=schema.names,
                ),
            )
        except pa.ArrowInvalid as exc:
            raise pa.ArrowInvalid(f"{file}: {exc}") from exc
        seen = 0
        for batch in reader:
            table = pa.Table.from_batches([batch])
            records, places, skipped = _with_skipped(table.num_rows, wrong, seen)
            wrong.clear()
            cast, bad = _cast(table, schema, places)
            yield records, cast, tuple(sorted((*skipped, *bad), key=lambda row: row.at))
            seen += records


def _with_skipped(rows: int, wrong: list[BadRow], seen: int) -> tuple[int, NDArray[np.int64], list[BadRow]]:
    """How many records a batch stands for, where its rows are among them, and those that are not in it.

    pyarrow numbers rows from 1 and counts the heading.
    """
    records = rows + len(wrong)
    skipped = [BadRow(min(row.at - 2 - seen, records - 1), row.text[:_MAX_TEXT], row.reason) for row in wrong]
    places = np.delete(np.arange(records), [row.at for row in skipped])
    return records, places, skipped


def _cast(table: pa.Table, schema: pa.Schema, places: NDArray[np.int64]) -> tuple[pa.Table, list[BadRow]]:
    """Columns of texts as those of their types, without the rows of which a text is none."""
    try:
        return table.cast(schema), []
    except pa.ArrowInvalid:
        pass
    reasons: dict[int, str] = {}
    for field, column in zip(schema, table.columns, strict=True):
        for at in not_castable(column, field.type):
            reasons.setdefault(at, f"column {field.name}: got '{column[at]}'; wanted {field.type}")
    lines = table.take(list(reasons)).to_pylist()
    bad = [
        BadRow(int(places[at]), ",".join("" if v is None else str(v) for v in line.values())[:_MAX_TEXT], reason)
        for (at, reason), line in zip(reasons.items(), lines, strict=True)
    ]
    kept = np.delete(np.arange(table.num_rows), list(reasons))
    return table.take(kept).cast(schema), bad


def _blocks(stream: Any) -> Iterator[bytes]:
    """Whole lines, some megabytes at a time."""
    rest = b""
    while data := stream.read(_BLOCK_BYTES):
        head, newline, tail = (rest + data).rpartition(b"\n")
        if newline:
            yield head + newline
        rest = tail if newline else rest + data
    if rest.strip():
        yield rest


def _inferred(block: bytes) -> pa.Schema:
    """The types in a block, of lines that are rows."""
    try:
        return json.read_json(io.BytesIO(block), read_options=json.ReadOptions(block_size=len(block) + 1)).schema
    except pa.ArrowInvalid:
        found: list[pa.Schema] = []
        for line in filter(bytes.strip, block.split(b"\n")):
            try:
                found.append(json.read_json(io.BytesIO(line)).schema)
                pa.unify_schemas(found, promote_options="permissive")
            except pa.ArrowException:
                found = found[:-1] if len(found) > 1 else found
        return pa.unify_schemas(found, promote_options="permissive") if found else pa.schema([])


def _parse_json(file: str, schema: pa.Schema) -> Iterator[Parsed]:
    options = json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    with _opened(file) as stream:
        for block in _blocks(stream):
            lines = [line for line in block.split(b"\n") if line.strip()]
            try:
                table = _read(b"\n".join(lines), options).select(schema.names)
                if table.num_rows != len(lines):
                    raise pa.ArrowInvalid("a line is not one row")
            except pa.ArrowInvalid:
                yield _line_by_line(lines, options, schema)
            else:
                yield len(lines), table, ()


def _line_by_line(lines: list[bytes], options: json.ParseOptions, schema: pa.Schema) -> Parsed:
    good, bad = [], []
    for at, line in enumerate(lines):
        try:
            table = _read(line, options).select(schema.names)
            if table.num_rows != 1:
                raise pa.ArrowInvalid("it is not one JSON object")
            good.append(table)
        except pa.ArrowInvalid as exc:
            bad.append(BadRow(at, line.decode(errors="replace")[:_MAX_TEXT], str(exc)))
    return len(lines), pa.concat_tables(good) if good else schema.empty_table(), tuple(bad)


def _read(data: bytes, options: json.ParseOptions) -> pa.Table:
    return json.read_json(
        io.BytesIO(data), read_options=json.ReadOptions(block_size=len(data) + 1), parse_options=options
    )
