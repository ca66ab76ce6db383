"""Heads that are looked up: what they give is what parsing them anew gives, and only a request is taken for one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.gateway.exchange import Exchange, Sink
from penstock.gateway.head import KnownHeads
from penstock.gateway.http import HttpConnection
from penstock.gateway.sinks import WholeBody
from unit.clock import run_at_once
from unit.gateway.fakes import Answer, FakeClient, FakeTransport, echo

BODY = b'{"inputs": [1]}'


def request(body: bytes = BODY, *headers: bytes, line: bytes = b"POST /x HTTP/1.1", end: bytes = b"\r\n") -> bytes:
    """A request with a body of a length that it tells."""
    lines = [line, b"Host: h", *headers, b"Content-Length: %d" % len(body)]
    return end.join(lines) + end + end + body


def sent(*pieces: bytes, known: KnownHeads | None = None) -> list[Answer]:
    """What one connection answers to these pieces; a piece a turn of the loop."""
    kept: list[FakeClient] = []

    async def main() -> None:
        client = FakeClient()
        if known is not None:

            def begin(exchange: Exchange) -> Sink:
                return WholeBody(exchange, 1 << 20, lambda body: echo(exchange, body))

            client.connection = HttpConnection(begin, client.connections, known)
            client.transport = FakeTransport(client.connection)
            client.connection.connection_made(client.transport)
        kept.append(client)
        await client.send(*pieces)

    run_at_once(main)
    return kept[0].answers()


def is_known(data: bytes) -> bool:
    """Whether a request would be looked up after it came once."""
    known = KnownHeads()
    sent(data, known=known)
    return known.find(data) is not None


def test_a_request_that_comes_again_is_looked_up_with_another_body_of_that_length() -> None:
    known = KnownHeads()
    first, again = sent(request(b"first"), request(b"again"), known=known)
    assert (first.json["body"], again.json["body"]) == ("first", "again")
    assert first.json["headers"] == again.json["headers"]
    found = known.find(request(b"third"))
    assert found is not None
    encoded, head = found
    assert (encoded, head.key) == (request(b"third")[:-5], (b"POST", b"/x", None, None))


@pytest.mark.parametrize(
    "other",
    [
        request(b"longer"),
        request(b"first") + b"GET",
        request(b"first")[:-1],
        request(b"first", line=b"POST /y HTTP/1.1"),
        request(b"first", b"X: 1"),
        b"\r\n" + request(b"first"),
        b"",
        b"\r\n\r\n",
    ],
)
def test_what_is_not_one_whole_request_with_the_very_head_is_not_looked_up(other: bytes) -> None:
    known = KnownHeads()
    sent(request(b"first"), known=known)
    assert known.find(other) is None


@pytest.mark.parametrize(
    "data",
    [
        request(b""),
        request(BODY, b"Connection: close"),
        request(BODY, b"Expect: 100-continue"),
        request(BODY, b"Content-Encoding: gzip"),
        request(BODY, b"X: " + b"x" * 5000),
        request(BODY) + request(BODY),
        request(BODY) + b"\r\n",
        b"\r\n" + request(BODY),
        b"\r\n\r\n" + request(BODY),
        request(BODY, line=b"POST /x HTTP/1.0"),
        b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        request(b"ab\r\n\r\ncd", end=b"\n"),
        request(b"\r\n\r\n" * 3, end=b"\n") + b"\r\n" * 5,
    ],
    ids=[
        *(
            "no body",
            "closes",
            "expects",
            "packed",
            "long head",
            "two",
            "a line after it",
            "a line before",
            "two before",
        ),
        *("old", "chunked", "bare line feeds", "bare line feeds and lines after it"),
    ],
)
def test_what_is_special_is_parsed_every_time(data: bytes) -> None:
    assert is_known(request(BODY))
    assert not is_known(data)


LINE_ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r\n\r\n"])
BODIES = st.sampled_from([b"", b"a", b"\r\n", b"\r\n\r\n", b"a\r\n\r\nb", b"POST /x HTTP/1.1\r\n\r\n"])
HEADERS = st.lists(st.sampled_from([b"A: 1", b"Connection: close", b"Expect: 100-continue", b"B: \t2 "]), max_size=2)
REQUESTS = st.builds(
    lambda body, headers, end, after: request(body, *headers, end=end) + after,
    BODIES,
    HEADERS,
    LINE_ENDS,
    st.sampled_from([b"", b"", b"\r\n", b"\n", b"x"]),
)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(st.lists(REQUESTS, min_size=1, max_size=4))
def test_what_was_learned_changes_no_answer(requests: list[bytes]) -> None:
    known = KnownHeads()
    for data in requests:
        sent(data, known=known)
    for data in requests:
        assert sent(data, data, known=known) == sent(data, data, known=KnownHeads())


def test_many_different_heads_do_not_pile_up() -> None:
    known = KnownHeads()
    for number in range(3000):
        sent(request(BODY, b"X-Request-Id: %d" % number), known=known)
    assert sum(known.find(request(BODY, b"X-Request-Id: %d" % n)) is not None for n in range(3000)) <= 1024
