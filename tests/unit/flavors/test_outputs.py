"""Outputs of models: taken apart, put together, compared."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from penstock.flavors.outputs import Records, joined, part_of, row_count
from penstock.flavors.tiers.sameness import deviation, is_same

FRAME = pd.DataFrame({"label": [1, 2, 3], "score": [0.5, 0.25, 0.125]})
RECORDS = Records(("label", "score"), (np.array([1, 2, 3]), np.array([0.5, 0.25, 0.125])))


@pytest.mark.parametrize(
    ("output", "rows"),
    [
        (np.zeros((3, 2)), 3),
        (np.float64(1), None),
        (np.array(1.0), None),
        (FRAME, 3),
        (FRAME["label"], 3),
        (RECORDS, 3),
        ([1, 2], 2),
        ({"a": np.zeros(3), "b": np.zeros((3, 4))}, 3),
        ({"a": np.zeros(3), "b": np.zeros(2)}, None),
        ({"a": "text"}, None),
        ({}, None),
        ("text", None),
        (None, None),
    ],
)
def test_p4_2_rows_of_an_output(output: Any, rows: int | None) -> None:
    assert row_count(output) == rows


@pytest.mark.parametrize(
    "output",
    [
        np.arange(6).reshape(3, 2),
        FRAME,
        FRAME["score"],
        RECORDS,
        [1, "b", None],
        {"a": np.arange(3), "b": np.ones((3, 2))},
    ],
    ids=lambda output: type(output).__name__,
)
def test_p4_2_parts_have_their_own_rows(output: Any) -> None:
    assert [row_count(part_of(output, start, stop)) for start, stop in ((0, 1), (1, 3), (2, 2))] == [1, 2, 0]


@pytest.mark.parametrize(
    "output",
    [np.arange(6).reshape(3, 2), FRAME, RECORDS, {"a": np.arange(3)}],
    ids=lambda output: type(output).__name__,
)
def test_p4_2_parts_that_are_joined_are_the_whole(output: Any) -> None:
    parts = [part_of(output, 0, 1), part_of(output, 1, 3)]
    assert is_same(joined(parts), output)


def test_p4_2_records_stand_for_a_frame() -> None:
    assert is_same(RECORDS, FRAME)
    assert RECORDS.as_dicts() == FRAME.to_dict("records")
    assert is_same(joined([RECORDS, FRAME]), pd.concat([FRAME, FRAME], ignore_index=True))


@pytest.mark.parametrize(
    ("left", "right", "apart"),
    [
        (np.array([1.0, 2.0]), np.array([1.0, 2.0]), 0.0),
        (np.array([np.nan]), np.array([np.nan]), 0.0),
        (np.array([1.0]), np.array([1.0 + 2**-52]), 2**-52),
        (np.array([1000.0]), np.array([1001.0]), 1 / 1001),
        (np.array([0.001]), np.array([0.002]), 0.001),
        (np.array([np.nan]), np.array([1.0]), math.inf),
        (np.array([np.inf]), np.array([1.0]), math.inf),
        (np.array([1]), np.array([2]), math.inf),
        (np.array(["a"]), np.array(["b"]), math.inf),
        (np.array([1.0]), np.array([1.0], np.float32), math.inf),
        (np.array([1.0]), np.array([[1.0]]), math.inf),
        (np.array([1.0]), [1.0], math.inf),
        (FRAME, FRAME.assign(score=[0.5, 0.25, 0.25]), 0.125),
        (FRAME, FRAME.rename(columns={"label": "other"}), math.inf),
        (FRAME["score"], FRAME["score"] + 0.5, 0.5),
        ({"a": np.array([1.0])}, {"a": np.array([1.5])}, 1 / 3),
        ({"a": np.array([1.0])}, {"b": np.array([1.0])}, math.inf),
        ([1.0, "x"], [1.25, "x"], 0.2),
        ([1.0, "x"], [1.0, "y"], math.inf),
        (np.array([{"p": 0.5}], dtype=object), np.array([{"p": 0.5}], dtype=object), 0.0),
    ],
)
def test_p4_2_how_far_outputs_are_apart(left: Any, right: Any, apart: float) -> None:
    assert deviation(left, right) == pytest.approx(apart)
    assert is_same(left, right) == (apart == 0.0)


def test_p4_2_the_two_zeros_are_not_the_same() -> None:
    left, right = np.array([0.0]), np.array([-0.0])
    assert not is_same(left, right)
    assert not is_same([0.0], [-0.0])
    assert deviation(left, right) == 0.0
