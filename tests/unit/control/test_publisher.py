"""Publishing of tables, with gateways played over a real socket."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from penstock.control.publisher import Publisher
from penstock.domain.endpoint import Endpoint, stop
from penstock.domain.planning import Routing
from penstock.domain.routing import RoutingTable, build_table
from penstock.wire.messages import Acknowledge, Subscribe, encode_line, read_message, tables
from penstock.wire.routing_table import load_table
from penstock.wire.sockets import SocketFolder
from unit.builders import LIMITS, entity, live, until

A = live(entity("1"))


class FakeGateway:
    """A gateway that acknowledges when the test says so."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> RoutingTable:
        """The next table that is sent to it."""
        message = await asyncio.wait_for(read_message(self._reader, tables), 5)
        assert message is not None
        return message.table

    def acknowledge(self, version: int) -> None:
        """Say that it routes by this version."""
        self._writer.write(encode_line(Acknowledge(version)))

    def send(self, data: bytes) -> None:
        """Say something else."""
        self._writer.write(data)

    async def is_cut_off(self) -> bool:
        """Whether the publisher closed the connection without another message."""
        return await asyncio.wait_for(self._reader.read(), 5) == b""

    def leave(self) -> None:
        """Close the connection."""
        self._writer.close()


@dataclass
class Bench:
    """A publisher and all around it."""

    folder: Path
    endpoints: list[Endpoint] = field(default_factory=list)
    pids: set[int] = field(default_factory=set)
    settled: int = 0
    """How often it was told that the table is settled."""

    def __post_init__(self) -> None:
        self.file = self.folder / "routing-table.json"
        self.publisher = self.restarted()

    def restarted(self) -> Publisher:
        """A publisher that begins with the file."""
        return Publisher(
            self.file,
            lambda: build_table(self.endpoints, [], {}, LIMITS, {}),
            lambda: frozenset(self.pids),
            self._on_settled,
        )

    def _on_settled(self) -> None:
        self.settled += 1

    async def connect(self, pid: int, version: int = 0) -> FakeGateway:
        """A gateway that subscribes."""
        reader, writer = await asyncio.open_unix_connection(SocketFolder(self.folder).address("routing.sock"))
        writer.write(encode_line(Subscribe(pid, version)))
        return FakeGateway(reader, writer)

    def publish(self, *endpoints: Endpoint) -> int:
        """Publish the table for these endpoints; returns its version."""
        self.endpoints = list(endpoints)
        self.publisher.publish()
        saved = load_table(self.file)
        assert saved is not None
        return saved.version


def with_bench(tmp_path: Path, script: Callable[[Bench], Awaitable[None]]) -> None:
    """Run a script with a publisher that serves."""

    async def main() -> None:
        bench = Bench(tmp_path)
        task = asyncio.create_task(bench.publisher.serve(SocketFolder(tmp_path).listen("routing.sock")))
        async with asyncio.timeout(20):
            await script(bench)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())


