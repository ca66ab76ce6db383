"""HTTP/1.1 on a played transport: order, limits, refusals, keep-alive, and indifference to how the bytes are cut."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.domain.errors import BadRequest
from penstock.gateway.exchange import BodyBudget, Exchange, Sink
from penstock.gateway.http import MAX_HEAD_BYTES
from penstock.gateway.sinks import Discard, WholeBody
from unit.clock import run_at_once
from unit.gateway.fakes import Answer, FakeClient

HOST = b"Host: h\r\n"


def get(target: str = "/", *headers: str, version: str = "1.1") -> bytes:
    """A request without a body."""
    extra = "".join(f"{header}\r\n" for header in headers).encode()
    return f"GET {target} HTTP/{version}\r\n".encode() + HOST + extra + b"\r\n"


def post(body: bytes = b"", target: str = "/", *headers: str) -> bytes:
    """A request with a body."""
    extra = "".join(f"{header}\r\n" for header in (*headers, f"Content-Length: {len(body)}")).encode()
    return f"POST {target} HTTP/1.1\r\n".encode() + HOST + extra + b"\r\n" + body


def chunked(*pieces: bytes, target: str = "/", trailer: bytes = b"") -> bytes:
    """A request with a chunked body."""
    head = f"POST {target} HTTP/1.1\r\n".encode() + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailer + b"\r\n"


def talk(*pieces: bytes, methods: tuple[str, ...] = (), **options: object) -> tuple[list[Answer], FakeClient]:
    """Send the pieces on a connection of their own; the answers, and the client with its connection."""
    kept: list[FakeClient] = []

    async def main() -> None:
        client = FakeClient(**options)  # type: ignore[arg-type]
        kept.append(client)
        await client.send(*pieces)

    run_at_once(main)
    return kept[0].answers(*methods), kept[0]


def script(run: Callable[[], Awaitable[None]]) -> None:
    """Run a script on a loop."""

    async def main() -> None:
        await run()

    run_at_once(main)


def targets(answers: list[Answer]) -> list[str]:
    """Which requests were answered by the echo."""
    return [answer.json["target"] for answer in answers]


# What is read.


def test_a_request_is_read_whole() -> None:
    ((answer,), client) = talk(post(b"a\0b", "/a?b=c", "X-One: 1", "X-Two:  2"))
    assert answer.status == 200
    assert answer.json == {
        "method": "POST",
        "target": "/a?b=c",
        "headers": [["content-length", "3"], ["host", "h"], ["x-one", "1"], ["x-two", "2"]],
        "body": "a\0b",
    }
    assert not client.is_told_to_close


def test_bytes_may_come_one_by_one() -> None:
    stream = post(b"hello", "/one") + chunked(b"wor", b"ld", target="/two") + get("/three")
    answers, client = talk(*(stream[i : i + 1] for i in range(len(stream))))
    assert targets(answers) == ["/one", "/two", "/three"]
    assert [answer.json["body"] for answer in answers] == ["hello", "world", ""]
    assert not client.is_told_to_close


def test_trailers_of_a_chunked_body_are_ignored() -> None:
    answers, _ = talk(chunked(b"a", trailer=b"Authorization: Bearer x\r\nX: y\r\n") + get("/two"))
    assert [answer.json["body"] for answer in answers] == ["a", ""]
    assert ["authorization", "Bearer x"] not in answers[1].json["headers"]


def test_pipelined_requests_are_answered_in_order_whatever_is_ready_first() -> None:
    async def run() -> None:
        held: dict[bytes, Exchange] = {}
        client = FakeClient(lambda exchange, _: held.__setitem__(exchange.target, exchange))
        await client.send(get("/1") + post(b"x", "/2") + get("/3"))
        assert list(held) == [b"/1"], "one exchange at a time"
        for number in (b"1", b"2", b"3"):
            held[b"/" + number].respond(200, number)
            await client.settle()
        assert [answer.body for answer in client.answers()] == [b"1", b"2", b"3"]
        assert client.transport.is_reading

    script(run)


def test_a_client_that_sends_ahead_is_not_read_until_its_turn_comes() -> None:
    async def run() -> None:
        held: list[Exchange] = []
        client = FakeClient(lambda exchange, _: held.append(exchange))
        await client.send(get("/1") + get("/2"))
        assert not client.transport.is_reading
        held[0].respond(200, b"")
        await client.settle()
        assert client.transport.is_reading
        held[1].respond(200, b"")
        assert len(client.answers()) == 2

    script(run)


OFFER = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
"""What Java's own HTTP client and curl's --http2 send with their first request."""
STREAM = b"".join(
    (
        post(b"hello", "/1", "Content-Type: text/csv"),
        get("/2"),
        chunked(b"wor", b"ld" * 20, target="/3"),
        post(b"", "/4"),
        post(b"too large for it" * 10, "/5"),
        post(b"with an offer", "/6", *OFFER),
        get("/7", *OFFER),
        get("/8", "X-Long: " + "x" * 300),
        post(b"bye", "/9", "Connection: close"),
    )
)
WHOLE, _ = talk(STREAM, limit_bytes=100)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=40))
def test_how_a_stream_is_cut_makes_no_difference(cuts: list[int]) -> None:
    places = sorted(set(cuts))
    pieces = [STREAM[low:high] for low, high in zip([0, *places], [*places, len(STREAM)], strict=True)]
    answers, client = talk(*pieces, limit_bytes=100)
    assert answers == WHOLE
    assert [answer.status for answer in answers] == [200] * 4 + [413] + [200] * 4
    assert client.is_told_to_close


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6))
@example([get("/a") + b"\0"])
@example([get("/a"), b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"])
def test_garbage_is_answered_with_json_or_closed_and_never_breaks_the_connection(pieces: list[bytes]) -> None:
    answers, client = talk(*pieces)
    assert all(answer.status in {200, 400} for answer in answers)
    if any(answer.status == 400 for answer in answers):
        assert client.is_told_to_close


# Limits.


def test_a_head_that_is_too_large_is_refused() -> None:
    answers, client = talk(get("/", "X: " + "x" * MAX_HEAD_BYTES))
    assert [(answer.status, answer.json["error_code"]) for answer in answers] == [(400, "BAD_REQUEST")]
    assert "head is over the limit" in answers[0].json["message"]
    assert answers[0].headers["connection"] == "close"
    assert client.is_told_to_close


@pytest.mark.parametrize("size", [100, 1, 4096])
def test_a_head_that_never_ends_is_refused_however_it_comes(size: int) -> None:
    async def run() -> None:
        client = FakeClient()
        await client.send(b"GET / HTTP/1.1\r\n" + HOST + b"X: ")
        piece = b"x" * size
        for _ in range(3 * MAX_HEAD_BYTES // size):
            if client.is_told_to_close:
                break
            client.connection.data_received(piece)
        assert [answer.status for answer in client.answers()] == [400]

    script(run)


def test_a_target_that_is_too_long_is_refused_in_one_piece_as_in_many() -> None:
    whole = get("/" + "a" * (3 * MAX_HEAD_BYTES))
    pieces = [whole[i : i + 1000] for i in range(0, len(whole), 1000)]
    for answers, client in (talk(*pieces), talk(whole)):
        assert [answer.status for answer in answers] == [400]
        assert client.is_told_to_close


def test_a_head_within_the_limit_is_read_in_one_piece_as_in_many() -> None:
    whole = get("/", "X: " + "x" * (MAX_HEAD_BYTES * 3 // 4))
    for pieces in ([whole], [whole[:20_000], whole[20_000:]], [whole[i : i + 500] for i in range(0, len(whole), 500)]):
        answers, _ = talk(*pieces)
        assert [answer.status for answer in answers] == [200]


def test_a_body_that_comes_with_the_end_of_the_head_does_not_count_as_head() -> None:
    whole = post(b"b" * 200_000)
    answers, _ = talk(whole[:30], whole[30:])
    assert [answer.status for answer in answers] == [200]
    assert len(answers[0].json["body"]) == 200_000


def test_many_requests_on_one_connection_do_not_add_up() -> None:
    async def run() -> None:
        client = FakeClient()
        request = get("/", "X: " + "x" * 1000)
        for _ in range(2 * MAX_HEAD_BYTES // 1000):
            client.connection.data_received(request[:500])
            client.connection.data_received(request[500:])
            await asyncio.sleep(0)
        assert {answer.status for answer in client.answers()} == {200}

    script(run)


@pytest.mark.parametrize(
    "request_bytes",
    [post(b"x" * 101), chunked(b"x" * 60, b"x" * 60), chunked(*[b"x"] * 101)],
    ids=["with a length", "chunked", "in many chunks"],
)
def test_a_body_over_the_limit_is_refused_and_the_connection_goes_on(request_bytes: bytes) -> None:
    answers, client = talk(request_bytes + get("/next"), limit_bytes=100)
    assert (answers[0].status, answers[0].json["error_code"]) == (413, "BAD_REQUEST")
    assert "100 bytes" in answers[0].json["message"]
    assert targets(answers[1:]) == ["/next"]
    assert not client.is_told_to_close


def test_a_body_at_the_limit_is_accepted() -> None:
    for request_bytes in (post(b"x" * 100), chunked(b"x" * 50, b"x" * 50)):
        answers, _ = talk(request_bytes, limit_bytes=100)
        assert [answer.status for answer in answers] == [200]


def test_a_body_that_is_far_too_large_is_refused_without_being_read() -> None:
    async def run() -> None:
        client = FakeClient(limit_bytes=100)
        await client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % (Discard.MAX_BYTES + 1))
        (answer,) = client.answers()
        assert answer.status == 413
        assert answer.headers["connection"] == "close"
        assert client.is_told_to_close
        await client.send(b"x" * 1000 + get("/never"))
        assert len(client.answers()) == 1

    script(run)


def test_a_refused_client_that_is_still_sending_gets_a_while_to_read_its_answer() -> None:
    async def run() -> None:
        client = FakeClient(begin=lambda exchange: Discard(exchange, BadRequest("no")))
        await client.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        assert client.transport.has_sent_eof
        assert not client.transport.is_closed
        await asyncio.sleep(10)
        assert client.transport.is_closed

    script(run)


# Expect: 100-continue.

WAITING = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"


def test_a_client_that_waits_is_told_to_go_on() -> None:
    async def run() -> None:
        client = FakeClient()
        await client.send(WAITING)
        assert [answer.status for answer in client.answers()] == [100]
        await client.send(b"hello")
        assert [answer.status for answer in client.answers()] == [100, 200]
        assert client.answers()[1].json["body"] == "hello"
        assert not client.is_told_to_close

    script(run)


def test_a_client_that_waits_is_not_told_to_go_on_if_its_body_is_too_large() -> None:
    answers, client = talk(WAITING, limit_bytes=4)
    assert [answer.status for answer in answers] == [413]
    assert client.is_told_to_close


def test_a_client_that_waits_behind_another_request_is_told_only_when_its_turn_comes() -> None:
    async def run() -> None:
        held: list[Exchange] = []
        client = FakeClient(lambda exchange, _: held.append(exchange))
        await client.send(get("/1") + WAITING)
        assert client.answers() == []
        held[0].respond(200, b"first")
        await client.settle()
        assert [answer.status for answer in client.answers()] == [200, 100]

    script(run)


# What is no HTTP.


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/9.7\r\n\r\n",
    ],
    ids=["TLS", "words", "bad header", "bad length", "two lengths", "length and chunks", "bad version"],
)
def test_what_is_no_http_is_refused_as_json_and_closed(data: bytes) -> None:
    answers, client = talk(data)
    assert [(answer.status, answer.json["error_code"]) for answer in answers] == [(400, "BAD_REQUEST")]
    assert answers[0].headers["content-type"] == "application/json"
    assert answers[0].headers["connection"] == "close"
    assert client.is_told_to_close


def test_garbage_after_a_request_that_is_being_answered_does_not_harm_its_answer() -> None:
    async def run() -> None:
        held: list[Exchange] = []
        client = FakeClient(lambda exchange, _: held.append(exchange))
        await client.send(get("/1") + b"\0garbage")
        assert client.answers() == []
        held[0].respond(200, b"first")
        await client.settle()
        first, *rest = client.answers()
        assert (first.status, first.body) == (200, b"first")
        assert [answer.status for answer in rest] in ([], [400])
        assert client.is_told_to_close

    script(run)


def test_a_broken_chunk_closes_the_connection() -> None:
    answers, client = talk(chunked(b"abc")[:-5] + b"zz\r\n")
    assert client.is_told_to_close
    assert all(answer.status == 400 for answer in answers)


def test_an_error_of_our_own_leaves_no_client_waiting() -> None:
    def fails(exchange: Exchange, body: bytes) -> None:
        raise RuntimeError("a mistake of ours")

    answers, client = talk(post(b"x"), then=fails)
    assert [(answer.status, answer.json["error_code"]) for answer in answers] == [(500, "INTERNAL_ERROR")]
    assert client.is_told_to_close


# Whether the connection goes on.


@pytest.mark.parametrize(
    ("request_bytes", "goes_on"),
    [
        (get("/"), True),
        (get("/", "Connection: keep-alive"), True),
        (get("/", "Connection: close"), False),
        (post(b"x", "/", "Connection: Close"), False),
        (get("/", version="1.0"), False),
    ],
)
def test_a_connection_goes_on_as_the_client_wishes(request_bytes: bytes, goes_on: bool) -> None:
    answers, client = talk(request_bytes)
    assert [answer.status for answer in answers] == [200]
    assert ("connection" not in answers[0].headers) is goes_on
    assert client.is_told_to_close is not goes_on


def test_a_client_of_http_1_0_is_told_if_the_connection_goes_on() -> None:
    (answer,), client = talk(get("/", "Connection: keep-alive", version="1.0"))
    assert client.is_told_to_close or answer.headers.get("connection", "").lower() == "keep-alive"


def test_nothing_is_answered_after_the_last_answer() -> None:
    answers, client = talk(get("/1", "Connection: close") + get("/2"))
    assert targets(answers) == ["/1"]
    assert client.is_told_to_close


@pytest.mark.parametrize("body", [b"", b"hello"])
def test_a_request_after_an_offer_to_upgrade_is_not_left_waiting(body: bytes) -> None:
    first = post(body, "/1", *OFFER) if body else get("/1", *OFFER)

    async def run() -> None:
        client = FakeClient()
        await client.send(first)
        assert client.answers()[0].json["body"] == body.decode()
        if not client.is_told_to_close:
            await client.send(get("/2"))
            assert targets(client.answers()) == ["/1", "/2"]

    script(run)


def test_an_offer_to_upgrade_is_not_passed_on() -> None:
    answers, _ = talk(post(b"hello", "/1", "X-A: 1", *OFFER))
    names = {name for name, _ in answers[0].json["headers"]}
    assert names >= {"host", "x-a", "content-length"}
    assert not names & {"upgrade", "http2-settings"}


def test_a_tunnel_is_not_opened() -> None:
    async def run() -> None:
        client = FakeClient(begin=lambda exchange: Discard(exchange, BadRequest("no")))
        await client.send(b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", b"\x16\x03\x01", get("/2"))
        await asyncio.sleep(10)
        assert [answer.status for answer in client.answers()] == [400]
        assert client.transport.is_closed

    script(run)


def test_an_answer_to_head_has_no_body_but_its_length() -> None:
    answers, _ = talk(b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n" + get("/2"), methods=("HEAD", "GET"))
    assert [answer.status for answer in answers] == [200, 200]
    assert int(answers[0].headers["content-length"]) > 0


def test_an_answer_before_the_end_of_the_body_closes_the_connection() -> None:
    class Hasty:
        """Answers at the first piece."""

        def __init__(self, exchange: Exchange) -> None:
            self._exchange = exchange

        def feed(self, data: bytes) -> None:
            self._exchange.respond(200, b"enough")

        def complete(self) -> None:
            self._exchange.respond(200, b"late")

        def abandon(self) -> None:
            """Nothing."""

    async def run() -> None:
        client = FakeClient(begin=Hasty)
        whole = post(b"x" * 100)
        await client.send(whole[:-50], whole[-50:] + get("/2"))
        (answer,) = client.answers()
        assert (answer.body, answer.headers["connection"]) == (b"enough", "close")
        assert client.is_told_to_close

    script(run)


# Streams.


class Streamed:
    """Keeps the exchange; the test streams the answer."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.is_abandoned = False
        self.body = b""

    def feed(self, data: bytes) -> None:
        self.body += data

    def complete(self) -> None:
        """Nothing."""

    def abandon(self) -> None:
        self.is_abandoned = True


