"""Clients that keep a gateway waiting: idle, in the middle of a request, or with an answer that they do not read."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest

from penstock.gateway.clients import Clients
from penstock.gateway.exchange import Exchange, Sink
from penstock.gateway.http import HttpConnection
from penstock.gateway.patience import BODY_STEP_BYTES, Limits
from penstock.gateway.sinks import WholeBody
from unit.clock import run_at_once
from unit.gateway.fakes import FakeTransport, echo, read_answers

LIMITS = Limits(idle_s=300, head_s=30, body_s=30, reading_s=60)
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
HEAD = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"


class Client:
    """A client of a gateway that is watched."""

    def __init__(self, clients: Clients, begin: Callable[[Exchange], Sink] | None = None) -> None:
        def whole(exchange: Exchange) -> Sink:
            return WholeBody(exchange, 1 << 20, lambda body: echo(exchange, body))

        self.connection: HttpConnection = clients.connection(begin or whole)
        self.transport = FakeTransport(self.connection)
        self.connection.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        self.connection.data_received(data)

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in read_answers(self.transport.sent)]

    @property
    def is_closed(self) -> bool:
        return self.transport.is_closed or self.transport.has_sent_eof


def watched(script: Callable[[Clients], Awaitable[None]], **options: int) -> None:
    """Run a script while clients are watched; its sleeps take no time."""

    async def main() -> None:
        clients = Clients(LIMITS, **options)
        watch = asyncio.create_task(clients.watch())
        await script(clients)
        watch.cancel()

    run_at_once(main)


def test_p4_4_an_idle_connection_is_closed_and_each_request_gives_it_time_anew() -> None:
    async def script(clients: Clients) -> None:
        silent, busy = Client(clients), Client(clients)
        for _ in range(2):
            await asyncio.sleep(250)
            busy.send(GET)
        assert (silent.is_closed, busy.is_closed) == (True, False)
        assert silent.transport.sent == b""
        await asyncio.sleep(305)
        assert busy.is_closed
        assert busy.statuses == [200, 200]

    watched(script)


@pytest.mark.parametrize("beginning", [b"G", GET[:-2], HEAD[:-1]])
def test_p4_4_a_head_must_be_whole_in_time_however_its_bytes_come(beginning: bytes) -> None:
    async def script(clients: Clients) -> None:
        client = Client(clients)
        client.send(beginning[:1])
        for at in range(1, len(beginning)):
            client.send(beginning[at : at + 1])
            await asyncio.sleep(20 / len(beginning))
        assert client.statuses == []
        await asyncio.sleep(35)
        assert client.statuses == [408]
        assert client.is_closed

    watched(script)


def test_p4_4_a_body_that_stalls_is_refused_and_one_that_goes_on_is_waited_for() -> None:
    async def script(clients: Clients) -> None:
        stalled, drip, steady = Client(clients), Client(clients), Client(clients)
        for client in (stalled, drip, steady):
            client.send(HEAD)
        for _ in range(12):
            drip.send(b"x")
            steady.send(b"x" * BODY_STEP_BYTES)
            await asyncio.sleep(20)
        steady.send(b"x" * (100_000 - 12 * BODY_STEP_BYTES))
        assert stalled.statuses == drip.statuses == [408]
        assert stalled.is_closed
        assert drip.is_closed
        assert steady.statuses == [200]
        assert not steady.is_closed

    watched(script)


def test_p4_4_what_we_do_not_read_ourselves_is_not_waited_for() -> None:
    async def script(clients: Clients) -> None:
        kept: list[Exchange] = []

        def begin(exchange: Exchange) -> Sink:
            kept.append(exchange)
            return WholeBody(exchange, 1 << 20, lambda _: exchange.respond(200, b""))

        client = Client(clients, begin)
        client.send(HEAD)
        kept[0].pause_body(True)
        await asyncio.sleep(1000)
        kept[0].pause_body(False)
        client.send(b"x" * 100_000)
        assert client.statuses == [200]

    watched(script)


def test_p4_4_a_request_that_is_worked_on_for_long_is_no_idle_connection() -> None:
    async def script(clients: Clients) -> None:
        kept: list[Exchange] = []
        client = Client(clients, lambda exchange: WholeBody(exchange, 10, lambda _: kept.append(exchange)))
        client.send(GET)
        await asyncio.sleep(1000)
        kept[0].respond(200, b"")
        assert client.statuses == [200]
        assert not client.is_closed

    watched(script)


def test_p4_4_a_client_that_takes_nothing_of_its_answer_is_cut_off_and_a_slow_one_is_not() -> None:
    async def script(clients: Clients) -> None:
        stuck, slow = Client(clients), Client(clients)
        for client in (stuck, slow):
            client.send(GET)
            client.transport.unsent_bytes = 1000
        for _ in range(20):
            await asyncio.sleep(30)
            slow.transport.unsent_bytes -= 10
        assert stuck.transport.was_aborted
        assert not slow.transport.was_aborted

    watched(script)


def test_p4_4_answers_that_are_not_read_do_not_fill_the_memory() -> None:
    async def script(clients: Clients) -> None:
        slow = [Client(clients) for _ in range(4)]
        for client, unread in zip(slow, (300, 500, 100, 150), strict=True):
            client.transport.unsent_bytes = unread
            client.connection.pause_writing()
        assert [client.transport.was_aborted for client in slow] == [False, True, False, False]
        await asyncio.sleep(0)
        slow[0].connection.resume_writing()
        last = Client(clients)
        last.transport.unsent_bytes = 700
        last.connection.pause_writing()
        assert not last.transport.was_aborted, "what has been read does not count"

    watched(script, max_unread_bytes=1000)


def test_p4_4_a_client_that_has_gone_leaves_nothing_behind_that_must_be_looked_for() -> None:
    async def script(clients: Clients) -> None:
        client = Client(clients)
        client.send(GET * 2 + HEAD + b"x")
        await asyncio.sleep(0.1)
        assert client.statuses == [200, 200]
        gone = weakref.ref(client.connection)
        gc.collect()
        gc.disable()
        try:
            client.connection.connection_lost(None)
            del client
            assert gone() is None
        finally:
            gc.enable()

    watched(script)
