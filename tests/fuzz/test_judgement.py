"""The fuzzer finds what it is to find: servers that do wrong in each of the ways are told so, and cases repeat."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from support.fuzzing.campaign import Campaign
from support.fuzzing.cases import Case, Grammar, Operation, Target
from support.fuzzing.client import Answer, fault_of

TARGET = Target("t", ("e",), "s", "1" * 32, (Operation("GET", "/api/2.0/serving-endpoints/{name}", None),), {})
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(status: int, body: bytes, content_type: str = "application/json") -> Serve:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\nconnection: close"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.encode() + b"\r\n\r\n" + body)
        writer.close()

    return serve


async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


@dataclass
class Somewhere:
    """As much of a stack as a campaign needs."""

    url: str
    token: str = "t"


class OneCase:
    """A grammar of one harmless request."""

    def case(self, index: int) -> Case:
        return Case(index, "query", "x", "x", b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 8\r\n\r\n12345678")


GOOD = b'{"error_code": "BAD_REQUEST", "message": "no"}'


@pytest.mark.parametrize(
    ("serve", "fault"),
    [
        (answering(400, GOOD), None),
        (answering(200, b"anything", "text/plain"), None),
        (answering(501, b'{"error_code": "NOT_IMPLEMENTED", "message": "no"}'), None),
        (answering(500, GOOD), "500"),
        (answering(501, GOOD), "501"),
        (answering(404, b"not found", "text/plain"), "content type 'text/plain'"),
        (answering(404, b"not found"), "no JSON with error_code"),
        (answering(400, b'{"message": "no"}'), "no JSON with error_code"),
        (answering(400, b'{"error_code": "MY_OWN", "message": "no"}'), "error_code 'MY_OWN'"),
        (closing, "closed without an answer"),
        (silent, "no answer within 2 s, twice"),
    ],
)
def test_r19_what_is_wrong_is_found(serve: Serve, fault: str | None) -> None:
    async def run() -> Campaign:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        campaign = Campaign(Somewhere(f"http://127.0.0.1:{port}"), OneCase(), workers=1)  # type: ignore[arg-type]
        await campaign.run(0, 1)
        server.close()
        return campaign

    outcome = asyncio.run(run()).outcome
    assert outcome.sent == 1
    assert bool(outcome.faults) == (fault is not None)
    if fault is not None:
        assert fault in next(iter(outcome.faults))
        assert outcome.findings[0].case.data.startswith(b"POST /x HTTP/1.1\r\n")


def test_r19_a_case_is_the_same_every_time_and_another_with_another_seed() -> None:
    cases = [Grammar(TARGET, 7).case(index) for index in range(500)]
    assert cases == [Grammar(TARGET, 7).case(index) for index in range(500)]
    assert cases != [Grammar(TARGET, 8).case(index) for index in range(500)]


def test_r19_the_grammar_reaches_all_that_it_is_for() -> None:
    sent = b"".join(Grammar(TARGET, 1).case(index).data for index in range(6000))
    for token in (
        *(b"[" * 10_000, b"\\ud800", b"\x00", b"\xef\xbb\xbf", b"\xff\xfe", b"1e999", b"-0", b"NaN", b"9" * 300),
        *(b"charset=utf-16", b"text/csv", b"transfer-encoding: chunked", b'"dataframe_split"', b'"a":1,"a":2'),
    ):
        assert token in sent, token
    for route in ("chat/completions", "completions", "embeddings", "responses", "models"):
        assert f" /serving-endpoints/{route}".encode() in sent


def test_a_5xx_is_improper_whatever_it_says() -> None:
    assert fault_of(Answer(503, b"application/json", GOOD)) == "503"