def streaming() -> tuple[FakeClient, list[Streamed]]:
    """A client whose answers are streamed by the test."""
    sinks: list[Streamed] = []

    def begin(exchange: Exchange) -> Sink:
        sinks.append(Streamed(exchange))
        return sinks[-1]

    return FakeClient(begin=begin), sinks


def test_a_stream_without_a_length_is_chunked() -> None:
    async def run() -> None:
        client, sinks = streaming()
        await client.send(get("/1"))
        sinks[0].exchange.begin_stream(206, [(b"X-A", b"1")])
        for piece in (b"one", b"", b"two" * 100):
            await sinks[0].exchange.write(piece)
        sinks[0].exchange.end_stream()
        await client.send(get("/2"))
        sinks[1].exchange.respond(200, b"next")
        first, second = client.answers()
        assert (first.status, first.headers["x-a"], first.body) == (206, "1", b"one" + b"two" * 100)
        assert second.body == b"next"

    script(run)


def test_a_stream_with_a_length_is_sent_as_it_is() -> None:
    async def run() -> None:
        client, sinks = streaming()
        await client.send(get("/1"))
        sinks[0].exchange.begin_stream(200, [(b"Content-Length", b"6")])
        await sinks[0].exchange.write(b"abcdef")
        sinks[0].exchange.end_stream()
        assert [(a.body, a.headers) for a in client.answers()] == [(b"abcdef", {"content-length": "6"})]

    script(run)


