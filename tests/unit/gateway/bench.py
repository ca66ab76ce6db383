"""A bench for backends: replicas are played, on real sockets and by the real frame protocol."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from penstock.domain.routing import RoutedEntity
from penstock.gateway.backend import Backend
from penstock.gateway.call import OnEnd
from penstock.wire.sockets import SocketFolder
from unit.builders import until
from unit.gateway.fakes import Answer, FakeExchange, FakeReplica, make_call


@dataclass
class Bench:
    """Backends, replicas, and what was asked of the supervisor."""

    folder: Path
    recycled: list[tuple[str, int, str]] = field(default_factory=list)
    _backends: list[Backend] = field(default_factory=list)
    _replicas: list[FakeReplica] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._sockets = SocketFolder(self.folder)

    def address(self, slot: str) -> str:
        """Where a slot listens."""
        return self._sockets.address(f"{slot}.sock")

    async def replica(self, slot: str, **options: int) -> FakeReplica:
        """A replica that listens in a slot."""
        self._sockets.remove(f"{slot}.sock")
        replica = await FakeReplica(self.address(slot), **options).start()
        self._replicas.append(replica)
        return replica

    def backend(
        self,
        *slots: str,
        queue_size: int = 100,
        timeout_s: float = 60.0,
        hold_timeout_s: float = 60.0,
        is_asleep: bool = False,
        spin_us: int = 0,
    ) -> Backend:
        """A backend of these slots."""
        entity = routed(*slots, queue_size=queue_size, timeout_s=timeout_s, is_asleep=is_asleep)
        entity = replace(entity, spin_us=spin_us)
        backend = Backend(entity, self.address, hold_timeout_s, self._recycle)
        self._backends.append(backend)
        return backend

    async def _recycle(self, slot: str, pid: int, reason: str) -> None:
        self.recycled.append((slot, pid, reason))

    def answer_everything(self, replica: FakeReplica) -> None:
        """Have a replica answer whatever comes."""
        self._tasks.append(asyncio.create_task(replica.answer_everything()))

    async def close(self) -> None:
        """Everything."""
        for task in self._tasks:
            task.cancel()
        for backend in self._backends:
            await backend.close()
        for replica in self._replicas:
            await replica.die()


def routed(*slots: str, queue_size: int = 100, timeout_s: float = 60.0, is_asleep: bool = False) -> RoutedEntity:
    """How a table tells of an entity in these slots."""
    return RoutedEntity("m-1", "1" * 32, "key", slots, 100, timeout_s, queue_size, is_asleep)


def submit(backend: Backend, body: bytes = b"{}", on_end: OnEnd | None = None) -> FakeExchange:
    """Submit a call; its exchange gets the answer."""
    call, exchange = make_call(body, on_end=on_end)
    backend.submit(call)
    return exchange


async def answered(*exchanges: FakeExchange) -> list[Answer]:
    """Their answers, once all are there."""
    return [await exchange.answer() for exchange in exchanges]


def with_bench(folder: Path, script: Callable[[Bench], Awaitable[None]]) -> None:
    """Run a script."""

    async def main() -> None:
        bench = Bench(folder)
        try:
            async with asyncio.timeout(30):
                await script(bench)
        finally:
            await bench.close()

    asyncio.run(main())


def refusal(answer: Answer) -> tuple[int, str]:
    """Status and code of an error."""
    return answer.status, answer.json["error_code"]


async def both_ready(backend: Backend) -> None:
    """Wait until every link has said HELLO."""
    await until(lambda: all(link.is_ready for link in backend._links))
