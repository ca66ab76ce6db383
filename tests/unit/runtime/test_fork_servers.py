"""A fork server per environment that is in use, and for no longer than that."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock.domain.replica import ReplicaState
from penstock.runtime.fork_servers import ROLE, ForkServers
from penstock.runtime.forker import Forker
from penstock.runtime.tree import Child, ChildPlan


def plan(name: str, environment: str = "", forker: Forker | None = None) -> ChildPlan:
    role = ROLE if forker else "replica"
    return ChildPlan(name, role, "module", lambda _: b"", Path("start"), Path("run"), {}, Path())


E1 = "0123456789abcdef"


class Tree:
    """Children that do as they are told at once; whatever changes is told on."""

    def __init__(self) -> None:
        self.children: dict[str, Child] = {}
        self.on_change: Callable[[], None] = lambda: None

    def __iter__(self) -> Iterator[Child]:
        return iter(self.children.values())

    def __contains__(self, name: str) -> bool:
        return name in self.children

    def add(self, wanted: ChildPlan) -> None:
        assert wanted.name not in self.children
        self.children[wanted.name] = Child(wanted)
        self.on_change()

    def remove(self, name: str, timeout_s: float | None = None) -> None:
        self.children[name].state = ReplicaState.DRAINING
        self.on_change()

    def bury(self, name: str) -> None:
        del self.children[name]
        self.on_change()

    def report(self, name: str, environment: str) -> None:
        self.children[name].environment = environment
        self.children[name].state = ReplicaState.READY
        self.on_change()

    @property
    def servers(self) -> set[str]:
        return {child.plan.name for child in self if child.plan.role == ROLE}


@pytest.fixture
def tree() -> Tree:
    return Tree()


@pytest.fixture
def play(tree: Tree) -> Callable[[Callable[[ForkServers], None]], None]:
    """Runs a scene on an event loop, with the fork server of our own environment ready."""

    def run(scene: Callable[[ForkServers], None]) -> None:
        async def play() -> None:
            servers = ForkServers(tree, plan)  # type: ignore[arg-type]
            tree.on_change = servers.follow
            servers.start()
            tree.report(ROLE, "")
            scene(servers)

        asyncio.run(play())

    return run


Play = Callable[[Callable[[ForkServers], None]], None]


def test_an_environment_has_one_while_a_child_runs_in_it(tree: Tree, play: Play) -> None:
    def scene(servers: ForkServers) -> None:
        ours = servers.forker("")
        assert ours is not None
        for name in ("a", "b"):
            tree.add(plan(name))
            tree.report(name, E1)
        assert tree.servers == {ROLE, f"{ROLE}-{E1}"}
        assert servers.forker(E1) is ours, "until that of the environment is ready"
        tree.report(f"{ROLE}-{E1}", E1)
        assert servers.forker(E1) not in {None, ours}
        assert servers.forker(None) is servers.forker("2" * 16) is ours
        tree.bury("a")
        assert servers.forker(E1) is not ours
        tree.bury("b")
        assert tree.children[f"{ROLE}-{E1}"].state is ReplicaState.DRAINING
        assert servers.forker(E1) is ours

    play(scene)


def test_one_that_is_wanted_again_waits_for_the_end_of_the_former(tree: Tree, play: Play) -> None:
    def scene(servers: ForkServers) -> None:
        tree.add(plan("a"))
        tree.report("a", E1)
        tree.bury("a")
        tree.add(plan("b"))
        tree.report("b", E1)
        assert tree.children[f"{ROLE}-{E1}"].state is ReplicaState.DRAINING
        tree.bury(f"{ROLE}-{E1}")
        assert tree.children[f"{ROLE}-{E1}"].state is ReplicaState.STARTING

    play(scene)


def test_what_is_no_name_of_an_environment_is_not_started(tree: Tree, play: Play) -> None:
    def scene(_servers: ForkServers) -> None:
        for name in ("../../elsewhere", "x" * 16, E1 + "/"):
            tree.add(plan(name))
            tree.report(name, name)
        assert tree.servers == {ROLE}

    play(scene)


def test_one_that_cannot_fork_is_given_up(tree: Tree, play: Play) -> None:
    def scene(servers: ForkServers) -> None:
        tree.add(plan("a"))
        tree.report("a", E1)
        tree.children[f"{ROLE}-{E1}"].load_failed = True
        tree.on_change()
        tree.bury(f"{ROLE}-{E1}")
        assert tree.servers == {ROLE}
        tree.children[ROLE].load_failed = True
        tree.on_change()
        assert servers.forker("") is servers.forker(E1) is None

    play(scene)


def test_who_waits_for_a_fork_is_told_when_there_will_be_none(tmp_path: Path) -> None:
    told: list[int | None] = []

    async def scene() -> None:
        forker = Forker()
        forker.is_ready = True
        forker.fork({}, tmp_path, {}, told.append)
        forker.close()
        assert not forker.is_busy
        assert not forker.is_ready

    asyncio.run(scene())
    assert told == [None]
