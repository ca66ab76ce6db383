"""How often the gateway writes: once a turn to a replica, once for each answer to a client, whatever comes together."""

import asyncio
from pathlib import Path

import pytest

from penstock.gateway import upstream
from penstock.gateway.exchange import Exchange, Sink
from penstock.gateway.sinks import WholeBody
from unit.clock import run_at_once
from unit.gateway.bench import Bench, answered, both_ready, submit, with_bench
from unit.gateway.fakes import FakeClient


def test_p4_8_the_calls_of_one_turn_leave_in_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    write = upstream._Connection.write

    def counting(connection: upstream._Connection, data: bytes) -> None:
        writes.append(data)
        write(connection, data)

    monkeypatch.setattr(upstream._Connection, "write", counting)

    async def script(bench: Bench) -> None:
        bench.answer_everything(await bench.replica("k-0", slots=64, window=64))
        backend = bench.backend("k-0")
        await both_ready(backend)
        for turn in range(1, 4):
            exchanges = [submit(backend) for _ in range(64)]
            assert {answer.status for answer in await answered(*exchanges)} == {200}
            assert len(writes) == turn

    with_bench(tmp_path, script)


@pytest.mark.parametrize(
    ("spin_us", "calls_at_a_time", "is_looked_for"),
    [(60_000_000, 1, True), (1, 1, False), (0, 1, False), (60_000_000, 2, False)],
)
def test_p4_an_answer_is_looked_for_if_the_last_one_came_soon_and_nothing_else_is_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spin_us: int, calls_at_a_time: int, *, is_looked_for: bool
) -> None:
    looks: list[int] = []
    spin = upstream.ReplicaLink._spin

    def counting(link: upstream.ReplicaLink) -> None:
        looks.append(link.in_flight)
        spin(link)

    monkeypatch.setattr(upstream.ReplicaLink, "_spin", counting)

    async def script(bench: Bench) -> None:
        bench.answer_everything(await bench.replica("k-0", slots=64, window=64))
        backend = bench.backend("k-0", spin_us=spin_us)
        await both_ready(backend)
        await answered(submit(backend))
        assert looks == [], "nothing is known yet"
        await answered(*(submit(backend) for _ in range(calls_at_a_time)))
        assert bool(looks) is is_looked_for

    with_bench(tmp_path, script)


def test_p4_8_an_answer_is_one_write_and_reading_is_not_stopped_and_started_for_it() -> None:
    async def main() -> None:
        def begin(exchange: Exchange) -> Sink:
            return WholeBody(exchange, 100, lambda body: exchange.respond(200, body))

        client = FakeClient(begin=begin)
        calls: list[str] = []
        for name in ("write", "pause_reading", "resume_reading"):
            setattr(client.transport, name, lambda *_, name=name: calls.append(name))
        for _ in range(5):
            client.connection.data_received(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab")
            await asyncio.sleep(0)
        assert calls == ["write"] * 5

    run_at_once(main)
