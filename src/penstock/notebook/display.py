"""What `display` shows, as text in the run's log: the first rows of tables, of all else what it says of itself."""

from typing import Any

MAX_ROWS = 1000
_MAX_CHARACTERS = 1 << 20


def display(*values: Any, **_: Any) -> None:
    """Print values; a table's first rows."""
    for value in values:
        text = _text(value)
        print(text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}…")


def display_html(html: str) -> None:
    """Print that there is HTML, which a log cannot show."""
    print(f"[{len(html)} characters of HTML, which a log does not show]")


def _text(value: Any) -> str:
    table = value
    if hasattr(table, "limit") and hasattr(table, "toPandas"):  # Spark's
        table = table.limit(MAX_ROWS).toPandas()
    elif hasattr(table, "to_pandas") and hasattr(table, "slice"):  # Arrow's, Polars'
        table = table.slice(0, MAX_ROWS).to_pandas()
    if hasattr(table, "to_string") and hasattr(table, "head"):  # pandas'
        shown = str(table.head(MAX_ROWS).to_string())
        more = len(table) - MAX_ROWS
        return f"{shown}\n[{more} more rows]" if more > 0 else shown
    return str(value)
