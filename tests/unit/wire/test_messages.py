"""Messages between our own processes: one line each, read back as they were written."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from penstock.domain.access import Scope
from penstock.domain.endpoint import switch
from penstock.domain.replica import ReplicaSpec, ReplicaState
from penstock.domain.routing import Access, RoutingTable, build_table, succeed
from penstock.domain.secrets import Plaintext
from penstock.domain.served_entity import ModelVersion
from penstock.wire.messages import (
    Acknowledge,
    Done,
    Launch,
    List,
    ProcessInfo,
    Recycle,
    Refused,
    ReplicaInfo,
    Rest,
    Snapshot,
    Stop,
    Subscribe,
    Table,
    Watch,
    encode_line,
    gateway_messages,
    read_message,
    supervisor_answers,
    supervisor_requests,
    tables,
)
from penstock.wire.routing_table import load_table, save_table
from unit.builders import LIMITS, empty_endpoint, entity, live, updating

SPEC = ReplicaSpec("k-0", "k", "e" * 32, "x", "m-1", 3, ModelVersion("m\n", "1", 9), {"A": "ü\n"}, 12.5)
TABLE = succeed(
    RoutingTable(version=4),
    build_table(
        [switch(updating(live(), entity("2"))), empty_endpoint("y")],
        [],
        {"d": Access("replica", Scope.READ_MODELS)},
        LIMITS,
        {},
    ),
)
SECRET = Launch(6, SPEC, True, {"KEY": Plaintext("canary-ü")})
REQUESTS = [
    Launch(1, SPEC),
    SECRET,
    Stop(2, "k-0"),
    Rest(7, "k-0"),
    Recycle(3, "k-0", 77, "it hangs"),
    Watch(4),
    List(5),
]
ANSWERS = [
    Done(1),
    Refused(2, "no"),
    Snapshot(
        0,
        [
            ProcessInfo(None, "gateway", "ready", "gateway-0", 5),
            ProcessInfo(7, "worker", "ready", "k-0", 5, "x", "m-1"),
        ],
        [ReplicaInfo(SPEC, ReplicaState.DRAINING, True, 2, "why")],
    ),
]


def read_all(stream: bytes, decoder: msgspec.json.Decoder) -> list[object]:
    """Every message of a stream."""

    async def read() -> list[object]:
        reader = asyncio.StreamReader()
        reader.feed_data(stream)
        reader.feed_eof()
        found: list[object] = []
        while (message := await read_message(reader, decoder)) is not None:
            found.append(message)
        return found

    return asyncio.run(read())


@pytest.mark.parametrize(
    ("messages", "decoder"),
    [
        (REQUESTS, supervisor_requests),
        (ANSWERS, supervisor_answers),
        ([Subscribe(5, 0), Acknowledge(8)], gateway_messages),
        ([Table(TABLE), Table(RoutingTable())], tables),
    ],
    ids=["to the supervisor", "from the supervisor", "from gateways", "to gateways"],
)
def test_messages_are_read_as_they_were_written(messages: list[msgspec.Struct], decoder: msgspec.json.Decoder) -> None:
    assert read_all(b"".join(encode_line(message) for message in messages), decoder) == messages


def test_a_launch_does_not_show_its_secrets_and_a_snapshot_has_none() -> None:
    assert "canary" not in repr(SECRET)
    assert b"canary" in encode_line(SECRET)
    assert b"canary" not in encode_line(Snapshot(0, [], [ReplicaInfo(SECRET.spec, ReplicaState.READY, False, 0, "")]))


@pytest.mark.parametrize(
    "stream",
    [b"hello\n", b'{"type":"Nothing"}\n', b'{"type":"Stop","id":1}\n', b"[]\n", b'{"type":"Watch","id"', b'"\xff"\n'],
)
def test_what_is_no_message_breaks_the_connection(stream: bytes) -> None:
    with pytest.raises(ConnectionError, match="not a message of ours"):
        read_all(stream, supervisor_requests)


def test_a_line_over_the_limit_breaks_the_connection() -> None:
    async def read() -> None:
        reader = asyncio.StreamReader(limit=100)
        reader.feed_data(b"x" * 300)
        with pytest.raises(ConnectionError):
            await read_message(reader, supervisor_requests)

    asyncio.run(read())


def test_a_saved_table_is_loaded_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "routing-table.json"
    assert load_table(file) is None
    save_table(file, TABLE)
    assert load_table(file) == TABLE
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("content", [b"", b"{", b'{"version":"x"}', b'{"endpoints":{"\xff":1}}', b"\0\0\0\0"])
def test_a_table_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "routing-table.json"
    file.write_bytes(content)
    assert load_table(file) is None
