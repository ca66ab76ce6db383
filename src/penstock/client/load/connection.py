"""One connection of a load generator: a request is sent when the one before it is answered."""

import asyncio
from time import perf_counter_ns
from typing import Protocol, cast

import httptools

_FIRST_FINAL = 200
"""An answer below it announces another."""


class Sending(Protocol):
    """What a connection asks, and to whom it tells what came."""

    request: bytes

    def may_send(self) -> bool:
        """Whether there is one more request to send; it counts as sent then."""

    def on_answer(self, status: int, ns: int) -> None:
        """A request was answered."""

    def on_failure(self, why: str) -> None:
        """A request got no answer."""

    def on_closed(self, connection: "Connection", *, is_to_reopen: bool) -> None:
        """The connection is gone; `is_to_reopen` says that its turn goes on, on another one."""


class Connection(asyncio.Protocol):
    """From the first request to the last, or until the server closes it."""

    def __init__(self, sending: Sending) -> None:
        self._sending = sending
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._failure = ""
        self._is_done = False
        self.sent_ns = 0
        """When the request was sent that waits for its answer; 0 if none does."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The server took the connection."""
        self._transport = cast("asyncio.Transport", transport)

    def send(self) -> None:
        """Send the next request, or close if there is none."""
        if self._transport is None or not self._sending.may_send():
            self._is_done = True
            self.close()
            return
        self.sent_ns = perf_counter_ns()
        self._transport.write(self._sending.request)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.give_up("answer is not HTTP/1.1")

    def on_message_complete(self) -> None:
        """An answer is whole (called by the parser)."""
        status = self._parser.get_status_code()
        if status < _FIRST_FINAL or not self.sent_ns:
            return
        ns = perf_counter_ns() - self.sent_ns
        self.sent_ns = 0
        self._sending.on_answer(status, ns)
        if self._parser.should_keep_alive():
            self.send()
        else:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever closed it."""
        self._transport = None
        if self.sent_ns:
            self.sent_ns = 0
            self._sending.on_failure(self._failure or "connection closed")
        self._sending.on_closed(self, is_to_reopen=not self._is_done)

    def give_up(self, why: str) -> None:
        """Do not wait for the answer any longer."""
        self._failure = why
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Nothing more is to come."""
        if self._transport is not None:
            self._transport.close()
