"""SQL as users of Databricks write it, in the words of DuckDB.

Names may stand in backticks, and `default` is the name of a schema like any other. DuckDB keeps `main`, `system` and
`temp` for itself, so that our catalogs have other names there: with a space at the end, which no name of ours has.
"""

import re
from collections.abc import Collection

from penstock.catalog.engine import quoted
from penstock.domain.table_name import DEFAULT_CATALOG, DEFAULT_SCHEMA, TableName

_NAME = r'`(?:[^`]|``)*`|"(?:[^"]|"")*"|[^\W\d]\w*'
_TOKEN = re.compile(
    rf"""(?P<text>[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | --[^\n]* | /\*.*?\*/ | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<names>(?:{_NAME})(?:\s*\.\s*(?:{_NAME}))*)""",
    re.VERBOSE | re.DOTALL,
)
_PART = re.compile(_NAME)


def catalog_alias(catalog: str) -> str:
    """What a catalog is called in DuckDB."""
    return f"{catalog} "


def translate(sql: str, schemas: Collection[tuple[str, str]]) -> str:
    """A statement in DuckDB's words; `schemas` are the catalogs and schemas that there are."""

    def replace(match: re.Match[str]) -> str:
        if match["names"] is None:
            return match[0]
        parts = _PART.findall(match["names"])
        plain = [_unquoted(part) for part in parts]
        if len(parts) > 2 and (plain[0].lower(), plain[1].lower()) in schemas:  # noqa: PLR2004 - catalog, schema, table
            plain[0] = catalog_alias(plain[0].lower())
            return ".".join(map(quoted, plain))
        is_schema = len(parts) > 1 and parts[0].lower() == DEFAULT_SCHEMA
        if not is_schema and "`" not in match["names"]:
            return match[0]
        return ".".join(map(quoted, plain))

    return _TOKEN.sub(replace, sql)


def mentions(sql: str) -> set[TableName]:
    """All that a statement may mean as the name of a table; most of it are names of other things."""
    found = set()
    for match in _TOKEN.finditer(sql):
        parts = [_unquoted(part).lower() for part in _PART.findall(match["names"] or "")]
        for given in range(min(len(parts), 3)):
            missing = (DEFAULT_CATALOG, DEFAULT_SCHEMA)[: 2 - given]
            found.add(TableName(*missing, *parts[: given + 1]))
    return found


def _unquoted(part: str) -> str:
    mark = part[0]
    return part[1:-1].replace(mark * 2, mark) if mark in '`"' else part
