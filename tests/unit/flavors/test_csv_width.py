"""Bodies that pandas would take hours for are told by their width."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.errors import BadRequest
from penstock.flavors.csv_width import MAX_COLUMNS, MAX_REPEATED, _records, check_width

WIDE = b",".join([b"a"] * (MAX_COLUMNS + 1))
JUST = b",".join(b"%d" % index for index in range(MAX_COLUMNS))
REPEATED = b",".join([b"a", b"b"] * MAX_REPEATED)


@pytest.mark.parametrize(
    "body",
    [
        WIDE,
        WIDE + b"\n1\n",
        b"a\n" + WIDE,
        b"\n\r\n \na\n" + WIDE,
        b'"a\n",' + WIDE,
        b'"a""\n",' + WIDE,
        b"a\r" + WIDE,
        b'"' + b"x" * 200_000 + b'",' + WIDE,
    ],
)
def test_too_many_columns_are_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match=f"at most {MAX_COLUMNS}"):
        check_width(body)


def test_too_many_names_that_are_the_same_are_refused() -> None:
    with pytest.raises(BadRequest, match=f"at most {MAX_REPEATED}"):
        check_width(REPEATED + b"\n1\n")


@pytest.mark.parametrize(
    "body",
    [
        JUST + b"\n" + JUST,
        b"a,b\n" * MAX_COLUMNS,
        b"a,b\r" * MAX_COLUMNS,
        b'text\n"' + b"," * (MAX_COLUMNS + 1) + b'"\n',
        b"",
        b"," * MAX_REPEATED,
        b"a,b\n" + REPEATED,
    ],
)
def test_what_pandas_can_read_is_let_through(body: bytes) -> None:
    check_width(body)


CELLS = st.text(st.characters(codec="ascii", exclude_characters="\r\0"), max_size=6)


@given(st.lists(st.lists(CELLS, min_size=1, max_size=5), max_size=5))
def test_records_are_those_that_a_csv_reader_sees(rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    assert len(list(_records(text.getvalue().encode()))) == len(rows)
