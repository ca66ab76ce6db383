"""Slots that come, go and sleep: which links a backend keeps, and what becomes of calls meanwhile."""

import asyncio
from pathlib import Path

from penstock.gateway.demand import Demand
from unit.builders import until
from unit.gateway.bench import Bench, answered, both_ready, routed, submit, with_bench


def test_p3_4_calls_go_to_a_slot_that_was_added(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        first, second = await bench.replica("k-0"), await bench.replica("k-1")
        backend = bench.backend("k-0")
        waiting = [submit(backend) for _ in range(2)]
        job = await first.job()
        backend.route(routed("k-0", "k-1"))
        other = await second.job()
        for replica, its in ((first, job), (second, other)):
            replica.begin(its)
            replica.finish(its)
        assert {answer.status for answer in await answered(*waiting)} == {200}

    with_bench(tmp_path, script)


def test_p3_4_a_slot_that_was_removed_finishes_what_it_has_and_gets_no_more(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        first, second = await bench.replica("k-0"), await bench.replica("k-1")
        backend = bench.backend("k-0", "k-1")
        await both_ready(backend)
        begun = [submit(backend, b"begun") for _ in range(2)]
        jobs = [await first.job(), await second.job()]
        backend.route(routed("k-0"))
        later = [submit(backend, b"later") for _ in range(3)]
        second.begin(jobs[1])
        second.finish(jobs[1])
        await asyncio.wait_for(second.lost.wait(), 5)
        first.begin(jobs[0])
        first.finish(jobs[0])
        bench.answer_everything(first)
        assert {answer.status for answer in await answered(*begun, *later)} == {200}
        assert second.jobs.empty()
        assert second.connections == 1

    with_bench(tmp_path, script)


def test_p3_4_a_replica_that_says_goodbye_gets_no_more_and_the_next_process_is_looked_for(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0", window=4)
        backend = bench.backend("k-0")
        begun = submit(backend, b"begun")
        job = await replica.job()
        replica.begin(job)
        replica.say_goodbye()
        await until(lambda: not backend._links[0].is_ready)
        waiting = submit(backend, b"waiting")
        assert replica.jobs.empty()
        replica.finish(job)
        await answered(begun)
        again = await replica.job()  # over a new connection: the listener stays open for the next process
        assert (again.body, replica.connections) == (b"waiting", 2)
        replica.begin(again)
        replica.finish(again)
        assert (await answered(waiting))[0].status == 200

    with_bench(tmp_path, script)


def test_p3_5_a_slot_that_sleeps_is_connected_to_for_a_call_and_not_before(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0")
        backend = bench.backend("k-0", is_asleep=True)
        await asyncio.sleep(0.05)  # the time in which a link would connect
        assert replica.connections == 0
        bench.answer_everything(replica)
        answers = await answered(*[submit(backend) for _ in range(20)])
        assert {answer.status for answer in answers} == {200}
        assert replica.connections == 1, "one wake for all of them"
        assert all(int(answer.headers["x-penstock-cold-start"]) >= 0 for answer in answers)
        (warm,) = await answered(submit(backend))
        assert "x-penstock-cold-start" not in warm.headers

    with_bench(tmp_path, script)


def test_p3_5_a_call_that_comes_while_the_replica_falls_asleep_is_answered_by_the_next(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0")
        backend = bench.backend("k-0")
        await both_ready(backend)
        begun = submit(backend)
        job = await replica.job()
        backend.route(routed("k-0", is_asleep=True))
        replica.say_goodbye()
        await until(lambda: not backend._links[0].is_ready)
        late = submit(backend, b"late")
        replica.begin(job)
        replica.finish(job)
        again = await replica.job()
        replica.begin(again)
        replica.finish(again)
        answers = await answered(begun, late)
        assert [answer.status for answer in answers] == [200, 200]
        assert "x-penstock-cold-start" in answers[1].headers

    with_bench(tmp_path, script)


def test_p3_5_an_idle_entity_that_is_put_to_sleep_leaves_its_replica(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        replica = await bench.replica("k-0")
        backend = bench.backend("k-0")
        await both_ready(backend)
        backend.route(routed("k-0", is_asleep=True))
        await asyncio.wait_for(replica.lost.wait(), 5)
        await asyncio.sleep(0.05)  # the time in which a link would connect again
        assert replica.connections == 1

    with_bench(tmp_path, script)


def test_demand_is_the_average_number_of_calls_since_it_was_last_asked() -> None:
    demand = Demand(10.0)
    demand.observe(3, 10.5)
    demand.observe(1, 10.75)
    assert demand.take(11.0) == (3 * 0.25 + 1 * 0.25) / 1.0
    assert demand.take(13.0) == 1.0
    demand.observe(0, 13.0)
    assert demand.take(14.0) == 0.0


def test_a_call_between_two_looks_is_demand() -> None:
    demand = Demand(0.0)
    demand.observe(1, 0.5)
    demand.observe(0, 0.501)
    assert 0 < demand.take(1.0) < 0.01
