"""The supervisor's socket: other processes of ours ask it to launch, stop, recycle and list."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
import psutil

from penstock.domain.jobs.task_spec import TaskSpec, attempt_of
from penstock.domain.model_check import ModelCheck
from penstock.domain.replica import ReplicaSpec
from penstock.domain.secrets import Plaintext
from penstock.runtime.tree import Child, ProcessTree
from penstock.wire.messages import (
    MAX_LINE_BYTES,
    Done,
    EndTask,
    Launch,
    List,
    ProcessInfo,
    Recycle,
    Refused,
    ReplicaInfo,
    Rest,
    RunTask,
    Snapshot,
    Stop,
    SupervisorAnswer,
    SupervisorRequest,
    Watch,
    encode_line,
    push_line,
    read_message,
    supervisor_requests,
)


class CannotRun(Exception):
    """A task cannot be started now; the message says why."""


class Host(Protocol):
    """Starts replicas and tasks of jobs; knows what was launched in each slot."""

    def launch(
        self, spec: ReplicaSpec, secrets: Mapping[str, Plaintext], *, is_asleep: bool, check: ModelCheck | None
    ) -> None:
        """Keep a replica in the spec's slot, with these secrets as variables; see `Launch`."""

    def run_task(self, spec: TaskSpec) -> None:
        """Have an attempt at a task run once; raises CannotRun."""

    def spec_of(self, name: str) -> ReplicaSpec | None:
        """What was launched under that name, if it is a slot."""


class SupervisorServer:
    """Answers requests; tells watchers of every change, at most once a turn of the loop."""

    def __init__(self, own_process: Callable[[], ProcessInfo], host: Host) -> None:
        self._own_process = own_process
        self._host = host
        self._tree: ProcessTree | None = None
        self._watchers: set[asyncio.StreamWriter] = set()
        self._is_dirty = False

    async def start(self, listener: socket.socket, tree: ProcessTree) -> asyncio.Server:
        """Serve on a listening socket."""
        self._tree = tree
        return await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_LINE_BYTES)

    def notify(self) -> None:
        """Something changed: send watchers a snapshot soon."""
        if self._watchers and not self._is_dirty:
            self._is_dirty = True
            asyncio.get_running_loop().call_soon(self._send_snapshots)

    def snapshot(self, request_id: int = 0, *, with_memory: bool = False) -> Snapshot:
        """All processes and slots as they are now."""
        children = list(self._tree) if self._tree is not None else []
        processes = [self._own_process(), *(self._describe(child) for child in children)]
        if with_memory:
            processes = [_with_memory(process) for process in processes]
        replicas = []
        for child in children:
            spec = self._host.spec_of(child.plan.name)
            if spec is not None:
                replicas.append(
                    ReplicaInfo(
                        spec,
                        child.state,
                        child.load_failed,
                        child.deaths,
                        child.message,
                        was_woken=child.was_woken,
                        check=child.check,
                        ended_at_ms=child.ended_at_ms,
                        retry_at_ms=child.retry_at_ms,
                    )
                )
        return Snapshot(request_id, processes, replicas)

    def _describe(self, child: Child) -> ProcessInfo:
        spec = self._host.spec_of(child.plan.name)
        return ProcessInfo(
            pid=child.pid,
            role=child.plan.role,
            state=child.state.value,
            name=child.plan.name,
            started_at_ms=child.started_at_ms,
            endpoint=spec.endpoint_name if spec else None,
            entity=spec.entity_name if spec else None,
            config_version=spec.config_version if spec else None,
            restarts=child.restarts,
            environment=child.environment or "",
        )

    def _send_snapshots(self) -> None:
        self._is_dirty = False
        line = encode_line(self.snapshot())
        for writer in self._watchers:
            push_line(writer, line)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await read_message(reader, supervisor_requests)) is not None:
                writer.write(encode_line(self._handle(request, writer)))
                await writer.drain()
        except ConnectionError as exc:
            with contextlib.suppress(OSError):
                writer.write(encode_line(Refused(0, str(exc))))
        finally:
            self._watchers.discard(writer)
            writer.close()

    def _handle(self, request: SupervisorRequest, writer: asyncio.StreamWriter) -> SupervisorAnswer:
        tree = self._tree
        if tree is None:
            return Refused(request.id, "the supervisor is starting")
        match request:
            case Launch(id=request_id, spec=spec, is_asleep=is_asleep, secrets=secrets, check=check):
                self._host.launch(spec, secrets, is_asleep=is_asleep, check=check)
                return Done(request_id)
            case Stop(id=request_id, slot=slot):
                if self._host.spec_of(slot) is None:
                    return Done(request_id)
                tree.remove(slot)
                return Done(request_id)
            case Rest(id=request_id, slot=slot):
                if self._host.spec_of(slot) is not None:
                    tree.rest(slot)
                return Done(request_id)
            case Recycle(id=request_id, slot=slot, pid=pid, reason=reason):
                if self._host.spec_of(slot) is not None:
                    tree.recycle(slot, pid, reason, at_once=True)  # it took a time limit to hang: no loop to slow down
                return Done(request_id)
            case RunTask():
                return self._run_task(request)
            case EndTask(id=request_id, name=name):
                tree.remove(name if attempt_of(name) is not None else "")
                return Done(request_id)
            case Watch():
                self._watchers.add(writer)
                return self.snapshot()
            case List(id=request_id):
                return self.snapshot(request_id, with_memory=True)

    def _run_task(self, request: RunTask) -> SupervisorAnswer:
        try:
            self._host.run_task(request.spec)
        except CannotRun as exc:
            return Refused(request.id, str(exc))
        return Done(request.id)


def _with_memory(process: ProcessInfo) -> ProcessInfo:
    rss = None
    if process.pid is not None:
        with contextlib.suppress(psutil.Error):
            own = psutil.Process(process.pid)
            family = [own] if process.role == "supervisor" else [own, *own.children(recursive=True)]
            rss = sum(int(member.memory_info().rss) for member in family)
    return msgspec.structs.replace(process, rss_bytes=rss)
