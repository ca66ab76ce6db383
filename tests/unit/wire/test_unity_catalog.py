"""Pages and types as Unity Catalog writes them."""

import pytest
from databricks.sdk.service.catalog import ColumnTypeName, TableInfo
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.catalog import Table, TableType
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.table_name import TableName
from penstock.wire.unity_catalog import TableDetails, encode_table_info, page


@given(st.lists(st.text(min_size=1, max_size=5), unique=True), st.integers(1, 7))
def test_p5_4_pages_together_are_all_of_it_once(names: list[str], size: int) -> None:
    names = sorted(names)
    found: list[str] = []
    token = None
    for _ in range(len(names) + 1):
        shown, more = page(names, size, token)
        assert len(shown) <= size
        found += shown
        token = more.get("next_page_token")
        if token is None:
            break
    assert found == names


@pytest.mark.parametrize(("size", "token"), [(1001, None), (-1, None), (1, "%"), (1, "a"), (1, "/w==")])
def test_p5_4_pages_that_cannot_be(size: int, token: str | None) -> None:
    with pytest.raises(InvalidParameterValue, match="max_results" if token is None else "page_token"):
        page(["a"], size, token)


def test_p5_4_every_type_of_delta_is_one_that_the_sdk_knows() -> None:
    kinds = {
        "boolean": ("BOOLEAN", "boolean"),
        "byte": ("BYTE", "tinyint"),
        "short": ("SHORT", "smallint"),
        "integer": ("INT", "int"),
        "long": ("LONG", "bigint"),
        "float": ("FLOAT", "float"),
        "double": ("DOUBLE", "double"),
        "string": ("STRING", "string"),
        "binary": ("BINARY", "binary"),
        "date": ("DATE", "date"),
        "timestamp": ("TIMESTAMP", "timestamp"),
        "timestamp_ntz": ("TIMESTAMP_NTZ", "timestamp_ntz"),
        "decimal(38,0)": ("DECIMAL", "decimal(38,0)"),
        "variant": ("VARIANT", "variant"),
        "interval year": ("USER_DEFINED_TYPE", "interval year"),
    }
    columns = [{"name": kind, "type": kind, "nullable": True, "metadata": {}} for kind in kinds]
    table = Table(TableName("a", "b", "c"), TableType.MANAGED, "/t")
    info = TableInfo.from_dict(encode_table_info(table, TableDetails(columns)))
    found = {c.name: (c.type_name, c.type_text) for c in info.columns or ()}
    assert found == {kind: (ColumnTypeName(name), text) for kind, (name, text) in kinds.items()}
