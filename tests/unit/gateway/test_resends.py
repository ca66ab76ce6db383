"""A client that leaves a call at work and asks the same again gets what it left: nothing is worked on twice."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from penstock.domain.prediction import Api
from penstock.gateway.backend import Backend
from penstock.gateway.call import Call, CallState
from penstock.gateway.resends import KEEP_S, Orphans
from penstock.wire.frames import Head
from penstock.wire.siblings import Asked, Change, Held, LetGo
from unit.builders import until
from unit.gateway.bench import Bench, answered, both_ready, refusal, with_bench
from unit.gateway.fakes import FakeExchange, FakeReplica, Job, make_call

ASKED = Asked("ann", "e" * 32, None, Api.INVOCATIONS, b"application/json")
BODY = b'{"inputs": [1]}'


@dataclass(eq=False)
class FakeTimer:
    """What is to happen, and when."""

    at_s: float
    act: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


@dataclass
class FakeClock:
    """Time that passes when a test says so."""

    now_s: float = 0.0
    timers: list[FakeTimer] = field(default_factory=list)

    def later(self, delay_s: float, act: Callable[[], None]) -> FakeTimer:
        self.timers.append(FakeTimer(self.now_s + delay_s, act))
        return self.timers[-1]

    def pass_by(self, seconds: float) -> None:
        self.now_s += seconds
        for timer in [timer for timer in self.timers if timer.at_s <= self.now_s and not timer.is_cancelled]:
            timer.act()


def leave_begun(orphans: Orphans, body: bytes = BODY, asked: Asked = ASKED) -> Call:
    """A call that a replica has begun and whose client has gone."""
    call, exchange = make_call(body, stand_in=partial(orphans.adopt, asked))
    call.state = CallState.STARTED
    call.watch(call.outlive_recipient)  # type: ignore[arg-type]
    exchange.leave()
    return call


def finish(call: Call, body: bytes) -> None:
    """The replica answers."""
    call.begin(Head(200, "application/json"), "k-0")
    call.take(body)
    call.finish()


def joined(orphans: Orphans, body: bytes = BODY, asked: Asked = ASKED) -> FakeExchange | None:
    """The client that joined, if it did."""
    client = FakeExchange()
    return client if orphans.join(asked, body, client) else None


def test_the_same_request_gets_the_answer_that_was_left_and_only_once() -> None:
    orphans = Orphans(FakeClock().later)
    call = leave_begun(orphans)
    finish(call, b"42")
    client = joined(orphans)
    assert client is not None
    (answer,) = client.answers
    assert (answer.status, answer.body, answer.headers["databricks-request-id"]) == (200, b"42", call.request_id)
    assert answer.headers["served-model-name"] == "m-1"
    assert joined(orphans) is None
    assert len(orphans) == 0


def test_the_same_request_waits_for_an_answer_that_is_still_to_come() -> None:
    orphans = Orphans(FakeClock().later)
    call = leave_begun(orphans)
    client = joined(orphans)
    assert client is not None
    assert joined(orphans) is None, "its client is there: a second one asks for something of its own"
    finish(call, b"42")
    assert [answer.body for answer in client.answers] == [b"42"]


@pytest.mark.parametrize(
    ("asked", "body"),
    [
        (ASKED._replace(principal="bob"), BODY),
        (ASKED._replace(endpoint_id="f" * 32), BODY),
        (ASKED._replace(entity_name="m-1"), BODY),
        (ASKED._replace(api=Api.CHAT), BODY),
        (ASKED._replace(content_type=b"text/csv"), BODY),
        (ASKED, b'{"inputs": [2]}'),
        (ASKED, b'{"inputs": [10]}'),
        (ASKED, b""),
    ],
)
def test_whoever_asks_anything_else_does_not_join(asked: Asked, body: bytes) -> None:
    orphans = Orphans(FakeClock().later)
    leave_begun(orphans)
    assert joined(orphans, body, asked) is None
    assert joined(orphans) is not None


def test_two_that_left_are_joined_by_two() -> None:
    orphans = Orphans(FakeClock().later)
    first, second = leave_begun(orphans), leave_begun(orphans)
    finish(second, b"second")
    finish(first, b"first")
    clients = [joined(orphans), joined(orphans)]
    assert [client.answers[0].body for client in clients if client] == [b"first", b"second"]
    assert joined(orphans) is None


def test_an_answer_is_kept_for_a_minute_after_it_came() -> None:
    clock = FakeClock()
    orphans = Orphans(clock.later)
    early, late = leave_begun(orphans, b"early"), leave_begun(orphans, b"late")
    clock.pass_by(1000)
    finish(early, b"1")
    clock.pass_by(KEEP_S - 1)
    finish(late, b"2")
    clock.pass_by(1)
    assert joined(orphans, b"early") is None
    assert joined(orphans, b"late") is not None
    clock.pass_by(KEEP_S)
    assert len(orphans) == 0


def test_beyond_their_number_the_oldest_is_let_go_and_its_answer_goes_nowhere() -> None:
    orphans = Orphans(FakeClock().later, max_orphans=2)
    calls = [leave_begun(orphans, b"%d" % i) for i in range(3)]
    assert not calls[0].is_wanted
    finish(calls[0], b"nobody's")
    assert [joined(orphans, b"%d" % i) is not None for i in range(3)] == [False, True, True]


def test_beyond_their_bytes_the_oldest_are_let_go() -> None:
    clock = FakeClock()
    orphans = Orphans(clock.later, max_bytes=100)
    calls = [leave_begun(orphans, b"%030d" % i) for i in range(3)]
    finish(calls[0], b"x" * 40)
    assert len(orphans) == 3, "40 + 30 + 30: the request's body is not held any more"
    finish(calls[1], b"y" * 31)
    assert [joined(orphans, b"%030d" % i) is not None for i in range(3)] == [False, True, True]
    clock.pass_by(KEEP_S)
    assert len(orphans) == 0
    for i in range(10):
        leave_begun(orphans, b"%050d" % i)
    assert len(orphans) == 2, "what was let go and joined is not counted for ever"


def test_whoever_watches_is_told_of_all_that_come_and_go() -> None:
    clock = FakeClock()
    orphans = Orphans(clock.later, max_orphans=3)
    told: list[Change] = []
    orphans.watch(told.append)
    bodies = [b"evicted", b"joined", b"begins a stream", b"expires"]
    calls = [leave_begun(orphans, body) for body in bodies]
    assert joined(orphans, b"joined") is not None
    calls[2].begin(Head(200, "text/event-stream", is_stream=True), "k-0")
    finish(calls[3], b"42")
    clock.pass_by(KEEP_S)
    came = [change for change in told if isinstance(change, Held)]
    assert [(one.request_id, one.asked, one.size_bytes) for one in came] == [
        (call.request_id, ASKED, len(body)) for call, body in zip(calls, bodies, strict=True)
    ]
    assert [change for change in told if isinstance(change, LetGo)] == [LetGo(call.request_id) for call in calls]
    assert not orphans.held()


def test_what_a_replica_died_of_is_not_told_as_one_that_may_be_begun_again() -> None:
    orphans = Orphans(FakeClock().later)
    for has_ended_a_replica in (False, True):
        call, exchange = make_call(stand_in=partial(orphans.adopt, ASKED))
        call.start(is_idempotent=True, now_s=0.0)
        call.watch(call.outlive_recipient)  # type: ignore[arg-type]
        if has_ended_a_replica:
            assert call.retry_alone()
        exchange.leave()
    assert [held.is_idempotent for held in orphans.held()] == [True, False]


class Household:
    """A bench's backend whose clients may come again."""

    def __init__(self, backend: Backend) -> None:
        self.orphans = Orphans(FakeClock().later)
        self.backend = backend
        self.counted: list[int] = []

    def ask(self, body: bytes = BODY) -> FakeExchange:
        """A client asks."""
        client = FakeExchange()
        if not self.orphans.join(ASKED, body, client):
            call, client = make_call(
                body, on_end=lambda status, *_: self.counted.append(status), stand_in=partial(self.orphans.adopt, ASKED)
            )
            self.backend.submit(call)
        return client

    async def leave(self, client: FakeExchange, replica: FakeReplica) -> Job:
        """The client leaves once the replica has begun with what it asked."""
        job = await replica.job()
        replica.begin(job)
        await until(
            lambda: any(c.state is CallState.STARTED for link in self.backend._links for c in link._calls.values())
        )
        client.leave()
        return job


