"""Values for columns and tensors, as they come in requests; and values that belong nowhere."""

import datetime as dt
import re
from typing import Any

import numpy as np
from hypothesis import strategies as st

_MARK = "\x02"
_RAW = re.compile(r'"\\u0002(.*?)\\u0002"')


def raw(token: str) -> str:
    """A string that stands for a piece of JSON which `json.dumps` would not write."""
    return f"{_MARK}{token}{_MARK}"


def with_raw(text: str) -> str:
    """JSON text with those pieces in it."""
    return _RAW.sub(r"\1", text)


_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_ANY_FLOAT = st.one_of(
    st.sampled_from([0.0, 1.0, 1.5, -2.25, -0.0, 5e-324, 2.2250738585072011e-308, 1.7976931348623157e308, 0.1, 3.0]),
    _FLOATS,
    st.floats(-1000, 1000).map(lambda x: round(x, 3)),
    _FLOATS.map(lambda x: raw(f"{x:.24e}")),
)
_SMALL = st.integers(-100, 1000)
_LONG = st.one_of(_SMALL, st.integers(-(2**63), 2**63 - 1), st.sampled_from([2**53 + 1, 2**63 - 1, -(2**63)]))
_TEXT = st.one_of(
    st.sampled_from(["red", "blue", "", "None", "nan", "1", "true", "2020-01-01", "é", "日本", "\U0001f600"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\x02"), max_size=8),
)
_MOMENTS = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2199, 12, 31))  # noqa: DTZ001 - MLflow takes no zones

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "double": st.one_of(_ANY_FLOAT, _ANY_FLOAT, _SMALL, st.sampled_from([2**53 + 1, 2**63, 10**30, raw("1E5")])),
    "float": st.one_of(st.floats(width=32, allow_nan=False, allow_infinity=False), st.floats(-1e6, 1e6), _SMALL),
    "long": _LONG,
    "integer": st.one_of(_SMALL, st.integers(-(2**31), 2**31 - 1)),
    "boolean": st.booleans(),
    "string": _TEXT,
    "datetime": _MOMENTS.map(lambda moment: moment.isoformat(timespec="seconds")),
}
"""Of columns, by type."""

DATETIMES = [
    VALUES["datetime"],
    _MOMENTS.map(lambda moment: str(moment.date())),
    _MOMENTS.map(lambda moment: moment.isoformat(" ", "seconds")),
    _MOMENTS.map(lambda moment: moment.isoformat(timespec="milliseconds")),
    _MOMENTS.map(lambda moment: moment.isoformat(timespec="microseconds")),
]
"""A form for each."""

NULLABLE = frozenset({"double", "float", "boolean", "string", "datetime"})

ELEMENTS: dict[str, st.SearchStrategy[Any]] = {
    "float64": VALUES["double"],
    "float32": VALUES["float"],
    "float16": st.floats(-1000, 1000),
    "int64": _LONG,
    "int32": VALUES["integer"],
    "uint8": st.integers(0, 255),
    "bool": st.booleans(),
}
"""Of tensors, by NumPy's name of the type."""

_BOUNDS = [bound for bits in (31, 32, 53, 63, 64) for bound in (2**bits - 1, 2**bits, 2**bits + 1, -(2**bits) - 1)]

STRAY = st.one_of(
    st.sampled_from([None, True, False, 0, 1, -1, 1.5, -0.0, 1e39, 3.5e38, 1e308, 10**30, 10**400, *_BOUNDS]),
    st.sampled_from(["5", "1.5", " 7 ", "true", "x", "", "nan", "inf", "a\x00", "\x00", "\ud800", "1e5", "0x1"]),
    st.sampled_from(["2020-01-01", "2020-02-30", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00+02:00", "2020", "NaT"]),
    st.sampled_from(
        ["2020-01-01T24:00:00", "2020-1-1", "01/02/2020", "now", "2020-01-01T10:00", "20200101", "9999-01-01"]
    ),
    st.sampled_from(
        ["1677-09-21", "1500-01-01", "2300-01-01", "2020-01-01T00:00:00.1", "2020-01-01T00:00:00.123456789"]
    ),
    st.sampled_from(
        [*map(raw, ("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "-0", "1E5", "1e-400", "01", "1.", "-"))]
    ),
    st.sampled_from([raw("1" * 5000), raw("1" * 400), raw("[" * 2000 + "]" * 2000), raw('"\\ud83d"'), raw("'x'")]),
    st.sampled_from([[], {}, [1], [[1]], {"a": 1}, [None], [[]], ["x"], [1, "x"], {"": None}, [[1, 2], [3]]]),
    VALUES["string"],
    VALUES["double"],
)
"""What may stand in a place where it has no business."""

FLAT = st.one_of(VALUES["double"], VALUES["string"], st.booleans(), st.none(), _LONG)
"""Any value of a column that a signature does not know."""

NP_TYPES = {name: np.dtype(name) for name in ELEMENTS}