def test_a_stream_without_a_length_ends_with_the_connection_for_http_1_0() -> None:
    async def run() -> None:
        client, sinks = streaming()
        await client.send(get("/1", "Connection: keep-alive", version="1.0"))
        sinks[0].exchange.begin_stream(200, [])
        await sinks[0].exchange.write(b"abc")
        sinks[0].exchange.end_stream()
        await client.settle()
        (answer,) = client.answers()
        assert (answer.body, answer.headers) == (b"abc", {"connection": "close"})
        assert client.is_told_to_close

    script(run)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_a_stream_that_can_have_no_body_is_not_chunked(method: str, status: int) -> None:
    async def run() -> None:
        client, sinks = streaming()
        await client.send(f"{method} / HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        sinks[0].exchange.begin_stream(status, [])
        sinks[0].exchange.end_stream()
        assert client.transport.sent.endswith(b"\r\n\r\n")
        assert b"chunked" not in client.transport.sent
        assert not client.is_told_to_close

    script(run)


def test_a_stream_that_cannot_be_completed_is_cut_off() -> None:
    async def run() -> None:
        client, sinks = streaming()
        await client.send(get("/1"))
        sinks[0].exchange.begin_stream(200, [(b"content-length", b"6")])
        await sinks[0].exchange.write(b"abc")
        sinks[0].exchange.break_off()
        assert client.transport.was_aborted

    script(run)


def test_writing_waits_while_the_client_is_slow() -> None:
    async def run() -> None:
        client, sinks = streaming()
        await client.send(get("/1"))
        exchange = sinks[0].exchange
        exchange.begin_stream(200, [])
        client.connection.pause_writing()
        writing = asyncio.ensure_future(exchange.write(b"abc"))
        await client.settle()
        assert not writing.done()
        client.connection.resume_writing()
        await writing

    script(run)


def test_writing_to_a_client_that_went_away_does_not_wait_for_ever() -> None:
    async def run() -> None:
        client, sinks = streaming()
        await client.send(get("/1"))
        exchange = sinks[0].exchange
        exchange.begin_stream(200, [])
        client.connection.pause_writing()
        writing = asyncio.ensure_future(exchange.write(b"abc"))
        client.connection.connection_lost(None)
        await asyncio.wait_for(writing, 1)
        assert sinks[0].is_abandoned
        assert not exchange.is_open

    script(run)


def test_a_full_sink_stops_the_client_and_an_answer_lets_it_go_on() -> None:
    async def run() -> None:
        client, sinks = streaming()
        await client.send(post(b"x" * 10, "/1"))
        exchange = sinks[0].exchange
        exchange.pause_body(True)
        assert not client.transport.is_reading
        exchange.respond(403, b"enough")
        await client.settle()
        assert client.transport.is_reading, "the next request would never be read"

    script(run)


# The end.


def test_a_client_that_goes_away_takes_all_its_exchanges_with_it() -> None:
    async def run() -> None:
        client, sinks = streaming()
        await client.send(post(b"x", "/1") + get("/2"))
        client.connection.connection_lost(None)
        assert sinks[0].is_abandoned
        sinks[0].exchange.respond(200, b"nobody reads this")
        await client.settle()
        assert client.transport.sent == b""
        assert len(sinks) == 1, "what had not begun does not begin"
        assert not client.connections

    script(run)


def test_draining_answers_the_next_request_on_an_idle_connection_and_closes_after_it() -> None:
    """It may be on its way already, and its client need not be one that sends again."""

    async def run() -> None:
        client = FakeClient()
        await client.send(get("/1"))
        client.connection.drain()
        assert not client.is_told_to_close
        await client.send(get("/2"))
        assert [answer.headers.get("connection") for answer in client.answers()] == [None, "close"]
        assert client.transport.is_closed

    script(run)


def test_draining_closes_a_connection_that_stays_idle() -> None:
    async def run() -> None:
        client = FakeClient()
        await client.send(get("/1"))
        client.connection.drain()
        await asyncio.sleep(1.1)
        assert client.transport.is_closed
        assert len(client.answers()) == 1

    script(run)


def test_draining_waits_for_no_idle_client_that_does_not_close() -> None:
    """Over TLS a close is only done when the client has closed, too."""

    async def run() -> None:
        client = FakeClient()
        client.transport.waits_for_client = True
        client.connection.drain()
        await asyncio.sleep(1.1)
        assert client.transport.is_closed
        assert client.connections
        await asyncio.sleep(5)
        assert client.transport.was_aborted
        assert not client.connections

    script(run)


def test_draining_lets_what_has_begun_be_answered() -> None:
    async def run() -> None:
        client, sinks = streaming()
        await client.send(post(b"hello")[:-2])
        client.connection.drain()
        await client.send(b"lo")
        assert sinks[0].body == b"hello"
        sinks[0].exchange.respond(200, b"answer")
        await client.settle()
        (answer,) = client.answers()
        assert (answer.body, answer.headers["connection"]) == (b"answer", "close")
        assert client.transport.is_closed

    script(run)


def test_draining_closes_after_a_stream_that_had_begun() -> None:
    async def run() -> None:
        client, sinks = streaming()
        await client.send(get("/1"))
        sinks[0].exchange.begin_stream(200, [])
        client.connection.drain()
        await sinks[0].exchange.write(b"abc")
        sinks[0].exchange.end_stream()
        await client.settle()
        assert client.answers()[0].body == b"abc"
        assert client.transport.is_closed

    script(run)


def test_a_refusal_carries_the_headers_of_its_error_and_those_given() -> None:
    async def run() -> None:
        client = FakeClient(begin=lambda exchange: Discard(exchange, BadRequest("é"), {"allow": "POST"}))
        await client.send(get("/1"))
        (answer,) = client.answers()
        assert answer.headers["allow"] == "POST"
        assert json.loads(answer.body) == {"error_code": "BAD_REQUEST", "message": "é"}

    script(run)


def test_an_exchange_is_answered_once() -> None:
    async def run() -> None:
        def twice(exchange: Exchange, _: bytes) -> None:
            exchange.respond(200, b"one")
            exchange.respond(200, b"two")

        client = FakeClient(twice)
        await client.send(get("/1") + get("/2"))
        assert [answer.body for answer in client.answers()] == [b"one", b"one"]

    script(run)


def test_a_whole_body_is_handed_on_as_bytes() -> None:
    async def run() -> None:
        bodies: list[bytes] = []
        client = FakeClient(begin=lambda exchange: WholeBody(exchange, 100, bodies.append))
        whole = post(b"hello world")
        await client.send(whole[:-6], whole[-6:-3], whole[-3:])
        assert bodies == [b"hello world"]

    script(run)


# The budget of bodies.


def test_bodies_share_a_budget_and_give_their_share_back_with_the_answer() -> None:
    async def run() -> None:
        budget = BodyBudget(100)
        held: list[Exchange] = []

        def begin(exchange: Exchange) -> Sink:
            return WholeBody(exchange, 80, lambda _: held.append(exchange), budget)

        first, second = FakeClient(begin=begin), FakeClient(begin=begin)
        await first.send(post(b"x" * 60))
        await second.send(post(b"y" * 60))
        (refused,) = second.answers()
        assert (refused.status, refused.json["error_code"]) == (429, "RESOURCE_EXHAUSTED")
        assert refused.headers["retry-after"] == "1"
        held[0].respond(200, b"")
        await second.send(post(b"y" * 60))
        assert len(held) == 2
        held[1].respond(200, b"")
        assert budget.take(100), "all of it is free again"

    script(run)


@pytest.mark.parametrize("ends", ["leaves", "is too large", "comes in pieces and leaves"])
def test_a_body_gives_its_share_back_however_it_ends(ends: str) -> None:
    async def run() -> None:
        budget = BodyBudget(100)
        client = FakeClient(begin=lambda exchange: WholeBody(exchange, 40, lambda _: None, budget))
        match ends:
            case "leaves":
                await client.send(post(b"x" * 40))
                client.connection.connection_lost(None)
            case "is too large":
                await client.send(chunked(b"x" * 30, b"x" * 30, b"x" * 30))
                assert [answer.status for answer in client.answers()] == [413]
            case _:
                whole = post(b"x" * 40)
                await client.send(whole[:-20], whole[-20:-10])
                client.connection.connection_lost(None)
        assert budget.take(100)

    script(run)
