"""Names of tables: `catalog.schema.table`."""

import re
from dataclasses import dataclass

from penstock.domain.errors import InvalidParameterValue

DEFAULT_CATALOG, DEFAULT_SCHEMA = "main", "default"
_MAX_LENGTH = 255
_PART = re.compile(rf"[^\x00-\x20./`%\x7f]{{1,{_MAX_LENGTH}}}")
"""What Unity Catalog takes: no control character, space, full stop or slash; nor the backtick, which quotes, and the
percent sign, which readers of Delta take for the escape of a URL."""
_QUOTED = re.compile(r"`([^`]*)`|([^.`]*)")


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """The name of one table; its parts are lower case, as catalogs keep them."""

    catalog: str
    schema: str
    table: str

    def __str__(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.table}"

    @property
    def parts(self) -> tuple[str, str, str]:
        """Catalog, schema and table: folders below the warehouse."""
        return self.catalog, self.schema, self.table


def parse_table_name(text: str, at: str = "table") -> TableName:
    """A name of one to three parts, of which those left out are `main.default`; each may stand in backticks.

    Raises:
        InvalidParameterValue: it is none; `at` names where it stood.
    """
    parts, position = [], 0
    while position <= len(text):
        found = _QUOTED.match(text, position)
        if found is None or not (found.end() == len(text) or text[found.end()] == "."):
            raise _bad(text, at)
        quoted, plain = found.groups()
        parts.append(plain if quoted is None else quoted)
        position = found.end() + 1
    if not 1 <= len(parts) <= 3:  # noqa: PLR2004 - catalog, schema, table
        raise _bad(text, at)
    names = [*(DEFAULT_CATALOG, DEFAULT_SCHEMA)[: 3 - len(parts)], *parts]
    return TableName(*(check_name_part(part, at) for part in names))


def check_name_part(part: str, at: str) -> str:
    """The name of a catalog, schema or table, in lower case.

    Raises:
        InvalidParameterValue: it is none.
    """
    if not _PART.fullmatch(part) or part in {".", ".."} or len(part.encode()) > _MAX_LENGTH:
        raise InvalidParameterValue(
            f"{at}: got '{part}'; wanted 1 to {_MAX_LENGTH} bytes without space, full stop, slash, backtick, "
            "percent sign and control characters."
        )
    return part.lower()


def _bad(text: str, at: str) -> InvalidParameterValue:
    return InvalidParameterValue(f"{at}: got '{text}'; wanted table, schema.table or catalog.schema.table.")
