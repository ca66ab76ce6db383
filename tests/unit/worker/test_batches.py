"""What waits when the replica looks is a batch; nobody waits for company, and each gets its own answer."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from penstock.wire.frames import Frame
from penstock.wire.sockets import SocketFolder
from support.stack import wait_for
from unit.worker.test_server import CHUNK, END, HEAD, STARTED, Replica, body_of, release, request, types

LIMIT = 8
SCRIPT = Path(__file__).parent / "batch_replica.py"
Start = Callable[..., Replica]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started = []

    def start_one(limit: int, spin_us: int = 0) -> Replica:
        address = SocketFolder(tmp_path).address(f"r{len(started)}.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen()
            os.set_inheritable(listener.fileno(), True)
            command = [sys.executable, str(SCRIPT), str(listener.fileno()), str(limit), str(spin_us)]
            started.append(Replica(subprocess.Popen(command, pass_fds=(listener.fileno(),)), address, tmp_path))
        return started[-1]

    yield start_one
    for one in started:
        one.end()


def answers(frames: list[Frame]) -> dict[int, bytes]:
    """Bodies by request."""
    ids = {frame.request_id for frame in frames}
    return {number: body_of([frame for frame in frames if frame.request_id == number]) for number in ids}


def test_p4_3_what_waits_is_taken_together_and_one_alone_at_once(start: Start) -> None:
    server = start(LIMIT)
    gateway, fifo = server.gateway(), server.fifo("hold")
    gateway.ask(1, f"hold {fifo}")
    assert gateway.frame() == Frame(STARTED, 1, b""), "it does not wait for others"
    gateway.send(b"".join(request(number, f"echo {number}") for number in range(2, 13)))
    release(fifo)
    assert body_of(gateway.answer(1)) == b"released of 1"
    frames = [gateway.frame() for _ in range(11 * 4)]
    assert {number: body.split()[0] for number, body in answers(frames).items()} == {
        number: str(number).encode() for number in range(2, 13)
    }
    sizes = sorted(int(body.split()[-1]) for body in answers(frames).values())
    assert sizes == [3] * 3 + [LIMIT] * LIMIT
    assert types(frames)[:LIMIT] == [STARTED] * LIMIT, "all of a batch are begun before any is answered"
    for number in range(2, 13):
        assert types([frame for frame in frames if frame.request_id == number]) == [STARTED, HEAD, CHUNK, END]


def test_p4_3_gateways_get_their_own_answers(start: Start) -> None:
    server = start(LIMIT)
    first, second, fifo = server.gateway(), server.gateway(), server.fifo("hold")
    first.ask(1, f"hold {fifo}")
    assert first.frame() == Frame(STARTED, 1, b"")
    second.send(request(7, "echo second"))
    first.send(request(7, "echo first"))
    release(fifo)
    first.answer(1)
    assert body_of(first.answer(7)).startswith(b"first ")
    assert body_of(second.answer(7)).startswith(b"second ")


def test_p4_3_a_cancelled_query_is_not_in_the_batch(start: Start) -> None:
    server = start(LIMIT)
    gateway, fifo, marker = server.gateway(), server.fifo("hold"), server.folder / "touched"
    gateway.ask(1, f"hold {fifo}")
    gateway.frame()
    gateway.ask(2, f"touch {marker}")
    gateway.ask(3, "echo x")
    gateway.cancel(2)
    release(fifo)
    gateway.answer(1)
    assert body_of(gateway.answer(3)) == b"x    of 1"
    assert not marker.exists()


def test_p4_3_a_stream_in_a_batch_is_sent_after_what_is_whole(start: Start) -> None:
    server = start(LIMIT)
    gateway, fifo, lines = server.gateway(), server.fifo("hold"), server.fifo("lines")
    gateway.ask(1, f"hold {fifo}")
    gateway.frame()
    gateway.ask(2, f"lines {lines}")
    gateway.ask(3, "echo x")
    release(fifo)
    gateway.answer(1)
    assert [(frame.type, frame.request_id) for frame in (gateway.frame(), gateway.frame())] == [
        (STARTED, 2),
        (STARTED, 3),
    ]
    assert body_of(gateway.answer(3)) == b"x    of 2"
    with lines.open("wb", buffering=0) as stream:
        stream.write(b"one\n")
    assert body_of(gateway.answer(2)) == b"one\n"


def test_p4_3_the_window_is_as_wide_as_a_batch(start: Start) -> None:
    hello = start(64).gateway().hello
    assert (hello.slots, hello.window) == (1, 63)


def test_p4_2_idle_time_comes_when_nobody_waits(start: Start) -> None:
    server = start(LIMIT)
    gateway, marker = server.gateway(), server.folder / "rested"
    gateway.ask(1, f"rest {marker}")
    gateway.answer(1)
    wait_for(marker.exists, "idle time to be used", 10)


def test_p4_a_replica_that_is_to_spin_does_not_sleep_between_requests(start: Start) -> None:
    """How often it slept is counted by the kernel."""

    def sleeps(spin_us: int) -> int:
        server = start(LIMIT, spin_us)
        gateway, pid = server.gateway(), server.process.pid
        for number in range(1, 301):
            if number == 101:
                before = psutil.Process(pid).num_ctx_switches().voluntary
            gateway.ask(number, "echo all")
            assert body_of(gateway.answer(number)).startswith(b"all")
        return psutil.Process(pid).num_ctx_switches().voluntary - before

    assert sleeps(10_000) < sleeps(0) / 2


def test_p4_a_replica_that_is_asked_now_and_then_sleeps_in_between(start: Start) -> None:
    """Though it may look for 10 ms each time, it does not: the request before came later than that."""
    server = start(LIMIT, 10_000)
    gateway, process = server.gateway(), psutil.Process(server.process.pid)
    gateway.ask(1, "echo all")
    gateway.answer(1)
    before = process.cpu_times()
    for number in range(2, 42):
        time.sleep(0.03)
        gateway.ask(number, "echo all")
        assert body_of(gateway.answer(number)).startswith(b"all")
    after = process.cpu_times()
    assert after.user + after.system - before.user - before.system < 40 * 0.010 / 2
