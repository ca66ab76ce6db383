"""The table of clients in `docs/compatibility.md`, written from the marks of the tests that prove its rows.

python tests/support/compatibility.py        writes it
python -m pytest tests/docs                  fails if it is not what the marks say
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "compatibility.md"
BEGIN, END = "<!-- clients: begin -->\n", "<!-- clients: end -->\n"


class Operation(NamedTuple):
    """One row: what a client was asked to do, and what came of it."""

    client: str
    name: str
    result: str
    instead: str
    test: str


def operations() -> list[Operation]:
    """All marks `pytest.mark.client`, under whatever name a module gives it, in the order of the sources."""
    return [row for file in sorted((ROOT / "tests" / "contract").glob("test_*.py")) for row in _marks(file)]


def _marks(file: Path) -> Iterator[Operation]:
    tree = ast.parse(file.read_text())
    constants, aliases = {}, set()
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if isinstance(node.value, ast.Constant):
                constants[name] = node.value.value
            elif ast.unparse(node.value) == "pytest.mark.client":
                aliases.add(name)
    for node in tree.body:
        for mark in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
            if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id in aliases:
                client, name = (constants[a.id] if isinstance(a, ast.Name) else ast.literal_eval(a) for a in mark.args)
                more = {keyword.arg: ast.literal_eval(keyword.value) for keyword in mark.keywords}
                yield Operation(client, name, more.get("result", "works"), more.get("instead", ""), node.name)


def table() -> str:
    """The table as Markdown: clients in order of their names, operations as the tests have them."""
    lines = ["| client | operation | result | what works instead | test |", "|---|---|---|---|---|"]
    rows = sorted(operations(), key=lambda row: row.client)
    lines += [f"| {row.client} | `{row.name}` | {row.result} | {row.instead} | `{row.test}` |" for row in rows]
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """A page with the table in its place."""
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
