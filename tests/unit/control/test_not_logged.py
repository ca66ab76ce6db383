"""Losses are told once when they begin and once when they have ended, with their number."""

from pathlib import Path

from penstock.control.not_logged import Losses, NotLogged
from penstock.domain.events import Event, EventKind
from penstock.spool.tally import Tally

A, B = "a" * 32, "b" * 32


def kinds(told: list[tuple[str, Event]]) -> list[tuple[str, EventKind]]:
    """Whose, and what kind."""
    return [(endpoint, event.kind) for endpoint, event in told]


def test_p5_1_losses_are_told_once_and_so_is_their_end() -> None:
    losses = Losses()
    assert losses.look({A: 7}) == [], "what was there before this process was told of then"
    assert kinds(losses.look({A: 8, B: 1})) == [(A, EventKind.NOT_LOGGED), (B, EventKind.NOT_LOGGED)]
    assert losses.look({A: 20, B: 1}) == []
    assert losses.look({A: 21, B: 1}) == []
    told = [event for _ in range(10) for event in losses.look({A: 21, B: 1})]
    assert sorted(kinds(told)) == [(A, EventKind.LOGGED_AGAIN), (B, EventKind.LOGGED_AGAIN)]
    assert next(e.reason for owner, e in told if owner == A).startswith("14 requests were answered and not logged, 21")
    assert kinds(losses.look({A: 22, B: 1})) == [(A, EventKind.NOT_LOGGED)]


def test_p5_1_counts_are_those_of_files_and_of_what_gateways_could_not_count_there(tmp_path: Path) -> None:
    (tmp_path / "gateway-0").mkdir()
    tally = Tally(tmp_path / "gateway-0")
    tally.open()
    tally.add(A, 2)
    counted = NotLogged(tmp_path, lambda _: None, lambda: {1, 2})
    counted.take(1, {A: 3})
    counted.take(2, {A: 10, B: 1})
    assert counted.counts() == {A: 15, B: 1}
    counted.take(1, {})
    assert counted.counts() == {A: 12, B: 1}
