"""A client that sends bytes as they are, reads what comes back, and says what is wrong with it.

An answer is proper if it is no 5xx (the documented 501 apart), if a 4xx is JSON with a known `error_code` and a
message, and if it comes within two seconds. A case that is no proper HTTP ends with the client saying that it sends no
more; any number of proper answers may come, and the server must close.
"""

import asyncio
import contextlib
import json
from dataclasses import dataclass

from penstock.wire.errors import KNOWN_CODES, UNITY_CATALOG_CODES
from support.fuzzing.cases import Case

LIMIT_S = 2.0
"""After this time a request counts as hanging."""
_MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request."""

    status: int
    content_type: bytes
    body: bytes
    closes: bool = False


class Improper(Exception):
    """What came back is no HTTP answer; the message says how."""


class Connection:
    """One connection, opened again whenever the server has closed it."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, case: Case) -> list[Answer]:
        """Send a case and read its answers.

        Raises:
            Improper: what came is no HTTP.
            TimeoutError: nothing came, or no end of it.
        """
        try:
            async with asyncio.timeout(LIMIT_S):
                return await self._exchange(case.data) if case.is_framed else await self._pour(case.data)
        except BaseException as exc:
            await self.close()
            if isinstance(exc, OSError) and not isinstance(exc, TimeoutError):
                raise Improper(f"the connection broke: {exc}") from exc
            raise

    async def _exchange(self, data: bytes) -> list[Answer]:
        """One proper request: one answer."""
        is_used = self._writer is not None
        reader, writer = await self._open()
        writer.write(data)
        try:
            answer = await read_answer(reader)
        except EOFError:
            await self.close()
            if is_used:  # a server may close an idle connection; this one was not fresh
                return await self._exchange(data)
            raise Improper("the connection was closed without an answer") from None
        if answer.closes:
            await self.close()
        return [answer]

    async def _pour(self, data: bytes) -> list[Answer]:
        """Anything: answers until the server closes."""
        await self.close()
        reader, writer = await self._open()
        writer.write(data)
        answers = []
        with contextlib.suppress(OSError):
            writer.write_eof()
        try:
            while not reader.at_eof():
                answers.append(await read_answer(reader))
        except EOFError:
            pass
        finally:
            await self.close()
        return answers

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(*self._address, limit=_MAX_LINE_BYTES)
        return self._reader, self._writer

    async def close(self) -> None:
        """Close at once; the next case opens a fresh connection."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """The next answer on a connection.

    Raises:
        EOFError: the connection ended first.
        Improper: it is no HTTP/1.1.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        version, _, rest = lines[0].partition(b" ")
        if version != b"HTTP/1.1" or not rest[:3].isdigit():
            raise Improper(f"not a status line: {lines[0][:80]!r}")
        status = int(rest[:3])
        if status < 200:  # 100 Continue
            return await read_answer(reader)
        headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines[1:-2])}
        if b"content-length" in headers:
            body = await reader.readexactly(int(headers[b"content-length"]))
        elif headers.get(b"transfer-encoding") == b"chunked":
            body = await _read_chunks(reader)
        else:
            body = b""
    except ConnectionError:
        raise EOFError from None
    except (asyncio.LimitOverrunError, ValueError) as exc:
        raise Improper(f"not an HTTP answer: {exc}") from exc
    closes = headers.get(b"connection", b"").lower() == b"close"
    return Answer(status, headers.get(b"content-type", b""), body, closes)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    pieces = []
    while True:
        size = int(await reader.readuntil(b"\r\n"), 16)
        piece = await reader.readexactly(size + 2)
        if size == 0:
            return b"".join(pieces)
        pieces.append(piece[:-2])


def fault_of(answer: Answer) -> str | None:
    """What is wrong with an answer; None if it is proper."""
    if answer.status >= 500 and not (answer.status == 501 and b'"NOT_IMPLEMENTED"' in answer.body):
        return f"{answer.status}"
    if answer.status < 400:
        return None
    if answer.content_type != b"application/json":
        return f"{answer.status} of content type {answer.content_type.decode('latin-1')!r}"
    try:
        document = json.loads(answer.body)
        code, message = document["error_code"], document["message"]
    except (ValueError, KeyError, TypeError):
        return f"{answer.status} whose body is no JSON with error_code and message"
    if code not in KNOWN_CODES | UNITY_CATALOG_CODES or not isinstance(message, str) or not message:
        return f"{answer.status} with error_code {code!r} and message {message!r}"
    return None
