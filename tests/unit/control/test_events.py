"""Events of replicas: told once, to the endpoint that they belong to, and never in anybody's way."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from penstock.control.events import Events
from penstock.domain.replica import Replica, ReplicaState
from penstock.stores.database import Database
from penstock.stores.events import EventStore
from unit.builders import ENDPOINT_ID, live, replicas

LIVE = live()
(READY,) = replicas(LIVE, LIVE.active)
DEAD = replace(READY, state=ReplicaState.RESTARTING, deaths=1, message="killed")


class Bench:
    """A database with the endpoint, and what was told of its replicas."""

    def __init__(self, folder: Path) -> None:
        self.database = Database.open(f"sqlite:///{folder / 'penstock.db'}")
        self.database.insert_endpoint(LIVE)
        self.store = EventStore(self.database.engine)
        self.events = Events(self.store)

    def look(self, *seen: Replica, names: tuple[str, ...] = ("x",)) -> None:
        self.events.look(names, {"x": seen}.get)  # type: ignore[arg-type]

    def kinds(self) -> list[str]:
        found = [past.event.kind.value for past in reversed(self.store.events(ENDPOINT_ID))]
        return [kind for kind in found if kind.startswith("REPLICA")]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.database.close()


def test_what_was_there_before_this_process_is_no_event(bench: Bench) -> None:
    bench.look(READY)
    bench.look(READY)
    assert bench.kinds() == []
    bench.look(DEAD)
    assert bench.kinds() == ["REPLICA_DIED"]


def test_after_an_empty_first_look_everything_is_told_once(bench: Bench) -> None:
    bench.look(names=())
    for state in (ReplicaState.STARTING, ReplicaState.READY, ReplicaState.READY, ReplicaState.DRAINING):
        bench.look(replace(READY, state=state))
    bench.look()
    bench.look()
    assert bench.kinds() == ["REPLICA_STARTED", "REPLICA_READY", "REPLICA_STOPPED"]


def test_the_last_of_a_deleted_endpoint_are_not_told_to_its_namesake(bench: Bench) -> None:
    bench.look(names=())
    bench.database.delete_endpoint(ENDPOINT_ID)
    bench.database.insert_endpoint(replace(LIVE, id="f" * 32))
    new = replace(READY, spec=replace(READY.spec, endpoint_id="f" * 32, slot="new-0"))
    bench.look(READY)
    bench.look(replace(READY, state=ReplicaState.DRAINING), new)
    told = [past.event for past in bench.store.events("f" * 32) if past.event.kind.startswith("REPLICA")]
    assert [(event.kind.value, event.reason) for event in told] == [("REPLICA_READY", "new-0: is ready.")]
    assert bench.store.events(ENDPOINT_ID) == []


def test_a_database_that_cannot_be_written_to_costs_events_only(bench: Bench) -> None:
    bench.look(names=())
    with bench.database.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE endpoint_events RENAME TO gone"))
    bench.look(READY)
    with bench.database.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE gone RENAME TO endpoint_events"))
    bench.look(DEAD)
    assert bench.kinds() == ["REPLICA_DIED"]
