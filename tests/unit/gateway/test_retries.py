"""Who may be begun again when a replica dies: once, alone, and only where it does no harm."""

import asyncio
from pathlib import Path

from unit.builders import until
from unit.gateway.bench import Bench, answered, both_ready, refusal, submit, with_bench
from unit.gateway.fakes import FakeReplica, Job


def started(backend: object, count: int) -> bool:
    """Whether so many calls of a backend have been begun."""
    calls = [call for link in backend._links for call in link._calls.values()]  # type: ignore[attr-defined]
    return sum(call.state.name == "STARTED" for call in calls) == count


async def begun(replica: FakeReplica) -> Job:
    """The next request, once the replica has said that it works on it."""
    job = await replica.job()
    replica.begin(job)
    return job


def test_a_request_that_was_begun_is_begun_again_and_answered(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        doomed = await bench.replica("k-0", is_idempotent=True)
        backend = bench.backend("k-0")
        await both_ready(backend)
        exchange = submit(backend, b"x")
        await begun(doomed)
        await until(lambda: started(backend, 1))
        await doomed.die()
        again = await bench.replica("k-0", is_idempotent=True)
        again.answer(await again.job())
        (answer,) = await answered(exchange)
        assert (answer.status, answer.body) == (200, b"x")

    with_bench(tmp_path, script)


def test_a_request_that_ends_two_replicas_has_failed_and_is_not_to_be_sent_again(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        backend = bench.backend("k-0")
        exchange = submit(backend, b"killer")
        for _ in range(2):
            replica = await bench.replica("k-0", is_idempotent=True)
            await begun(replica)
            await until(lambda: started(backend, 1))
            await replica.die()
        (answer,) = await answered(exchange)
        assert refusal(answer) == (500, "INTERNAL_ERROR")
        assert "retry-after" not in answer.headers

    with_bench(tmp_path, script)


def test_the_second_time_it_is_alone(tmp_path: Path) -> None:
    """Its neighbours of the first time, and what came meanwhile, are not put beside it."""

    async def script(bench: Bench) -> None:
        doomed = await bench.replica("k-0", slots=2, window=2, is_idempotent=True)
        backend = bench.backend("k-0")
        await both_ready(backend)
        exchanges = [submit(backend, b"%d" % i) for i in range(4)]
        for _ in range(2):
            await begun(doomed)
        await until(lambda: started(backend, 2))
        await doomed.die()
        again = await bench.replica("k-0", slots=2, window=2, is_idempotent=True)
        for expected in (b"0", b"1"):
            job = await again.job()
            assert job.body == expected
            await asyncio.sleep(0.02)
            assert again.jobs.empty(), "nothing else is given to the replica meanwhile"
            again.answer(job)
        rest = [await again.job(), await again.job()]
        assert [job.body for job in rest] == [b"2", b"3"]
        for job in rest:
            again.answer(job)
        assert [answer.status for answer in await answered(*exchanges)] == [200] * 4

    with_bench(tmp_path, script)


def test_a_busy_replica_is_kept_free_for_it(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        doomed = await bench.replica("k-0", is_idempotent=True)
        busy = await bench.replica("k-1", slots=1, window=1, is_idempotent=True)
        backend = bench.backend("k-0", "k-1")
        await both_ready(backend)
        exchanges = [submit(backend, b"%d" % i) for i in range(2)]
        first, second = await begun(doomed), await begun(busy)
        await until(lambda: started(backend, 2))
        await doomed.die()
        await until(lambda: bool(backend._alone))
        late = submit(backend, b"late")
        await asyncio.sleep(0.02)
        assert busy.jobs.empty(), "the replica has room for it, and is being emptied"
        busy.finish(second)
        again = await busy.job()
        assert again.body == first.body
        busy.answer(again)
        busy.answer(await busy.job())
        assert [answer.status for answer in await answered(*exchanges, late)] == [200] * 3

    with_bench(tmp_path, script)


def test_what_may_do_harm_is_not_begun_again(tmp_path: Path) -> None:
    """Neither where the model did not say that it may, nor a stream of which a piece has left."""

    async def script(bench: Bench) -> None:
        for is_idempotent in (False, True):
            doomed = await bench.replica("k-0", is_idempotent=is_idempotent)
            backend = bench.backend("k-0")
            await both_ready(backend)
            exchange = submit(backend, b"x")
            job = await doomed.job()
            if is_idempotent:
                doomed.begin_stream(job)
                await until(lambda backend=backend: backend._links[0]._calls[1].head is not None)
            else:
                doomed.begin(job)
                await until(lambda backend=backend: started(backend, 1))
            await doomed.die()
            again = await bench.replica("k-0", is_idempotent=is_idempotent)
            (answer,) = await answered(exchange)
            assert b"INTERNAL_ERROR" in answer.body
            assert again.jobs.empty()
            await backend.close()

    with_bench(tmp_path, script)


def test_if_no_replica_comes_back_it_has_failed_and_is_not_to_be_sent_again(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        doomed = await bench.replica("k-0", is_idempotent=True)
        backend = bench.backend("k-0", hold_timeout_s=0.05)
        await both_ready(backend)
        exchange = submit(backend, b"x")
        await begun(doomed)
        await until(lambda: started(backend, 1))
        await doomed.die()
        assert refusal((await answered(exchange))[0]) == (500, "INTERNAL_ERROR")

    with_bench(tmp_path, script)


def test_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        doomed = await bench.replica("k-0", is_idempotent=True)
        backend = bench.backend("k-0")
        await both_ready(backend)
        gone = submit(backend, b"gone")
        await begun(doomed)
        await until(lambda: started(backend, 1))
        gone.leave()
        await doomed.die()
        again = await bench.replica("k-0", is_idempotent=True)
        exchange = submit(backend, b"next")
        job = await again.job()
        assert job.body == b"next"
        again.answer(job)
        await answered(exchange)

    with_bench(tmp_path, script)
