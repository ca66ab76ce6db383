"""A call: one prediction on its way through the gateway."""

import asyncio
import time
import uuid
from collections.abc import Callable
from enum import Enum, auto

from penstock.domain.errors import PenstockError
from penstock.gateway.exchange import Exchange
from penstock.wire.errors import body_of, headers_of, status_of
from penstock.wire.frames import Head

_JSON = "application/json"

OnEnd = Callable[[int, float], None]


class CallState(Enum):
    """Where a call is. It only moves forward, except that a SENT call whose replica died WAITs again."""

    WAITING = auto()
    SENT = auto()
    STARTED = auto()
    FINISHED = auto()


class Call:
    """One request body, the entity that is to answer it, and the exchange that waits for the answer."""

    __slots__ = (
        "_exchange",
        "_on_end",
        "arrived_s",
        "body",
        "deadline",
        "entity_name",
        "meta",
        "parts",
        "request_id",
        "scored",
        "state",
    )

    def __init__(
        self,
        exchange: Exchange,
        entity_name: str,
        meta: bytes,
        body: bytes,
        on_end: OnEnd | None = None,
    ) -> None:
        """`on_end` is told the status of the answer and the seconds that it took."""
        self._exchange = exchange
        self._on_end = on_end
        self.entity_name = entity_name
        self.meta = meta
        self.body = body
        self.request_id = str(uuid.uuid4())
        self.arrived_s = time.monotonic()
        self.deadline: asyncio.TimerHandle | None = None
        """Refuses the call at its time limit; set by the backend that took it."""
        self.state = CallState.WAITING
        self.scored: Head | None = None
        self.parts: list[bytes] = []

    @property
    def is_wanted(self) -> bool:
        """Whether anybody still waits for the answer."""
        return self.state is not CallState.FINISHED and self._exchange.is_open

    def answer(self, replica: str) -> None:
        """Send what the replica gave."""
        if self.state is CallState.FINISHED or self.scored is None:
            return
        self._respond(
            self.scored.status,
            b"".join(self.parts),
            self.scored.content_type,
            {"x-penstock-replica": replica},
        )

    def refuse(self, error: PenstockError) -> None:
        """Send an error."""
        if self.state is not CallState.FINISHED:
            self._respond(status_of(error), body_of(error), _JSON, headers_of(error))

    def _respond(self, status: int, body: bytes, content_type: str, extra: dict[str, str]) -> None:
        self.state = CallState.FINISHED
        if self._on_end is not None:
            self._on_end(status, time.monotonic() - self.arrived_s)
        if self.deadline is not None:
            self.deadline.cancel()
        self.body = b""
        self.parts.clear()
        if not self._exchange.is_open:
            return
        headers = {
            "content-type": content_type,
            "served-model-name": self.entity_name,
            "x-databricks-request-id": self.request_id,
            "databricks-request-id": self.request_id,
            **extra,
        }
        self._exchange.respond(status, body, headers.items())