def test_a_table_is_in_the_file_before_it_is_sent(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        gateway = await bench.connect(1)
        for endpoints in ([], [A], [stop(A, 5)], []):
            version = bench.publish(*endpoints)
            if version:
                received = await gateway.receive()
                assert received == load_table(bench.file)
                assert received.version == version

    with_bench(tmp_path, script)


def test_a_table_that_cannot_be_saved_is_not_sent(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        gateway = await bench.connect(1, version=99)
        assert (await gateway.receive()).version == 0
        in_the_way = bench.file.with_suffix(".new")
        in_the_way.mkdir()
        with pytest.raises(OSError, match="directory"):
            bench.publish(A)
        assert bench.publisher.routing() == Routing(is_settled=True)
        in_the_way.rmdir()
        assert bench.publish(stop(A, 5)) == 1
        assert await gateway.receive() == load_table(bench.file)

    with_bench(tmp_path, script)


def test_the_version_grows_with_every_change_and_only_then(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        versions = [bench.publish(*endpoints) for endpoints in ([A], [A], [stop(A, 5)], [A], [A])]
        assert versions == [1, 1, 2, 3, 3]

    with_bench(tmp_path, script)


def test_a_restart_keeps_the_version_if_nothing_changed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.publish(A)
    assert bench.publish(stop(A, 5)) == 2
    bench.publisher = bench.restarted()
    assert bench.publish(stop(A, 5)) == 2
    bench.publisher = bench.restarted()
    assert bench.publish(A) == 3


def test_the_file_is_written_even_if_there_is_nothing_in_the_table(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.publish()
    assert load_table(bench.file) == RoutingTable()


def test_a_table_is_settled_once_every_running_gateway_has_acknowledged_it(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        bench.pids = {1, 2}
        version = bench.publish(A)
        assert not bench.publisher.is_settled
        first, second = await bench.connect(1), await bench.connect(2)
        await first.receive()
        await second.receive()
        first.acknowledge(version)
        assert not await bench.publisher.settled(0.05)
        assert bench.settled == 0
        second.acknowledge(version)
        assert await bench.publisher.settled(5)
        assert bench.settled == 1
        assert bench.publisher.routing() == Routing(build_table([A], [], {}, LIMITS, {}).slots(), is_settled=True)

    with_bench(tmp_path, script)


def test_a_new_table_is_not_settled_by_an_old_acknowledgement(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        bench.pids = {1}
        old = bench.publish(A)
        gateway = await bench.connect(1, version=old)
        assert await bench.publisher.settled(5)
        new = bench.publish(stop(A, 5))
        assert not bench.publisher.is_settled
        assert bench.publisher.routing() == Routing(is_settled=False)
        gateway.acknowledge(old)
        assert not await bench.publisher.settled(0.05)
        gateway.acknowledge(new)
        assert await bench.publisher.settled(5)

    with_bench(tmp_path, script)


def test_a_gateway_that_holds_the_newest_table_is_not_sent_it_again(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        bench.pids = {1}
        version = bench.publish(A)
        gateway = await bench.connect(1, version)
        assert await bench.publisher.settled(5)
        assert bench.settled == 1
        newer = bench.publish()
        assert (await gateway.receive()).version == newer

    with_bench(tmp_path, script)


def test_a_gateway_with_an_old_table_is_sent_the_newest(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        bench.publish(A)
        version = bench.publish()
        received = await (await bench.connect(1, version=1)).receive()
        assert (received.version, received.endpoints) == (version, {})

    with_bench(tmp_path, script)


def test_a_gateway_that_has_gone_away_has_acknowledged_nothing(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        bench.pids = {1}
        version = bench.publish(A)
        gateway = await bench.connect(1, version)
        assert await bench.publisher.settled(5)
        gateway.leave()
        await until(lambda: not bench.publisher.is_settled)
        again = await bench.connect(1, version)
        assert await bench.publisher.settled(5)
        again.leave()
        gateway = await bench.connect(1, version)
        assert await bench.publisher.settled(5)

    with_bench(tmp_path, script)


def test_the_end_of_an_older_connection_does_not_undo_the_newer_one(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        bench.pids = {1}
        version = bench.publish(A)
        older = await bench.connect(1, version)
        assert await bench.publisher.settled(5)
        newer = await bench.connect(1, version)
        await until(lambda: bench.settled == 2)
        older.leave()
        for pid in (8, 9):  # time enough for the end of the older connection to be noticed
            await (await bench.connect(pid, version=0)).receive()
        assert bench.publisher.is_settled
        next_version = bench.publish()
        newer.acknowledge((await newer.receive()).version)
        assert await bench.publisher.settled(5)
        assert next_version == version + 1

    with_bench(tmp_path, script)


def test_whoever_waits_is_woken_when_the_last_missing_gateway_is_no_longer_run(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        bench.pids = {1, 2}
        version = bench.publish(A)
        gateway = await bench.connect(1, version)
        waiting = asyncio.create_task(bench.publisher.settled(5))
        gateway.send(encode_line(Subscribe(1, 0)))
        await gateway.receive()  # what was sent before has been taken
        assert not waiting.done()
        bench.pids = {1}
        await bench.publisher.gateways_changed()
        assert await waiting

    with_bench(tmp_path, script)


def test_a_gateway_that_talks_nonsense_is_cut_off_and_the_others_are_served(tmp_path: Path) -> None:
    async def script(bench: Bench) -> None:
        good, bad = await bench.connect(1), await bench.connect(2)
        bad.send(b"hello\n")
        assert await bad.is_cut_off()
        version = bench.publish(A)
        assert (await good.receive()).version == version

    with_bench(tmp_path, script)
