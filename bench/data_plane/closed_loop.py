"""A client that keeps a number of connections busy: each sends the next request when its answer is there.

    python bench/data_plane/closed_loop.py HOST:PORT TARGET TOKEN CONNECTIONS SECONDS [BODY]

Prints one line of JSON: requests, errors, requests a second, latencies. It knows the answer's length from the first one
and looks into nothing else, so that it costs less than what it measures.
"""

import asyncio
import gc
import json
import sys
import time

import uvloop

ROW = b"[0.12573022, -0.13210486, 0.64042265, 0.10490012, -0.53566937, 0.36159505, 1.30400005, 0.94708096]"
COLUMNS = b'["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"]'
BODY = b'{"dataframe_split": {"columns": %b, "data": [%b, %b]}}' % (COLUMNS, ROW, ROW)


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, request: bytes, until_s: float) -> None:
        self._request = request
        self._until_s = until_s
        self._came = bytearray()
        self.latencies_s: list[float] = []
        self.errors = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._next()

    def _next(self) -> None:
        self._sent_s = time.perf_counter()
        self._transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        if self._came:
            self._came += data
            data = bytes(self._came)
        head, separator, body = data.partition(b"\r\n\r\n")
        if not separator or len(body) < _length(head):
            self._came = bytearray(data)
            return
        self._came.clear()
        now_s = time.perf_counter()
        self.latencies_s.append(now_s - self._sent_s)
        self.errors += not head.startswith(b"HTTP/1.1 200")
        if now_s < self._until_s:
            self._next()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, or the server has closed."""
        if time.perf_counter() < self._until_s:
            self.errors += 1
        if not self.done.done():
            self.done.set_result(None)


def _length(head: bytes) -> int:
    at = head.index(b"content-length: ") + 16
    end = head.find(b"\r", at)
    return int(head[at : end if end >= 0 else len(head)])


async def run(address: str, target: str, token: str, connections: int, seconds: float, body: bytes) -> dict[str, float]:
    """The whole run."""
    host, _, port = address.rpartition(":")
    request = (
        f"POST {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    loop = asyncio.get_running_loop()
    until_s = time.perf_counter() + seconds
    clients: list[Client] = []
    began_s = time.perf_counter()
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: Client(request, until_s), host, int(port))
        clients.append(client)
    await asyncio.gather(*(client.done for client in clients))
    elapsed_s = time.perf_counter() - began_s
    latencies = sorted(latency for client in clients for latency in client.latencies_s)
    count = len(latencies)
    return {
        "requests": count,
        "errors": sum(client.errors for client in clients),
        "requests_per_s": round(count / elapsed_s),
        "p50_us": round(latencies[count // 2] * 1e6) if count else 0,
        "p99_us": round(latencies[count * 99 // 100] * 1e6) if count else 0,
    }


if __name__ == "__main__":
    gc.disable()
    _, address, target, token, connections, seconds, *given = sys.argv
    body = given[0].encode() if given else BODY
    print(json.dumps(uvloop.run(run(address, target, token, int(connections), float(seconds), body))))
