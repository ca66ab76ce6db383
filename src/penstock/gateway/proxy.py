"""Everything that is no prediction is passed on, bytes untouched: to the control plane, or to MLflow.

Bodies stream in both directions with back-pressure: a slow reader on either side stops the writer on the other, and
no more than a few hundred kilobytes are held in between, whatever the size of an artifact.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator

import aiohttp
import yarl

from penstock.domain.errors import TemporarilyUnavailable
from penstock.gateway.credentials import without_session
from penstock.gateway.exchange import Exchange
from penstock.wire.messages import CLIENT_ADDRESS_HEADER, CLIENT_HOST_HEADER, CREDENTIAL_HEADER, PRINCIPAL_HEADER

_HIGH_WATER_BYTES = 256 << 10
_CHUNK_BYTES = 64 << 10
_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
    )
)
_NEVER_PASSED = _HOP_BY_HOP | {b"host", b"authorization", b"content-length"}
_OWN_PREFIX = b"x-penstock-"
_CORS_PREFIX = b"access-control-"
"""Which pages may read an answer is decided here: MLflow would let any page on localhost read it, cookie included."""

RawHeaders = tuple[tuple[bytes, bytes], ...]


class Upstream:
    """One server behind the gateway."""

    def __init__(
        self, name: str, session: aiohttp.ClientSession, base_url: str, authorization: str | None = None
    ) -> None:
        """`authorization` is what the server itself wants to see; the client's own is meant for us and stays here."""
        self.name = name
        self.passed_on = 0
        """Requests that it was given."""
        self._authorization = authorization
        self._session = session
        self._base = base_url.rstrip("/")

    async def close(self) -> None:
        """Close all connections to it."""
        await self._session.close()

    def pass_on(
        self,
        exchange: Exchange,
        target: str,
        principal: str | None = None,
        credential: str | None = None,
        headers: RawHeaders = (),
    ) -> "PassedOn":
        """A sink that passes an exchange on.

        Args:
            exchange: what came.
            target: path and query at the server.
            principal: on whose behalf, if the server is to know.
            credential: the digest of what they showed, if the server is to know.
            headers: what the answer is to bear in place of what the server says under these names.
        """
        self.passed_on += 1
        own = [(PRINCIPAL_HEADER, principal), (CREDENTIAL_HEADER, credential)]
        told = [(name, value) for name, value in own if value is not None]
        return PassedOn(exchange, self, yarl.URL(self._base + target, encoded=True), told, headers)

    def request(
        self, exchange: Exchange, url: yarl.URL, told: list[tuple[str, str]], body: AsyncIterator[bytes] | None
    ) -> "aiohttp.client._RequestContextManager":
        """Begin the request to this server, which is told of the caller in headers of ours."""
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in _without_session(exchange.headers)
            if name.lower() not in _NEVER_PASSED and not name.lower().startswith(_OWN_PREFIX)
        ]
        headers = [pair for pair in headers if not _is_own_origin(pair, exchange)]
        if told:
            headers += [*told, (CLIENT_ADDRESS_HEADER, exchange.client_address)]
            headers += [
                (CLIENT_HOST_HEADER, value.decode("latin-1"))
                for name, value in exchange.headers
                if name.lower() == b"host"
            ]
        if self._authorization is not None:
            headers.append(("authorization", self._authorization))
        if exchange.content_length is not None:
            headers.append(("content-length", str(exchange.content_length)))
        return self._session.request(
            exchange.method.decode("latin-1"),
            url,
            headers=headers,
            data=body,
            allow_redirects=False,
            skip_auto_headers=("accept", "accept-encoding", "user-agent", "content-type"),
        )


class PassedOn:
    """An exchange that another server answers."""

    def __init__(
        self,
        exchange: Exchange,
        upstream: Upstream,
        url: yarl.URL,
        told: list[tuple[str, str]],
        headers: RawHeaders,
    ) -> None:
        self._exchange = exchange
        self._headers = headers
        self._upstream = upstream
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._is_complete = False
        self._changed = asyncio.Event()
        exchange.accept_body()
        self._task = asyncio.create_task(self._run(url, told), name=f"pass on {url.path}")

    def feed(self, data: bytes) -> None:
        """Queue a piece of the body; stop the client while too much is queued."""
        self._pieces.append(data)
        self._buffered += len(data)
        self._changed.set()
        if self._buffered > _HIGH_WATER_BYTES:
            self._exchange.pause_body(True)

    def complete(self) -> None:
        """The body is whole."""
        self._is_complete = True
        self._changed.set()

    def abandon(self) -> None:
        """The client is gone: let the other server know."""
        self._task.cancel()

    async def _body(self) -> AsyncIterator[bytes]:
        while True:
            while self._pieces:
                data = self._pieces.popleft()
                self._buffered -= len(data)
                if self._buffered <= _HIGH_WATER_BYTES:
                    self._exchange.pause_body(False)
                yield data
            if self._is_complete:
                return
            self._changed.clear()
            await self._changed.wait()

    async def _run(self, url: yarl.URL, told: list[tuple[str, str]]) -> None:
        exchange = self._exchange
        has_body = exchange.content_length or any(n.lower() == b"transfer-encoding" for n, _ in exchange.headers)
        try:
            request = self._upstream.request(exchange, url, told, self._body() if has_body else None)
            async with request as response:
                await hand_on(response, exchange, self._headers)
        except (aiohttp.ClientError, OSError) as exc:
            if exchange.has_begun_to_answer:
                exchange.break_off()
            else:
                message = f"The {self._upstream.name} does not answer: {exc or type(exc).__name__}."
                exchange.refuse(TemporarilyUnavailable(message))


async def hand_on(response: aiohttp.ClientResponse, exchange: Exchange, headers: RawHeaders = ()) -> None:
    """Answer as another server does, as its answer comes; `headers` are borne in place of what it says there.

    Raises:
        aiohttp.ClientError: the answer broke off.
    """
    dropped = _HOP_BY_HOP.union(name for name, _ in headers)
    kept = [
        (name, value)
        for name, value in response.raw_headers
        if name.lower() not in dropped and not name.lower().startswith(_CORS_PREFIX)
    ]
    exchange.begin_stream(response.status, [*kept, *headers])
    async for data in response.content.iter_chunked(_CHUNK_BYTES):
        await exchange.write(data)
    exchange.end_stream()


def _without_session(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers:
        if name.lower() != b"cookie":
            yield name, value
        elif others := without_session(value):
            yield name, others


def _is_own_origin(pair: tuple[str, str], exchange: Exchange) -> bool:
    """Whether a header is the Origin of our own pages: MLflow knows itself by another host and would refuse it."""
    name, value = pair
    if name.lower() != "origin":
        return False
    host = next((v.decode("latin-1") for n, v in exchange.headers if n.lower() == b"host"), None)
    return host is not None and value.split("://", 1)[-1] == host
