"""A prediction as a replica sees it: the query, and what the model's side gives back for it."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

JSON = "application/json"
EVENT_STREAM = "text/event-stream"


class Api(StrEnum):
    """The route on which a query came, for it decides the form of the answer."""

    INVOCATIONS = ""
    CHAT = "chat/completions"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    RESPONSES = "responses"


class ExecutorKind(StrEnum):
    """How a replica works on what it is sent."""

    PROCESS = "process"
    """One request at a time: models that compute."""
    THREADS = "threads"
    """Four at a time: models that wait for others, as agents and chat models do."""


DEFAULT_SPIN_US, MAX_SPIN_US = 300, 10_000
"""For so long, microseconds, a replica looks for the next request before it sleeps, if it may come so soon."""


class Query(NamedTuple):
    """One request body, as it came."""

    body: bytes
    content_type: str = JSON
    api: Api = Api.INVOCATIONS
    request_id: str = ""
    endpoint: str = ""
    """Name of the endpoint that was asked."""
    traceparent: str = ""
    """The trace that it belongs to, as W3C Trace Context writes it; empty if to none."""


@dataclass(slots=True)
class Note:
    """What only the replica has read of a query and its answer; a stream's is whole at its end."""

    client_request_id: str | None = None
    usage_context: dict[str, str] | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


NOTHING_NOTED = Note()
"""For answers of which there is nothing to tell."""


@dataclass(slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    content_type: str = JSON
    note: Note = field(default_factory=Note)


@dataclass(frozen=True, slots=True)
class AnswerStream:
    """An answer of status 200 that leaves piece by piece, as server-sent events."""

    pieces: Generator[bytes, None, None]
    note: Note = field(default_factory=Note)


Model = Callable[[Query], Answer | AnswerStream]
"""Answers a query; never raises for what the body holds or the model does."""


class BatchModel(Protocol):
    """A model that can be asked several queries at a time."""

    batch_limit: int
    """So many at most."""
    wants_idle_time: bool
    """Whether there is something to do while nobody waits."""

    def answer_all(self, queries: Sequence[Query]) -> Sequence[Answer | AnswerStream]:
        """Answer each for itself, whatever the others hold; never raises for what a body holds or the model does."""

    def use_idle_time(self) -> None:
        """Nobody waits for anything just now."""
