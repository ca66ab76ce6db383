"""Rows become the columns of their kind of table, or are told why not."""

import datetime

import pytest

from penstock.domain.table_name import parse_table_name
from penstock.inference_tables.payload import PAYLOAD
from penstock.inference_tables.row_kinds import row_kind
from penstock.inference_tables.table_kind import DAY_US, BadRow
from penstock.inference_tables.usage import ENDPOINT_USAGE, SERVED_ENTITIES


def test_p5_3_values_of_json_become_those_of_the_columns() -> None:
    row = {"request_date": 1_700_000_000_000_000 // DAY_US, "request_time": 1_700_000_000_000_000, "status_code": 200}
    (found,) = PAYLOAD.columns([PAYLOAD.row(row)]).to_pylist()
    assert found["request_date"] == datetime.date(2023, 11, 14)
    assert found["request_time"] == datetime.datetime(2023, 11, 14, 22, 13, 20, tzinfo=datetime.UTC)
    assert (found["status_code"], found["request"]) == (200, None)


def test_p5_3_maps_are_objects() -> None:
    (found,) = ENDPOINT_USAGE.columns([ENDPOINT_USAGE.row({"usage_context": {"team": "a"}})]).to_pylist()
    assert found["usage_context"] == [("team", "a")]


@pytest.mark.parametrize(
    "row", [{"status_code": "x"}, {"status_code": 1 << 40}, {"request": 7}, {"logging_error_codes": 3}]
)
def test_p5_3_a_value_of_another_type_is_named(row: dict[str, object]) -> None:
    with pytest.raises(BadRow, match=next(iter(row))):
        PAYLOAD.columns([PAYLOAD.row(row)])


def test_p5_3_kinds_are_found_by_the_whole_name() -> None:
    assert row_kind(parse_table_name("system.serving.served_entities")) is SERVED_ENTITIES
    assert row_kind(parse_table_name("system.serving.served_entities2")) is None
