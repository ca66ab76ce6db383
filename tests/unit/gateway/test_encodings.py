"""Bodies that come compressed, through a connection: what arrives is what was packed, and never more than it may be."""

import contextlib
import gzip
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.errors import BadRequest, PayloadTooLarge, PenstockError, UnsupportedMediaType
from penstock.gateway.encodings import unpacker_of
from penstock.gateway.exchange import BodyBudget, Exchange, Sink
from penstock.gateway.sinks import Discard, Unpacking, WholeBody
from unit.clock import run_at_once
from unit.gateway.fakes import Answer, FakeClient, echo

LIMIT = 10_000


def raw_deflate(data: bytes) -> bytes:
    """Deflated without a zlib header, as some clients do."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS = {
    b"gzip": gzip.compress,
    b"x-gzip": gzip.compress,
    b"GZIP": gzip.compress,
    b"deflate": zlib.compress,
    b" deflate ": raw_deflate,
    b"identity": bytes,
}


def post(packed: bytes, encoding: bytes) -> bytes:
    """A request with such a body."""
    return b"POST / HTTP/1.1\r\nHost: h\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        encoding,
        len(packed),
        packed,
    )


def answers(*pieces: bytes, budget: BodyBudget | None = None) -> list[Answer]:
    """What a connection answers that unpacks bodies."""
    kept: list[Answer] = []

    def begin(exchange: Exchange) -> Sink:
        try:
            unpacker = unpacker_of(exchange.head.content_encoding, LIMIT)
        except PenstockError as exc:
            return Discard(exchange, exc)
        whole = WholeBody(exchange, LIMIT, lambda body: echo(exchange, body), budget)
        return whole if unpacker is None else Unpacking(exchange, unpacker, whole)

    async def main() -> None:
        client = FakeClient(begin=begin)
        await client.send(*pieces)
        kept.extend(client.answers())

    run_at_once(main)
    return kept


def whole(encoding: bytes, *pieces: bytes) -> bytes:
    """What these pieces unpack to."""
    unpacker = unpacker_of(encoding, LIMIT)
    assert unpacker is not None
    unpacked = b"".join(unpacker.feed(piece) for piece in pieces)
    unpacker.finish()
    return unpacked


@pytest.mark.parametrize("encoding", PACKERS)
def test_p4_4_a_packed_body_arrives_unpacked_and_the_connection_goes_on(encoding: bytes) -> None:
    data = b'{"inputs": [1]}' * 50
    found = answers(post(PACKERS[encoding](data), encoding), post(PACKERS[encoding](b"x"), encoding))
    assert [(answer.status, answer.json["body"]) for answer in found] == [(200, data.decode()), (200, "x")]


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.binary(max_size=LIMIT), st.sampled_from([b"gzip", b"deflate", b" deflate "]), st.integers(1, 4000))
def test_p4_4_however_it_is_cut(data: bytes, encoding: bytes, size: int) -> None:
    packed = PACKERS[encoding](data)
    assert whole(encoding, *(packed[at : at + size] for at in range(0, len(packed), size))) == data


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
@pytest.mark.parametrize("size", [LIMIT + 1, 100 << 20])
def test_p4_4_a_bomb_is_refused_before_it_goes_off(encoding: bytes, size: int) -> None:
    packed = PACKERS[encoding](bytes(size))
    budget = BodyBudget(LIMIT)
    first, second = answers(post(packed, encoding), post(PACKERS[encoding](b"x"), encoding), budget=budget)
    assert (first.status, first.json["error_code"]) == (413, "BAD_REQUEST")
    assert "unpacks to more" in first.json["message"]
    assert second.status == 200
    assert budget.take(LIMIT), "nothing is held any more"


def test_p4_4_a_body_at_the_limit_is_taken() -> None:
    assert whole(b"gzip", gzip.compress(bytes(LIMIT))) == bytes(LIMIT)


@pytest.mark.parametrize(
    ("encoding", "packed", "why"),
    [
        (b"gzip", b"no gzip", "incorrect header"),
        (b"gzip", gzip.compress(b"abc")[:-1], "cut off"),
        (b"gzip", b"", "cut off"),
        (b"deflate", b"", "cut off"),
        (b"deflate", b"\xff\xff", "invalid block type"),
        (b"gzip", gzip.compress(b"abc") + b"x", "after its end"),
        (b"gzip", gzip.compress(b"abc") * 2, "after its end"),
        (b"gzip", gzip.compress(b"abc")[:-8] + b"\0" * 8, "data check"),
    ],
)
def test_p4_4_what_is_not_packed_as_it_says_is_refused(encoding: bytes, packed: bytes, why: str) -> None:
    if packed:
        (answer,) = answers(post(packed, encoding))
        assert (answer.status, answer.json["error_code"]) == (400, "BAD_REQUEST")
        assert why in answer.json["message"]
    with pytest.raises(BadRequest, match=why):
        whole(encoding, *(packed[at : at + 1] for at in range(len(packed))))


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, gzip", b"\xff" * 300])
def test_p4_4_a_packing_that_we_do_not_know_is_refused(encoding: bytes) -> None:
    (answer,) = answers(post(b"x", encoding))
    assert (answer.status, answer.json["error_code"]) == (415, "BAD_REQUEST")
    assert "wanted gzip, deflate" in answer.json["message"]


def test_p4_4_packed_twice_in_two_headers_is_packed_twice() -> None:
    data = post(b"x", b"gzip\r\nContent-Encoding: gzip")
    assert [answer.status for answer in answers(data)] == [415]
    with pytest.raises(UnsupportedMediaType):
        unpacker_of(b"gzip, gzip", 1)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.sampled_from([b"gzip", b"deflate"]), st.lists(st.binary(min_size=1, max_size=60), max_size=5))
def test_p4_4_garbage_is_refused_and_nothing_else(encoding: bytes, pieces: list[bytes]) -> None:
    with contextlib.suppress(BadRequest, PayloadTooLarge):
        whole(encoding, *pieces)
