"""Names of tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.table_name import TableName, parse_table_name


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("t", TableName("main", "default", "t")),
        ("s.t", TableName("main", "s", "t")),
        ("c.s.t", TableName("c", "s", "t")),
        ("C.S.My-Table", TableName("c", "s", "my-table")),
        ("`c`.s.`a-b`", TableName("c", "s", "a-b")),
    ],
)
def test_p5_4_names_of_one_or_two_parts_are_in_main_default(text: str, wanted: TableName) -> None:
    assert parse_table_name(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a.b.c.d",
        "a b",
        "a%20",
        "a/b",
        "../x",
        "`a",
        "`a`b",
        "a`b",
        "``",
        "`a.b`",
        "a\n",
        "x" * 256,
    ],
)
def test_p5_4_what_is_no_name_is_refused_with_what_came(text: str) -> None:
    with pytest.raises(InvalidParameterValue, match=r"config\.table: got"):
        parse_table_name(text, "config.table")


@given(st.text(max_size=40))
def test_p5_4_a_name_is_refused_or_stays_below_the_warehouse_and_reads_back(text: str) -> None:
    try:
        name = parse_table_name(text)
    except InvalidParameterValue:
        return
    assert all(part and "/" not in part and part not in {".", ".."} for part in name.parts)
    assert parse_table_name(str(name)) == name
