"""History and events at rest: with the endpoint or not at all, bounded, and gone with it."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa

from penstock.domain.endpoint import complete, fail, switch
from penstock.domain.errors import TemporarilyUnavailable
from penstock.domain.events import MAX_EVENTS, MAX_REASON_LENGTH, Event, EventKind
from penstock.domain.history import MAX_VERSIONS, Outcome
from penstock.domain.secrets import Sealed
from penstock.stores.database import Database
from penstock.stores.events import EventStore, endpoint_events
from penstock.stores.history import HistoryStore, config_versions
from penstock.stores.sql import transaction
from unit.builders import ENDPOINT_ID, empty_endpoint, entity, updating

SEALED = entity("2", environment={"KEY": "{{secrets/s/k}}"}, sealed={"KEY": Sealed("v", "c")})


class Bench:
    """A database whose clock goes on by one with each look, and what reads from it."""

    def __init__(self, folder: Path) -> None:
        self.database = Database.open(f"sqlite:///{folder / 'penstock.db'}", now_ms=count(100).__next__)
        self.history = HistoryStore(self.database.engine)
        self.events = EventStore(self.database.engine)

    def rows(self, table: sa.Table) -> int:
        with transaction(self.database.engine) as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0

    def kinds(self) -> list[str]:
        return [past.event.kind.value for past in reversed(self.events.events(ENDPOINT_ID))]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.database.close()


def test_a_version_is_written_with_its_endpoint_and_again_with_its_end(bench: Bench) -> None:
    first = updating(empty_endpoint(), entity("1"))
    bench.database.insert_endpoint(first)
    bench.database.save_endpoint(complete(switch(first)))
    second = updating(complete(switch(first)), SEALED)
    bench.database.save_endpoint(second, "ann")
    newest, oldest = bench.history.versions(ENDPOINT_ID)
    assert (oldest.config, oldest.outcome, oldest.ended_at_ms) == (first.pending, Outcome.COMPLETED, 101)
    assert (newest.config, newest.outcome, newest.ended_at_ms) == (second.pending, Outcome.IN_PROGRESS, None)
    bench.database.save_endpoint(fail(second, {"m-2": "boom"}))
    (newest,) = bench.history.versions(ENDPOINT_ID, limit=1)
    assert (newest.outcome, newest.failures) == (Outcome.FAILED, {"m-2": "boom"})
    assert newest.config.entities[0].sealed == {"KEY": Sealed("v", "c")}
    assert bench.kinds() == ["CREATED", "UPDATE_STARTED", "UPDATE_COMPLETED", "UPDATE_STARTED", "UPDATE_FAILED"]
    assert bench.events.events(ENDPOINT_ID, limit=1)[0].at_ms == 103


def test_an_endpoint_whose_history_cannot_be_written_is_not_stored(bench: Bench) -> None:
    endpoint = empty_endpoint()
    bench.database.insert_endpoint(endpoint)
    with bench.database.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE config_versions"))
    with pytest.raises(TemporarilyUnavailable):
        bench.database.save_endpoint(updating(endpoint, entity()))
    assert bench.database.endpoint("x") == endpoint
    assert bench.kinds() == ["CREATED"]


def test_the_newest_versions_are_kept_and_the_active_one(bench: Bench) -> None:
    endpoint = complete(switch(updating(empty_endpoint(), entity("1"))))
    bench.database.insert_endpoint(updating(empty_endpoint(), entity("1")))
    bench.database.save_endpoint(endpoint)
    bench.database.save_endpoint(replace(updating(endpoint, SEALED), last_version=2))
    late = replace(endpoint, last_version=MAX_VERSIONS + 1)
    bench.database.save_endpoint(updating(late, entity("3")))
    assert [v.config.version for v in bench.history.versions(ENDPOINT_ID)] == [MAX_VERSIONS + 2, 1]


def test_the_newest_events_are_kept_each_cut_to_its_length(bench: Bench) -> None:
    bench.database.insert_endpoint(empty_endpoint())
    bench.database.insert_endpoint(replace(empty_endpoint("y"), id="f" * 32))
    for first in range(0, MAX_EVENTS + 100, 100):
        events = [Event(EventKind.REPLICA_DIED, f"{number:09d}" * 300) for number in range(first, first + 100)]
        bench.events.add([(ENDPOINT_ID, event) for event in events], first)
    kept = bench.events.events(ENDPOINT_ID)
    assert bench.rows(endpoint_events) == MAX_EVENTS + 1
    assert [past.event.reason[:9] for past in (kept[0], kept[-1])] == [f"{MAX_EVENTS + 99:09d}", "000000100"]
    assert {len(past.event.reason) for past in kept} == {MAX_REASON_LENGTH}


def test_history_and_events_go_with_their_endpoint_and_do_not_come_back(bench: Bench) -> None:
    bench.database.insert_endpoint(updating(empty_endpoint(), entity()))
    bench.database.delete_endpoint(ENDPOINT_ID)
    bench.database.save_endpoint(updating(empty_endpoint(), entity("2")))
    bench.events.add([(ENDPOINT_ID, Event(EventKind.REPLICA_STOPPED, "is gone."))], 9)
    assert (bench.rows(config_versions), bench.rows(endpoint_events)) == (0, 0)
    bench.database.insert_endpoint(replace(empty_endpoint(), id="f" * 32))
    assert bench.history.versions("f" * 32) == []
