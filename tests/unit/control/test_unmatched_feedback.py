"""Feedback to nothing is told of when it is a day old, once, and a table that cannot be read is in no other's way."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from penstock.client.feedback_check import CheckFailed, find_unmatched
from penstock.control.unmatched_feedback import PATIENCE_S, UnmatchedFeedback
from penstock.domain.endpoint import Endpoint
from penstock.domain.events import Event, EventKind
from penstock.domain.feedback import Feedback
from penstock.domain.table_name import TableName
from penstock.wire.feedback_check import Answer, Question
from support.payload_tables import logged, write_payload
from unit.inference_tables.test_unmatched import tell


class Bench:
    """A warehouse with the feedback of endpoints, and whoever looks at it."""

    def __init__(self, home: Path, *names: str) -> None:
        self.home = home
        self.now_s = PATIENCE_S + 100
        self.asked: list[list[Question]] = []
        self.answers: dict[str, Answer] = {}
        self.told: list[tuple[str, Event]] = []
        self.endpoints = [Endpoint(name, name, "ann", 0, 0) for name in names]
        for name in names:
            (home / "main" / "default" / f"{name}_feedback").mkdir(parents=True)

    def look(self) -> None:
        """As a new process does."""
        asyncio.run(
            UnmatchedFeedback(
                self.home,
                self.home / "checked.json",
                lambda: self.endpoints,
                lambda endpoint: TableName("main", "default", f"{endpoint.name}_payload"),
                self.find,
                self.told.extend,
                lambda: self.now_s,
            ).look()
        )

    async def find(self, questions: Sequence[Question]) -> list[Answer]:
        """The answers that the test wants."""
        self.asked.append(list(questions))
        return [self.answers.get(question.table, Answer()) for question in questions]


def test_p5_6_what_is_a_day_old_is_looked_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "x")
    bench.answers["main.default.x_feedback"] = Answer(2, ("r1", "r2"))
    bench.look()
    ((owner, event),) = bench.told
    assert (owner, event.kind) == ("x", EventKind.FEEDBACK_UNMATCHED)
    assert "2 entries of main.default.x_feedback" in event.reason
    assert "r1, r2" in event.reason
    bench.now_s += 3600
    bench.look()
    (first,), (second,) = bench.asked
    assert (first.since_us, first.until_us) == (0, 100_000_000)
    assert (second.since_us, second.until_us) == (100_000_000, 3_700_000_000)


def test_p5_6_what_could_not_be_read_is_looked_at_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "x", "y")
    bench.answers["main.default.x_feedback"] = Answer(failure="no log")
    bench.look()
    bench.answers.clear()
    bench.now_s += 3600
    bench.look()
    assert [[question.since_us for question in asked] for asked in bench.asked] == [[0, 0], [0, 100_000_000]]
    assert bench.told == []


def test_p5_6_without_feedback_nothing_is_started(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.endpoints = [Endpoint("x", "x", "ann", 0, 0)]
    bench.look()
    assert bench.asked == []


def test_p5_6_a_process_of_its_own_finds_it(tmp_path: Path) -> None:
    payload = write_payload(tmp_path / "payload", logged({}, [], databricks_request_id="r1"))
    feedback = tell(tmp_path / "told", 10, Feedback("1", "r1", None), Feedback("2", "r9", None))
    question = Question("main.default.x_feedback", str(feedback), str(payload), 0, 20_000_000)
    nowhere = replace_path(question, str(tmp_path / "nowhere"))
    found, failed = asyncio.run(find_unmatched([question, nowhere]))
    assert found == Answer(1, ("r9",))
    assert failed.failure


def replace_path(question: Question, feedback: str) -> Question:
    """The same about another table."""
    return Question(question.table, feedback, question.payload, question.since_us, question.until_us)


def test_p5_6_a_process_that_cannot_be_started_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(CheckFailed, match="cannot be started"):
        asyncio.run(find_unmatched([]))
