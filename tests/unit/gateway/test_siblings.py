"""A request that comes again to another gateway than before: real sockets between the two, all else is played."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from penstock.domain.prediction import Api
from penstock.gateway.announcer import Announcer
from penstock.gateway.call import Call
from penstock.gateway.exchange import Exchange
from penstock.gateway.http import HttpConnection
from penstock.gateway.resends import Orphans
from penstock.gateway.siblings import Siblings
from penstock.wire.frames import Head
from penstock.wire.siblings import Asked
from penstock.wire.sockets import SocketFolder, gateway_socket
from unit.builders import until
from unit.gateway.fakes import Answer, FakeClient, make_call

ASKED = Asked("ann", "e" * 32, None, Api.INVOCATIONS, b"application/json")
BODY = b'{"inputs": [1]}'
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b"
HOLDER = "gateway-0"


class Holder:
    """A gateway that holds what clients left."""

    def __init__(self, sockets: SocketFolder) -> None:
        self._sockets = sockets
        self.orphans = Orphans(asyncio.get_running_loop().call_later)
        self.announcer = Announcer(self.orphans)
        self.connections: set[HttpConnection] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> "Holder":
        """Serve its siblings."""
        listener = self._sockets.listen(gateway_socket(HOLDER))
        self._server = await asyncio.get_running_loop().create_unix_server(
            lambda: HttpConnection(self.announcer.begin, self.connections), sock=listener
        )
        return self

    def leave(self, body: bytes = BODY, *, is_idempotent: bool = False) -> Call:
        """A client leaves what a replica has begun."""
        call, exchange = make_call(body, stand_in=partial(self.orphans.adopt, ASKED))
        call.send()
        call.start(is_idempotent=is_idempotent, now_s=0.0)
        call.watch(call.outlive_recipient)  # type: ignore[arg-type]
        exchange.leave()
        return call

    def die(self) -> None:
        """As a process that is killed does."""
        assert self._server is not None
        self._server.close()
        for connection in list(self.connections):
            connection.abort()


def finish(call: Call, body: bytes = b"42", status: int = 200) -> None:
    """The replica answers."""
    call.begin(Head(status, "application/json"), "k-0")
    call.take(body)
    call.finish()


@dataclass
class Asker:
    """A gateway that the request comes to again."""

    siblings: Siblings
    new: list[bytes] = field(default_factory=list)
    """Bodies of requests that were done as any other."""

    def take(self, exchange: Exchange, body: bytes) -> None:
        """What a gateway does with a request, in short."""
        found = self.siblings.elsewhere.find(ASKED, body)
        if found is None:
            self.new.append(body)
            exchange.respond(200, b"new")
        else:
            self.siblings.ask(found, exchange, partial(self.take, exchange, body))

    async def hears(self, count: int) -> None:
        """Wait until the holder is known to hold so many."""
        await until(lambda: len(self.siblings.elsewhere) == count)

    async def ask(self, body: bytes = BODY) -> FakeClient:
        """A client sends a request."""
        client = FakeClient(self.take)
        await client.send(POST % (len(body), body))
        return client


async def answer_of(client: FakeClient) -> Answer:
    """What it got, once it is whole."""
    await until(lambda: not client.connection._exchanges)
    (answer,) = client.answers()
    return answer


def between_two(folder: Path, script: Callable[[Holder, Asker], Awaitable[None]]) -> None:
    """Run a script with two gateways, one of which has heard the other."""

    async def main() -> None:
        sockets = SocketFolder(folder)
        holder = await Holder(sockets).start()
        asker = Asker(Siblings(sockets, [HOLDER]))
        asker.siblings.follow()
        try:
            async with asyncio.timeout(30):
                await until(lambda: bool(holder.connections))
                await script(holder, asker)
        finally:
            await asker.siblings.close()
            holder.die()

    asyncio.run(main())


def test_it_waits_for_the_answer_and_gets_it_under_the_first_request_s_id(tmp_path: Path) -> None:
    async def script(holder: Holder, asker: Asker) -> None:
        call = holder.leave()
        await asker.hears(1)
        client = await asker.ask()
        await asker.hears(0)
        assert len(holder.orphans) == 0, "its client is there: nobody else is to have it"
        finish(call)
        answer = await answer_of(client)
        assert (answer.status, answer.body, answer.headers["served-model-name"]) == (200, b"42", "m-1")
        assert answer.headers["databricks-request-id"] == call.request_id
        assert not asker.new

    between_two(tmp_path, script)


@pytest.mark.parametrize("status", [200, 400, 404])
def test_it_gets_the_answer_that_is_kept_whatever_it_is(tmp_path: Path, status: int) -> None:
    async def script(holder: Holder, asker: Asker) -> None:
        finish(holder.leave(), b"x" * 300_000, status)
        await asker.hears(1)
        answer = await answer_of(await asker.ask())
        assert (answer.status, answer.body) == (status, b"x" * 300_000)
        assert not asker.new

    between_two(tmp_path, script)


def test_a_stream_that_begins_for_it_comes_piece_by_piece(tmp_path: Path) -> None:
    async def script(holder: Holder, asker: Asker) -> None:
        call = holder.leave()
        await asker.hears(1)
        client = await asker.ask()
        await asker.hears(0)
        call.begin(Head(200, "text/event-stream", is_stream=True), "k-0")
        call.take(b"data: 1\n\n")
        await until(lambda: b"data: 1\n\n" in client.transport.sent)
        call.take(b"data: 2\n\n")
        call.finish()
        assert (await answer_of(client)).body == b"data: 1\n\ndata: 2\n\n"

    between_two(tmp_path, script)


def test_if_its_client_leaves_too_the_next_one_finds_it_again(tmp_path: Path) -> None:
    async def script(holder: Holder, asker: Asker) -> None:
        call = holder.leave()
        for _ in range(3):
            await asker.hears(1)
            client = await asker.ask()
            await asker.hears(0)
            client.connection.connection_lost(None)
        await asker.hears(1)
        finish(call)
        assert (await answer_of(await asker.ask())).headers["databricks-request-id"] == call.request_id
        assert not asker.new

    between_two(tmp_path, script)


def test_of_two_that_come_at_once_one_gets_it_and_the_other_is_done_as_any(tmp_path: Path) -> None:
    async def script(holder: Holder, asker: Asker) -> None:
        call = holder.leave()
        await asker.hears(1)
        clients = [await asker.ask(), await asker.ask()]
        await until(lambda: len(asker.new) == 1)
        finish(call)
        assert sorted([(await answer_of(client)).body for client in clients]) == [b"42", b"new"]

    between_two(tmp_path, script)


def test_what_was_let_go_is_not_asked_for(tmp_path: Path) -> None:
    async def script(holder: Holder, asker: Asker) -> None:
        call = holder.leave()
        await asker.hears(1)
        call.begin(Head(200, "text/event-stream", is_stream=True), "k-0")
        await asker.hears(0)
        assert (await answer_of(await asker.ask())).body == b"new"

    between_two(tmp_path, script)


def test_a_holder_that_ends_while_it_is_waited_for_is_made_good_only_for_models_that_may_be_asked_twice(
    tmp_path: Path,
) -> None:
    async def script(holder: Holder, asker: Asker) -> None:
        holder.leave(b"once")
        holder.leave(b"twice", is_idempotent=True)
        await asker.hears(2)
        once, twice = await asker.ask(b"once"), await asker.ask(b"twice")
        await asker.hears(0)
        holder.die()
        refused = await answer_of(once)
        assert (refused.status, refused.json["error_code"]) == (500, "INTERNAL_ERROR")
        assert (await answer_of(twice)).body == b"new"
        assert asker.new == [b"twice"]
        assert (await answer_of(await asker.ask(b"once"))).body == b"new", "nobody holds it: it is a new request"

    between_two(tmp_path, script)


def test_an_answer_that_breaks_off_is_not_passed_off_as_whole(tmp_path: Path) -> None:
    async def script(holder: Holder, asker: Asker) -> None:
        call = holder.leave(is_idempotent=True)
        await asker.hears(1)
        client = await asker.ask()
        await asker.hears(0)
        call.begin(Head(200, "text/event-stream", is_stream=True), "k-0")
        call.take(b"data: 1\n\n")
        await until(lambda: b"data: 1\n\n" in client.transport.sent)
        holder.die()
        await until(lambda: client.transport.was_aborted)
        assert not asker.new

    between_two(tmp_path, script)


def test_a_holder_that_does_not_answer_in_time_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.gateway.siblings._GRACE_S", 0.1)

    async def script(holder: Holder, asker: Asker) -> None:
        holder.leave(is_idempotent=True)
        await asker.hears(1)
        assert (await answer_of(await asker.ask())).body == b"new"

    between_two(tmp_path, script)


def test_a_gateway_that_comes_up_learns_what_is_held_and_forgets_what_a_dead_one_held(tmp_path: Path) -> None:
    async def script(holder: Holder, asker: Asker) -> None:
        holder.leave(b"first")
        finish(holder.leave(b"second"))
        late = Asker(Siblings(SocketFolder(tmp_path), [HOLDER]))
        late.siblings.follow()
        await late.hears(2)
        await late.siblings.close()
        await asker.hears(2)
        holder.die()
        await asker.hears(0)
        successor = await Holder(SocketFolder(tmp_path)).start()
        successor.leave(b"third")
        await asker.hears(1)
        assert asker.siblings.elsewhere.find(ASKED, b"third") is not None
        successor.die()

    between_two(tmp_path, script)


def test_a_gateway_that_drains_gives_what_it_was_asked_for_and_is_asked_for_nothing_more(tmp_path: Path) -> None:
    async def script(holder: Holder, asker: Asker) -> None:
        call = holder.leave(b"asked")
        holder.leave(b"left")
        await asker.hears(2)
        client = await asker.ask(b"asked")
        await asker.hears(1)
        holder.announcer.close()
        await asker.hears(0)
        finish(call)
        assert (await answer_of(client)).body == b"42"
        await until(lambda: not holder.connections)

    between_two(tmp_path, script)


@pytest.mark.parametrize("target", ["/", "/held/x/y", "/held/", "/elsewhere", "/held/nobody-s"])
def test_whatever_else_is_asked_between_gateways_is_answered(tmp_path: Path, target: str) -> None:
    async def script(holder: Holder, _asker: Asker) -> None:
        holder.leave()
        client = FakeClient(begin=holder.announcer.begin)
        await client.send(f"POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n".encode())
        (answer,) = client.answers()
        assert answer.status in {204, 404}
        assert len(holder.orphans) == 1

    between_two(tmp_path, script)
