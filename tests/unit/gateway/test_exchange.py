"""Streams that are pushed and clients that go away, on a connection whose transport is played."""

from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.gateway.exchange import Exchange
from unit.clock import run_at_once
from unit.gateway.fakes import FakeClient

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OLD_GET = b"GET / HTTP/1.0\r\nHost: h\r\n\r\n"


def asked(request: bytes, then: Callable[[FakeClient, list[Exchange]], Awaitable[None]]) -> FakeClient:
    """Send a request and go on with its exchange, which nobody has answered; the client as it is afterwards."""
    clients: list[FakeClient] = []

    async def main() -> None:
        exchanges: list[Exchange] = []
        client = FakeClient(lambda exchange, _: exchanges.append(exchange))
        clients.append(client)
        await client.send(request)
        await then(client, exchanges)
        await client.settle()

    run_at_once(main)
    return clients[0]


def test_a_pushed_piece_is_a_chunk_that_leaves_at_once() -> None:
    async def then(client: FakeClient, exchanges: list[Exchange]) -> None:
        exchanges[0].begin_stream(200, [])
        head = bytes(client.transport.sent)
        assert head.endswith(b"transfer-encoding: chunked\r\n\r\n")
        exchanges[0].push(b"data: 1\n\n")
        assert client.transport.sent == head + b"9\r\ndata: 1\n\n\r\n"
        exchanges[0].end_stream()
        assert client.transport.sent == head + b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"

    assert not asked(GET, then).is_told_to_close


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(st.binary(max_size=40), max_size=8), st.sampled_from([GET, OLD_GET]))
def test_whatever_is_pushed_arrives_whole(pieces: list[bytes], request: bytes) -> None:
    async def then(_: FakeClient, exchanges: list[Exchange]) -> None:
        exchanges[0].begin_stream(200, [])
        for piece in pieces:
            exchanges[0].push(piece)
        exchanges[0].end_stream()

    (answer,) = asked(request, then).answers()
    assert answer.body == b"".join(pieces)


def test_an_http_1_0_client_gets_pieces_as_they_are_and_the_close_as_their_end() -> None:
    async def then(client: FakeClient, exchanges: list[Exchange]) -> None:
        exchanges[0].begin_stream(200, [])
        head = bytes(client.transport.sent)
        assert b"transfer-encoding" not in head
        assert b"connection: close" in head
        exchanges[0].push(b"one")
        exchanges[0].push(b"two")
        assert client.transport.sent == head + b"onetwo"
        assert not client.is_told_to_close
        exchanges[0].end_stream()
        assert client.transport.sent == head + b"onetwo"

    assert asked(OLD_GET, then).is_told_to_close


def test_pushing_tells_how_much_the_client_has_not_taken() -> None:
    async def then(client: FakeClient, exchanges: list[Exchange]) -> None:
        exchanges[0].begin_stream(200, [])
        told = []
        for client.transport.unsent_bytes in (0, 7, 1 << 22):
            told.append(exchanges[0].push(b"x"))
        assert told == [0, 7, 1 << 22]

    asked(GET, then)


def test_what_follows_a_stream_is_answered_after_it() -> None:
    async def then(client: FakeClient, exchanges: list[Exchange]) -> None:
        exchanges[0].begin_stream(200, [])
        exchanges[0].push(b"stream")
        await client.settle()
        assert len(exchanges) == 1
        exchanges[0].end_stream()
        await client.settle()
        exchanges[1].respond(200, b"whole")

    assert [answer.body for answer in asked(GET + GET, then).answers()] == [b"stream", b"whole"]


def begin(exchange: Exchange) -> None:
    exchange.begin_stream(200, [])
    exchange.push(b"one")


@pytest.mark.parametrize("answer", [lambda _: None, begin], ids=["before its answer", "within a stream"])
def test_a_client_that_goes_away_is_told_of_once(answer: Callable[[Exchange], None]) -> None:
    told: list[bool] = []

    async def then(client: FakeClient, exchanges: list[Exchange]) -> None:
        exchange = exchanges[0]
        exchange.on_gone = lambda: told.append(exchange.is_open)
        answer(exchange)
        client.connection.connection_lost(None)
        assert told == [False], "by then the exchange is known to be closed"
        sent = bytes(client.transport.sent)
        if answer is begin:
            assert exchange.push(b"two") == 0
            exchange.end_stream()
        exchange.respond(200, b"nobody reads it")
        await client.settle()
        assert client.transport.sent == sent
        assert told == [False]

    asked(GET, then)


def test_a_stream_that_is_broken_off_is_told_of_as_a_client_that_went_away() -> None:
    told: list[str] = []

    async def then(client: FakeClient, exchanges: list[Exchange]) -> None:
        begin(exchanges[0])
        exchanges[0].on_gone = lambda: told.append("gone")
        exchanges[0].break_off()
        assert told == [], "not from within the call that broke it off"
        await client.settle()
        assert told == ["gone"]
        assert client.transport.was_aborted

    asked(GET, then)


def stream_whole(exchange: Exchange) -> None:
    begin(exchange)
    exchange.end_stream()


@pytest.mark.parametrize(
    "answer", [lambda exchange: exchange.respond(200, b""), stream_whole], ids=["answered", "streamed"]
)
def test_nobody_is_told_of_a_client_that_goes_away_with_its_answer(answer: Callable[[Exchange], None]) -> None:
    told: list[str] = []

    async def then(client: FakeClient, exchanges: list[Exchange]) -> None:
        exchanges[0].on_gone = lambda: told.append("gone")
        answer(exchanges[0])
        client.connection.connection_lost(None)
        await client.settle()

    asked(GET, then)
    assert told == []


def test_every_exchange_of_a_connection_is_told_of_its_own_client_only() -> None:
    told: list[str] = []

    async def then(client: FakeClient, exchanges: list[Exchange]) -> None:
        exchanges[0].on_gone = lambda: told.append("first")
        exchanges[0].respond(200, b"")
        await client.settle()
        exchanges[1].on_gone = lambda: told.append("second")
        client.connection.connection_lost(None)

    asked(GET + GET, then)
    assert told == ["second"]