def in_household(
    folder: Path, script: Callable[[Bench, Household, FakeReplica], Awaitable[None]], **options: float
) -> None:
    """Run a script with one replica, which says that it may be asked twice."""

    async def main(bench: Bench) -> None:
        replica = await bench.replica("k-0", is_idempotent=True)
        household = Household(bench.backend("k-0", **options))  # type: ignore[arg-type]
        await both_ready(household.backend)
        await script(bench, household, replica)

    with_bench(folder, main)


def test_a_request_that_is_sent_again_and_again_is_worked_on_once_and_counted_once(tmp_path: Path) -> None:
    async def script(_bench: Bench, home: Household, replica: FakeReplica) -> None:
        job = await home.leave(home.ask(), replica)
        for _ in range(3):
            home.ask().leave()
        last = home.ask()
        replica.finish(job, body=b"42")
        (answer,) = await answered(last)
        assert (answer.status, answer.body) == (200, b"42")
        assert replica.jobs.empty()
        assert replica.cancelled.empty(), "the replica is not told to throw its answer away"
        assert home.counted == [200]

    in_household(tmp_path, script)


def test_an_answer_that_comes_while_nobody_is_there_waits(tmp_path: Path) -> None:
    async def script(_bench: Bench, home: Household, replica: FakeReplica) -> None:
        job = await home.leave(home.ask(), replica)
        replica.finish(job, status=400, body=b"not like this")
        await until(lambda: home.counted == [400])
        (answer,) = await answered(home.ask())
        assert (answer.status, answer.body) == (400, b"not like this")
        assert replica.jobs.empty()

    in_household(tmp_path, script)


