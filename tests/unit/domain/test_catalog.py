"""Names of what is made of a payload table."""

import pytest

from penstock.domain.catalog import RegisteredTable, Table, TableType, family_of, joined, payload_of
from penstock.domain.table_name import TableName, parse_table_name


def named(text: str) -> TableName:
    return parse_table_name(text)


def names(tables: list[Table]) -> list[tuple[str, str]]:
    return [(table.name.table, table.kind) for table in tables]


def test_p5_4_payload_tables_have_views() -> None:
    found = [Table(named("x_payload"), TableType.MANAGED, "/x"), Table(named("plain"), TableType.MANAGED, "/p")]
    assert names(joined(found, [])) == [
        ("plain", "MANAGED"),
        ("x_left_out", "VIEW"),
        ("x_payload", "MANAGED"),
        ("x_view", "VIEW"),
    ]


def test_p5_4_a_table_comes_before_a_view_and_what_is_found_before_what_is_registered() -> None:
    found = [Table(named("x_view"), TableType.MANAGED, "/v")]
    registered = [RegisteredTable(named(name), "/r", "admin", 0) for name in ("x_payload", "x_view")]
    assert {t.name.table: (t.kind, t.path) for t in joined(found, registered)} == {
        "x_view": (TableType.MANAGED, "/v"),
        "x_payload": (TableType.EXTERNAL, "/r"),
        "x_left_out": (TableType.VIEW, "/r"),
    }


@pytest.mark.parametrize("view", ["x_view", "x_left_out"])
def test_p5_4_a_view_knows_its_payload_table(view: str) -> None:
    assert payload_of(named(f"a.b.{view}")) == named("a.b.x_payload")
    assert payload_of(named("a.b.view")) is None


@pytest.mark.parametrize("other", ["x_view_payload", "xx_payload", "a_x_payload", "x_payload_view", "x"])
def test_p5_4_no_table_belongs_to_the_family_of_two_prefixes(other: str) -> None:
    assert named(other) not in family_of(named("x_payload"))
    assert {named("x_payload"), named("x_view"), named("x_view_relabel")} <= family_of(named("x_payload"))
