"""One statement over the tables of a catalog: read-only, and only the tables that it names are opened."""

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from penstock.catalog.dialect import catalog_alias, mentions, translate
from penstock.catalog.engine import connect, lock, quoted, scan
from penstock.catalog.ports import Source
from penstock.catalog.typed_view import create_views
from penstock.domain.catalog import JOINED_SUFFIX, PAYLOAD_SUFFIX, VIEW_SUFFIX, Table, TableType, payload_of
from penstock.domain.errors import InternalError, InvalidParameterValue, NotSupported, PenstockError, TableDoesNotExist
from penstock.domain.joined_view import joined_view
from penstock.domain.table_name import DEFAULT_CATALOG, DEFAULT_SCHEMA, TableName

_BATCH_ROWS = 8192
_READS = frozenset({duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN})


@dataclass(frozen=True, slots=True)
class Rows:
    """What a statement gives, read as it is taken."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def run(source: Source, sql: str) -> Rows:
    """Run a statement that reads.

    Raises:
        TableDoesNotExist: it names a table that there is not.
        NotSupported: it does not only read.
        InvalidParameterValue: its syntax or a name in it is wrong, or a value cannot be had; also while rows are taken.
    """
    tables = {table.name: table for table in source.tables()}
    schemas = {(name.catalog, name.schema) for name in tables} | {(DEFAULT_CATALOG, DEFAULT_SCHEMA)}
    connection = connect()
    with _told([*map(str, tables)]):
        _create_schemas(connection, schemas)
        statement = _only_statement(connection, translate(sql, schemas))
        named = [tables[name] for name in sorted(mentions(sql) & tables.keys())]
        for table in named:
            create(connection, source, table)
        lock(connection, [path for table in named for path in (table.path, table.feedback_path) if path])
        reader = connection.execute(statement).to_arrow_reader(_BATCH_ROWS)
    return Rows(reader.schema, _batches(reader, connection))


def create(connection: duckdb.DuckDBPyConnection, source: Source, table: Table) -> None:
    """Make a table of the catalog known to a connection, under its name."""
    payload = payload_of(table.name)
    if table.kind is TableType.VIEW and payload is not None:
        stem = payload.table.removesuffix(PAYLOAD_SUFFIX)

        def named(suffix: str) -> str:
            return full_name(TableName(payload.catalog, payload.schema, stem + suffix))

        create_views(connection, named, table.path, source.models(payload))
        if table.feedback_path:
            joined = joined_view(named(VIEW_SUFFIX), scan(table.feedback_path))
            connection.execute(f"CREATE OR REPLACE VIEW {named(JOINED_SUFFIX)} AS {joined}")
        return
    connection.execute(f"CREATE OR REPLACE VIEW {full_name(table.name)} AS SELECT * FROM {scan(table.path)}")


def full_name(name: TableName) -> str:
    """A table's name as SQL of DuckDB writes it."""
    return ".".join(map(quoted, (catalog_alias(name.catalog), name.schema, name.table)))


def _create_schemas(connection: duckdb.DuckDBPyConnection, schemas: set[tuple[str, str]]) -> None:
    for catalog in {catalog for catalog, _ in schemas}:
        connection.execute(f"ATTACH ':memory:' AS {quoted(catalog_alias(catalog))}")
    for catalog, schema in schemas:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(catalog_alias(catalog))}.{quoted(schema)}")
    connection.execute(f"USE {quoted(catalog_alias(DEFAULT_CATALOG))}.{quoted(DEFAULT_SCHEMA)}")


def _only_statement(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    statements = connection.extract_statements(sql)
    if len(statements) == 1 and statements[0].type in _READS:
        return str(statements[0].query)
    if any(statement.type not in _READS for statement in statements):
        raise NotSupported("sql: got a statement that does not only read; wanted one SELECT, DESCRIBE or EXPLAIN.")
    raise InvalidParameterValue(f"sql: got {len(statements)} statements; wanted one.")


def _batches(reader: pa.RecordBatchReader, connection: duckdb.DuckDBPyConnection) -> Iterator[pa.RecordBatch]:
    """The reader's batches; the connection is kept as long as they are read."""
    with connection, _told():
        yield from reader


_NOISE = re.compile(r"^(?:Binder|Catalog|Parser|Conversion|Invalid Input|IO|Out of Range) Error: ")
_POSITION = re.compile(r"\n+LINE \d+:.*", re.DOTALL)
_UNKNOWN = re.compile(r'(?:Table with name |Catalog ")"?(.+?)"? does not exist!')


@contextmanager
def _told(known: Sequence[str] = ()) -> Iterator[None]:
    """DuckDB's errors in our words; `known` are the names of tables that there are."""
    try:
        yield
    except PenstockError:
        raise
    except (duckdb.IOException, duckdb.PermissionException) as exc:
        raise NotSupported(f"sql: only tables of the catalog can be read, while they are there: {_text(exc)}") from exc
    except (duckdb.InternalException, duckdb.FatalException, duckdb.OutOfMemoryException) as exc:
        raise InternalError(f"sql: {_text(exc)}") from exc
    except (duckdb.Error, pa.ArrowException, OSError) as exc:
        text = _text(exc)
        if isinstance(exc, duckdb.CatalogException | duckdb.BinderException) and (unknown := _UNKNOWN.match(text)):
            raise TableDoesNotExist(_no_table(unknown[1], known)) from exc
        raise InvalidParameterValue(f"sql: {text}") from exc


def _no_table(name: str, known: Sequence[str]) -> str:
    by_last = {full.rpartition(".")[2]: full for full in known}
    close = [by_last[last] for last in difflib.get_close_matches(name, by_last, n=3)]
    hint = f"Did you mean {' or '.join(close)}?" if close else "'penstock tables list' tells which there are."
    return f"sql: there is no table, schema or catalog '{name}'. {hint}"


def _text(error: Exception) -> str:
    """What DuckDB says, without marks of the position, and with our names of catalogs."""
    text = _POSITION.sub("", _NOISE.sub("", str(error))).strip()
    return re.sub(r'"([^"]*) "(?=\.|$)', r"\1", text.replace("\n", " "))
