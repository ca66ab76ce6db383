"""Calls that wait when their deployment leaves the table: they go the way that the new table has."""

from pathlib import Path

from penstock.gateway.backend import Backend
from penstock.gateway.call import Call
from unit.builders import until
from unit.gateway.bench import Bench, answered, both_ready, with_bench
from unit.gateway.fakes import FakeExchange, make_call


def submit(old: Backend, new: Backend, body: bytes) -> FakeExchange:
    """Submit a call to a backend that is to be followed by another."""

    def move_on(call: Call) -> None:
        call.turn_to("new", lambda *_: None, None)
        new.take_over(call)

    call, exchange = make_call(body)
    call.move_on = move_on
    old.submit(call)
    return exchange


def test_r15_calls_that_wait_for_a_replica_that_will_not_come_are_answered_by_the_next_deployment(
    tmp_path: Path,
) -> None:
    async def script(bench: Bench) -> None:
        old, new = bench.backend("old-0"), bench.backend("new-0")
        bench.answer_everything(await bench.replica("new-0"))
        exchanges = [submit(old, new, b"%d" % number) for number in range(20)]
        old.retire()
        answers = await answered(*exchanges)
        assert [(answer.status, answer.body) for answer in answers] == [(200, b"%d" % n) for n in range(20)]
        assert {dict(answer.headers)["served-model-name"] for answer in answers} == {"new"}

    with_bench(tmp_path, script)


def test_r15_what_was_sent_is_answered_where_it_is_and_moves_on_only_if_it_is_lost(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("old-0", slots=1, window=1)
        old, new = bench.backend("old-0"), bench.backend("new-0")
        bench.answer_everything(await bench.replica("new-0"))
        await both_ready(old)
        kept, lost, waiting = (submit(old, new, body) for body in (b"kept", b"lost", b"waiting"))
        first = await replica.job()
        old.retire()
        (answer,) = await answered(waiting)
        assert dict(answer.headers)["served-model-name"] == "new"
        replica.begin(first)
        replica.answer(first)
        (answer,) = await answered(kept)
        assert (answer.body, dict(answer.headers)["served-model-name"]) == (b"kept", "m-1")
        await replica.die()
        (answer,) = await answered(lost)
        assert (answer.body, dict(answer.headers)["served-model-name"]) == (b"lost", "new")
        await until(lambda: not old._calls())

    with_bench(tmp_path, script)
