"""The checker of R16 finds what it is there to find."""

from support.known_calls import hold_against
from support.ledger import Entry


def entry(number: int, outcome: str = "ok", request_id: str = "", told: str = "") -> Entry:
    """What a client saw of a call."""
    return Entry("known", number, 0.0, 0.0, outcome, told, request_id=request_id)  # type: ignore[arg-type]


SEEN = [
    entry(1, request_id="a"),
    entry(2, "unknown"),
    entry(3, "unknown"),
    entry(4, "failed", "d", "500 {}"),
    entry(5, "failed", told="not sent"),
]
ROWS = [("1", "a", 200), ("2", "b", 200), ("4", "d", 500)]


def test_r16_answered_once_and_unknown_at_most_once_is_faultless() -> None:
    found = hold_against(ROWS, SEEN)
    assert (found.lost, found.doubled, found.wrong, found.unheard_of) == ([], [], [], [])
    assert (found.rows, found.unknown_logged) == (3, 1)


def test_r16_each_fault_is_found() -> None:
    assert hold_against(ROWS[1:], SEEN).lost == ["1"]
    assert hold_against([*ROWS, ("1", "z", 200)], SEEN).doubled == ["1"]
    assert hold_against([*ROWS, ("2", "b", 200)], SEEN).doubled == ["2", "b"]
    assert hold_against([("1", "a", 500), *ROWS[1:]], SEEN).wrong == ["1"]
    assert hold_against([("1", "y", 200), *ROWS[1:]], SEEN).wrong == ["1"]
    assert hold_against([*ROWS, ("5", "e", 200)], SEEN).unheard_of == ["5"], "it was never sent"
