"""Time limits in lanes: each thing expires at its own time, or never if it was cancelled, and is not held longer."""

import asyncio
import gc
import uuid
import weakref

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.gateway.deadlines import Deadline, Deadlines, Lane
from penstock.gateway.request_ids import request_ids
from unit.clock import run_at_once


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.lists(st.tuples(st.sampled_from([1.0, 2.5, 10.0]), st.floats(0, 5), st.booleans()), max_size=20))
def test_each_expires_at_its_time_unless_it_is_cancelled(things: list[tuple[float, float, bool]]) -> None:
    """Things come after pauses, each with a limit; some are cancelled just before their time."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        expired: dict[int, float] = {}
        deadlines = Deadlines[int](lambda thing: expired.__setitem__(thing, loop.time()))
        wanted: dict[int, float] = {}
        for number, (limit_s, pause_s, is_cancelled) in enumerate(things):
            deadline = Deadline(deadlines.add(limit_s, number), number)
            assert deadline.when() == loop.time() + limit_s
            if is_cancelled:
                loop.call_later(limit_s * 0.9, deadline.cancel)
            else:
                wanted[number] = deadline.when()
            await asyncio.sleep(pause_s)
        await asyncio.sleep(20)
        assert expired == wanted

    run_at_once(main)


def test_one_that_expires_may_cancel_another_that_is_due() -> None:
    async def main() -> None:
        expired: list[str] = []
        lanes: list[Lane[str]] = []

        def expire(thing: str) -> None:
            expired.append(thing)
            lanes[0].pop("b")

        deadlines = Deadlines(expire)
        lanes += [deadlines.add(1, "a"), deadlines.add(1, "b")]
        await asyncio.sleep(5)
        assert expired == ["a"]
        assert all(Deadline(lanes[0], thing).cancelled() for thing in "ab")

    run_at_once(main)


def test_what_was_cancelled_is_let_go_at_once() -> None:
    class Thing:
        """Something that is held."""

    async def main() -> None:
        deadlines = Deadlines[Thing](lambda _: None)
        thing = Thing()
        Deadline(deadlines.add(300, thing), thing).cancel()
        gone = weakref.ref(thing)
        del thing
        gc.collect()
        assert gone() is None
        deadlines.close()

    run_at_once(main)


def test_request_ids_are_uuids_and_no_two_are_the_same() -> None:
    ids = request_ids()
    found = [next(ids) for _ in range(2000)]
    assert len(set(found)) == 2000
    for text in found:
        parsed = uuid.UUID(text)
        assert (str(parsed), parsed.version, parsed.variant) == (text, 4, uuid.RFC_4122)
