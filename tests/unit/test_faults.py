"""The points of the registry are those of the code; the variable is read strictly."""

import re
from collections import Counter
from pathlib import Path

import pytest

import penstock
from penstock.faults import POINTS, BadFault, parse_faults

ROLES = {"supervisor", "gateway", "control-plane", "replica", "zygote", "mlflow", "table-writer", "batch"}


def test_every_point_of_the_registry_is_in_the_code_and_every_one_in_the_code_is_registered() -> None:
    sources = Path(penstock.__file__).parent.rglob("*.py")
    used = Counter(name for source in sources for name in re.findall(r'\bfault_point\("([^"]+)"\)', source.read_text()))
    assert set(used) == set(POINTS)
    assert set(used.values()) == {1}, "a name is a place"
    assert {point.process for point in POINTS.values()} <= ROLES


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", {}),
        ("config-after-commit", {"config-after-commit": 1}),
        ("config-after-commit:3", {"config-after-commit": 3}),
        (" stop-after-ask:2, table-after-send ,", {"stop-after-ask": 2, "table-after-send": 1}),
    ],
)
def test_points_and_how_often_they_are_passed_before(text: str, faults: dict[str, int]) -> None:
    assert parse_faults(text) == faults


@pytest.mark.parametrize("text", ["nowhere", "stop-after-ask:", "stop-after-ask:0", "stop-after-ask:x", ":1", "a:b:c"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadFault, match="wanted"):
        parse_faults(text)