def test_what_no_replica_had_begun_is_dropped_and_queued_anew(tmp_path: Path) -> None:
    async def script(_bench: Bench, home: Household, replica: FakeReplica) -> None:
        first = home.ask(b"first")
        job = await replica.job()
        replica.begin(job)
        home.ask().leave()
        assert len(home.orphans) == 0
        again = home.ask()
        replica.finish(job)
        await answered(first)
        replica.answer(await replica.job())
        assert (await answered(again))[0].body == BODY

    in_household(tmp_path, script)


def test_a_body_that_ended_its_replica_is_not_begun_again_by_asking_again(tmp_path: Path) -> None:
    async def script(bench: Bench, home: Household, replica: FakeReplica) -> None:
        await home.leave(home.ask(), replica)
        await replica.die()
        second = await bench.replica("k-0", is_idempotent=True)
        await home.leave(home.ask(), second)
        await second.die()
        third = await bench.replica("k-0", is_idempotent=True)
        await until(lambda: home.counted == [500])
        assert refusal((await answered(home.ask()))[0]) == (500, "INTERNAL_ERROR")
        assert third.jobs.empty()

    in_household(tmp_path, script)


def test_a_client_that_leaves_while_it_waits_for_the_second_try_finds_it(tmp_path: Path) -> None:
    async def script(bench: Bench, home: Household, replica: FakeReplica) -> None:
        client = home.ask()
        job = await replica.job()
        replica.begin(job)
        await until(home.backend._links[0].has_wanted)
        await replica.die()
        await until(lambda: bool(home.backend._alone))
        client.leave()
        again = home.ask()
        second = await bench.replica("k-0", is_idempotent=True)
        second.answer(await second.job())
        assert (await answered(again))[0].status == 200
        assert second.jobs.empty()

    in_household(tmp_path, script)


def test_a_time_limit_counts_from_the_first_request_and_is_told_to_the_next(tmp_path: Path) -> None:
    async def script(bench: Bench, home: Household, replica: FakeReplica) -> None:
        await home.leave(home.ask(), replica)
        assert refusal((await answered(home.ask()))[0]) == (504, "DEADLINE_EXCEEDED")
        await until(lambda: bool(bench.recycled))
        assert home.counted == [504]

    in_household(tmp_path, script, timeout_s=0.2)


def test_a_stream_that_begins_for_nobody_is_cancelled(tmp_path: Path) -> None:
    async def script(_bench: Bench, home: Household, replica: FakeReplica) -> None:
        job = await home.leave(home.ask(), replica)
        replica.begin_stream(job)
        await until(lambda: not replica.cancelled.empty())
        assert len(home.orphans) == 0
        replica.end(job)
        again = home.ask()
        replica.answer(await replica.job())
        assert (await answered(again))[0].status == 200

    in_household(tmp_path, script)


def test_a_stream_that_begins_for_the_client_that_came_again_is_its_own(tmp_path: Path) -> None:
    async def script(_bench: Bench, home: Household, replica: FakeReplica) -> None:
        job = await home.leave(home.ask(), replica)
        again = home.ask()
        replica.begin_stream(job)
        replica.piece(job, b"data: 1\n\n")
        replica.end(job)
        assert (await answered(again))[0].body == b"data: 1\n\n"
        assert replica.jobs.empty()

    in_household(tmp_path, script)
