"""Client of the supervisor's socket, for the control plane, the gateways and the command line."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

from penstock.domain.jobs.task_spec import TaskSpec
from penstock.domain.model_check import ModelCheck
from penstock.domain.replica import ReplicaSpec
from penstock.domain.secrets import Plaintext
from penstock.wire.messages import (
    MAX_LINE_BYTES,
    Done,
    EndTask,
    Launch,
    List,
    Recycle,
    Refused,
    Rest,
    RunTask,
    Snapshot,
    Stop,
    SupervisorAnswer,
    SupervisorRequest,
    Watch,
    encode_line,
    read_message,
    supervisor_answers,
)
from penstock.wire.sockets import SUPERVISOR, SocketFolder


class SupervisorUnreachable(Exception):
    """No supervisor answers on the socket."""


class SupervisorClient:
    """One connection for requests, opened when it is needed and again after it broke; one more for watching."""

    def __init__(self, sockets: SocketFolder) -> None:
        self._sockets = sockets
        self._ids = itertools.count(1)
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def launch(
        self,
        spec: ReplicaSpec,
        secrets: dict[str, Plaintext],
        *,
        is_asleep: bool = False,
        check: ModelCheck | None = None,
    ) -> None:
        """Keep a replica in the spec's slot, with these secrets as variables: running, or asleep until it is asked.

        `check` is what an earlier replica of the same deployment found out.
        """
        await self._ask(Launch(next(self._ids), spec, is_asleep, secrets, check))

    async def stop(self, slot: str) -> None:
        """Drain and end the replica in a slot."""
        await self._ask(Stop(next(self._ids), slot))

    async def rest(self, slot: str) -> None:
        """Let the replica in a slot finish what it has and sleep until it is asked again."""
        await self._ask(Rest(next(self._ids), slot))

    async def recycle(self, slot: str, pid: int, reason: str) -> None:
        """Kill a replica's process, so that a new one takes its place."""
        await self._ask(Recycle(next(self._ids), slot, pid, reason))

    async def run_task(self, spec: TaskSpec) -> None:
        """Have an attempt at a task run, unless it has before."""
        await self._ask(RunTask(next(self._ids), spec))

    async def end_task(self, name: str) -> None:
        """End the process of an attempt."""
        await self._ask(EndTask(next(self._ids), name))

    async def snapshot(self) -> Snapshot:
        """All processes, with their memory."""
        answer = await self._ask(List(next(self._ids)))
        if not isinstance(answer, Snapshot):
            raise SupervisorUnreachable(f"the supervisor answered {answer}")
        return answer

    async def watch(self) -> AsyncIterator[Snapshot]:
        """A snapshot now and at every change, until the connection ends.

        Raises:
            SupervisorUnreachable: when it ends.
        """
        reader, writer = await self._connect()
        try:
            writer.write(encode_line(Watch(0)))
            while True:
                try:
                    answer = await read_message(reader, supervisor_answers)
                except ConnectionError as exc:
                    raise SupervisorUnreachable(str(exc)) from exc
                if answer is None:
                    raise SupervisorUnreachable("the supervisor closed the connection")
                if isinstance(answer, Snapshot):
                    yield answer
        finally:
            writer.close()

    async def close(self) -> None:
        """Close the connection for requests."""
        if self._streams is not None:
            self._streams[1].close()
            with contextlib.suppress(OSError):
                await self._streams[1].wait_closed()
            self._streams = None

    async def _ask(self, request: SupervisorRequest) -> Done | Snapshot:
        async with self._lock:
            if self._streams is None:
                self._streams = await self._connect()
            reader, writer = self._streams
            try:
                writer.write(encode_line(request))
                await writer.drain()
                answer: SupervisorAnswer | None = await read_message(reader, supervisor_answers)
            except OSError as exc:
                self._streams = None
                raise SupervisorUnreachable(str(exc)) from exc
            if answer is None:
                self._streams = None
                raise SupervisorUnreachable("the supervisor closed the connection")
        if isinstance(answer, Refused):
            raise SupervisorUnreachable(answer.message)
        return answer

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_unix_connection(self._sockets.address(SUPERVISOR), limit=MAX_LINE_BYTES)
        except OSError as exc:
            raise SupervisorUnreachable(f"no supervisor answers: {exc}") from exc
