"""What our own processes say to each other beside predictions: one line of JSON a message, on Unix sockets.

Supervisor socket (`run/supervisor.sock`): a client sends requests, each answered by `Done` or `Refused` with the same
id; after `Watch` the supervisor also sends a whole `Snapshot` whenever something changes.

Routing socket (`run/routing.sock`): a gateway says `Subscribe`; the control plane sends the whole routing table
whenever its version changes, and the gateway says `Acknowledge` once it routes by it, and `Report` every second.
"""

import asyncio
from typing import TypeVar

import msgspec

from penstock.domain.audit import AuthenticationFailure
from penstock.domain.jobs.task_spec import TaskSpec
from penstock.domain.load import EntityLoad, GatewayLoad
from penstock.domain.model_check import ModelCheck
from penstock.domain.replica import ReplicaSpec, ReplicaState
from penstock.domain.routing import RoutingTable
from penstock.domain.secrets import Plaintext

PRINCIPAL_HEADER = "x-penstock-principal"
"""Header in which a gateway tells the control plane who asks; clients cannot send it."""
CREDENTIAL_HEADER = "x-penstock-credential"
"""Header in which a gateway tells the control plane the digest of the token or session id that a request bore."""
CLIENT_ADDRESS_HEADER = "x-penstock-address"
"""Header in which a gateway tells the control plane from where the client reached us."""
CLIENT_HOST_HEADER = "x-penstock-host"
"""Header in which a gateway tells the control plane by which name the client reached us."""
MAX_LINE_BYTES = 64 << 20
"""A line longer than this is no message of ours."""
MAX_UNREAD_BYTES = 64 << 20
"""What may wait for a peer that does not read."""


class Launch(msgspec.Struct, tag=True, frozen=True):
    """Keep a replica running in the spec's slot. Harmless if it runs already."""

    id: int
    spec: ReplicaSpec
    is_asleep: bool = False
    """Begin asleep: the first connection to the slot starts it. A slot that is awake already stays so."""
    secrets: dict[str, Plaintext] = {}
    """Values of variables that stand in the spec as references; not in the spec, because snapshots tell specs."""
    check: ModelCheck | None = None
    """What an earlier replica of the same deployment found out about the model."""


class Stop(msgspec.Struct, tag=True, frozen=True):
    """Drain and end the replica in a slot. Harmless if there is none."""

    id: int
    slot: str


class Rest(msgspec.Struct, tag=True, frozen=True):
    """Put the replica in a slot to sleep once it has finished what it has. Harmless if there is none."""

    id: int
    slot: str


class Recycle(msgspec.Struct, tag=True, frozen=True):
    """Kill the process in a slot at once and start a new one: it hangs."""

    id: int
    slot: str
    pid: int
    reason: str


class RunTask(msgspec.Struct, tag=True, frozen=True):
    """Have an attempt at a task run, once. Harmless if it runs or has run already."""

    id: int
    spec: TaskSpec


class EndTask(msgspec.Struct, tag=True, frozen=True):
    """End the process of an attempt with all its session. Harmless if there is none."""

    id: int
    name: str


class Watch(msgspec.Struct, tag=True, frozen=True):
    """Send a snapshot now and at every change."""

    id: int


class List(msgspec.Struct, tag=True, frozen=True):
    """Send one snapshot, with memory use."""

    id: int


class Done(msgspec.Struct, tag=True, frozen=True):
    """The request of this id was carried out."""

    id: int


class Refused(msgspec.Struct, tag=True, frozen=True):
    """The request of this id was not carried out."""

    id: int
    message: str


class ProcessInfo(msgspec.Struct, frozen=True):
    """One process of the stack."""

    pid: int | None
    role: str
    state: str
    name: str
    started_at_ms: int = msgspec.field(name="started_at")
    endpoint: str | None = None
    entity: str | None = None
    config_version: int | None = None
    rss_bytes: int | None = None
    restarts: int = 0
    environment: str = ""
    """Name of the Python environment that was built for it; empty for Penstock's own."""


class ReplicaInfo(msgspec.Struct, frozen=True):
    """One slot: what was launched and how it stands."""

    spec: ReplicaSpec
    state: ReplicaState
    load_failed: bool
    deaths: int
    message: str
    was_woken: bool = False
    check: ModelCheck | None = None
    ended_at_ms: int = 0
    retry_at_ms: int = 0


class Snapshot(msgspec.Struct, tag=True, frozen=True):
    """All processes and all slots at one moment. `id` is that of the List it answers, 0 for a Watch."""

    id: int
    processes: list[ProcessInfo]
    replicas: list[ReplicaInfo]


class Flushed(msgspec.Struct, tag=True, frozen=True):
    """All that was in the spools has been committed, but for rows of these tables, which are parked."""

    parked_tables: list[str]


class Subscribe(msgspec.Struct, tag=True, frozen=True):
    """A gateway asks for the routing table; `version` is what it holds already."""

    pid: int
    version: int


class Acknowledge(msgspec.Struct, tag=True, frozen=True):
    """The gateway routes by this version."""

    version: int


class Report(msgspec.Struct, tag=True, frozen=True):
    """The gateway tells what it was asked in the last minute, and since the last report; about once a second."""

    loads: list[EntityLoad]
    demands: dict[str, float] = {}
    """Calls waiting or at work, on average since the last report, by deployment; none where there were none."""
    news: list[EntityLoad] = []
    """What was asked since the last report."""
    gateway: GatewayLoad = GatewayLoad()
    failures: list[AuthenticationFailure] = []
    """Requests without valid credentials since the last report."""
    untold_failures: int = 0
    """How many more of these there were."""
    not_logged: dict[str, int] = {}
    """Requests, by the id of their endpoint, that were answered and not logged, and of which no file beside the spool
    tells: it could not be made."""


class Table(msgspec.Struct, tag=True, frozen=True):
    """The whole routing table."""

    table: RoutingTable


class StatusReport(msgspec.Struct, frozen=True):
    """What a child process tells the supervisor over its status pipe, a line each."""

    ready: bool
    message: str = ""
    """Why it cannot become ready; the process ends after it."""
    environment: str = ""
    """Name of the Python environment that it runs in, if that is one which was built for a model."""
    check: ModelCheck | None = None
    """Of a replica: what it found out about its model, either way."""


SupervisorRequest = Launch | Stop | Rest | Recycle | RunTask | EndTask | Watch | List
SupervisorAnswer = Done | Refused | Snapshot
GatewayMessage = Subscribe | Acknowledge | Report


def encode_line(message: msgspec.Struct) -> bytes:
    """A message as one line."""
    return msgspec.json.encode(message) + b"\n"


_T = TypeVar("_T")

supervisor_requests = msgspec.json.Decoder(SupervisorRequest)
supervisor_answers = msgspec.json.Decoder(SupervisorAnswer)
gateway_messages = msgspec.json.Decoder(GatewayMessage)
tables = msgspec.json.Decoder(Table)


def push_line(writer: asyncio.StreamWriter, line: bytes) -> None:
    """Send a line without waiting; a peer that has stopped reading is cut off, so that it cannot fill our memory."""
    if writer.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
        writer.transport.abort()
    else:
        writer.write(line)


async def read_message(reader: asyncio.StreamReader, decoder: msgspec.json.Decoder[_T]) -> _T | None:
    """The next message of a stream, or None at its end.

    Raises:
        ConnectionError: the peer sent what is no message.
    """
    try:
        line = await reader.readline()
        return decoder.decode(line) if line else None
    except (msgspec.MsgspecError, ValueError) as exc:
        raise ConnectionError(f"not a message of ours: {exc}") from exc
