"""The follower on a real database: one question an alias, and a registry that is away changes nothing."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.client.registry import Registry
from penstock.control.follower import Follower
from penstock.domain.endpoint import Endpoint, stop
from penstock.domain.errors import InvalidParameterValue, PenstockError, ResourceDoesNotExist, TemporarilyUnavailable
from penstock.domain.following import AUTHOR, Alias
from penstock.domain.served_entity import ModelVersion
from penstock.stores.database import Database
from penstock.stores.events import EventStore
from penstock.stores.history import HistoryStore
from unit.builders import live
from unit.clock import run_at_once
from unit.domain.test_following import CHAMPION, OTHER, follower


class FakeRegistry(Registry):
    """A registry in memory that counts what it is asked."""

    def __init__(self) -> None:
        self.leads: dict[Alias, str | PenstockError] = {}
        self.asked: list[Alias] = []
        self.meanwhile: list[Endpoint] = []
        self.database: Database | None = None

    async def version_of_alias(self, field: str, name: str, alias: str) -> ModelVersion:
        self.asked.append(Alias(name, alias))
        for endpoint in self.meanwhile:
            assert self.database is not None
            self.database.save_endpoint(endpoint)
        found = self.leads[Alias(name, alias)]
        if isinstance(found, Exception):
            raise found
        return ModelVersion(name, found)


class Publishing:
    """Counts tables."""

    count = 0

    def publish(self) -> None:
        self.count += 1


class Bench:
    """Two endpoints that follow one alias, and one that follows none."""

    def __init__(self, folder: Path) -> None:
        self.database = Database.open(f"sqlite:///{folder / 'penstock.db'}")
        for index, served in enumerate((follower("1"), follower("1"), replace(follower("1"), follow_alias=False))):
            endpoint = replace(live(served), id=str(index) * 32, name=f"x{index}")
            self.database.insert_endpoint(endpoint)
        self.registry = FakeRegistry()
        self.registry.database = self.database
        self.publisher = Publishing()
        self.woken: list[str] = []
        self.follower = Follower(self.database, self.registry, self.publisher, self.woken.extend, 1)  # type: ignore[arg-type]

    def endpoint(self, name: str) -> Endpoint:
        found = self.database.endpoint(name)
        assert found is not None
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.database.close()


def look(bench: Bench, found: str | PenstockError) -> None:
    bench.registry.leads[CHAMPION] = found
    asyncio.run(bench.follower.look())


def test_one_question_moves_everybody_who_follows(bench: Bench) -> None:
    look(bench, "2")
    assert bench.registry.asked == [CHAMPION]
    assert bench.woken == ["x0", "x1"]
    assert bench.publisher.count == 2
    pending = bench.endpoint("x0").pending
    assert pending is not None
    assert (pending.author, pending.entities[0].model) == (AUTHOR, ModelVersion("m", "2"))
    (version,) = HistoryStore(bench.database.engine).versions("0" * 32, limit=1)
    assert version.config == pending
    assert bench.endpoint("x2").pending is None


def test_an_alias_that_is_gone_is_told_once(bench: Bench) -> None:
    for _ in range(2):
        look(bench, ResourceDoesNotExist("no alias"))
    kinds = [past.event.kind.value for past in EventStore(bench.database.engine).events("0" * 32)]
    assert kinds.count("ALIAS_REMOVED") == 1
    assert bench.endpoint("x0").active == live(follower("1")).active


def test_a_version_that_is_not_ready_changes_nothing(bench: Bench) -> None:
    before = bench.endpoint("x0")
    look(bench, InvalidParameterValue("version 2 is PENDING_REGISTRATION"))
    assert bench.endpoint("x0") == before
    assert bench.woken == []


def test_what_somebody_does_while_the_registry_is_asked_is_not_undone(bench: Bench) -> None:
    stopped = stop(bench.endpoint("x0"), 9)
    bench.registry.meanwhile = [stopped]
    look(bench, "2")
    assert bench.endpoint("x0") == stopped
    assert bench.woken == ["x1"]


def test_an_alias_at_which_the_registry_breaks_does_not_hide_the_others(bench: Bench) -> None:
    bad = replace(live(follower("1", "n")), id="9" * 32, name="bad")
    bench.database.insert_endpoint(bad)
    bench.registry.leads = {CHAMPION: "2", OTHER: TemporarilyUnavailable("500")}
    for _ in range(200):
        with contextlib.suppress(TemporarilyUnavailable):
            asyncio.run(bench.follower.look())
        if bench.woken:
            break
    assert bench.woken == ["x0", "x1"]
    assert bench.endpoint("bad") == bad


def test_a_registry_that_is_away_is_asked_less_and_less_often_until_it_is_back(bench: Bench) -> None:
    async def main() -> None:
        bench.registry.leads[CHAMPION] = TemporarilyUnavailable("away")
        task = asyncio.create_task(bench.follower.run())
        await asyncio.sleep(40)  # looks come about 1, 3, 7, 15 and 31 s after the start
        assert 4 <= len(bench.registry.asked) <= 5
        bench.registry.leads[CHAMPION] = RuntimeError("a fault of ours")  # type: ignore[assignment]
        await asyncio.sleep(80)
        bench.registry.leads[CHAMPION] = "2"
        await asyncio.sleep(100)
        asked = len(bench.registry.asked)
        await asyncio.sleep(20)
        assert len(bench.registry.asked) == asked, "an endpoint that is being updated is left alone"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_at_once(main)
    assert bench.endpoint("x0").last_version == 2
