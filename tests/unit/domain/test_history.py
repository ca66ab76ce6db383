"""History: every version is there once, with how it ended; and which one comes back."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.config_diff import changes_between
from penstock.domain.endpoint import (
    ConfigUpdate,
    Endpoint,
    EndpointConfig,
    begin_update,
    complete,
    fail,
    stop,
    switch,
)
from penstock.domain.errors import CallerError, InvalidParameterValue, ResourceDoesNotExist
from penstock.domain.history import (
    ConfigVersion,
    Outcome,
    recorded,
    restored_entities,
    version_of,
    version_to_restore,
)
from penstock.domain.served_entity import ModelVersion
from penstock.domain.traffic import Route
from unit.builders import empty_endpoint, entity, live, updating

WAITING = entity("", name="w", alias="champion", follow_alias=True)
FOUND = replace(WAITING, model=ModelVersion("m", "7"))
LIVE = live(entity("1"))


def found(endpoint: Endpoint) -> Endpoint:
    """The endpoint once the model that it waits for is there."""
    assert endpoint.pending is not None
    return replace(endpoint, pending=replace(endpoint.pending, entities=(FOUND,)))


@pytest.mark.parametrize(
    ("before", "after", "outcomes"),
    [
        (None, empty_endpoint(), {}),
        (None, updating(empty_endpoint(), entity()), {1: "IN_PROGRESS"}),
        (LIVE, replace(LIVE, description="x"), {}),
        (LIVE, updating(LIVE, entity("2")), {2: "IN_PROGRESS"}),
        (updating(LIVE, entity("2")), switch(updating(LIVE, entity("2"))), {}),
        (switch(updating(LIVE, entity("2"))), complete(switch(updating(LIVE, entity("2")))), {2: "COMPLETED"}),
        (updating(LIVE, entity("2")), fail(updating(LIVE, entity("2")), {"m-2": "boom"}), {2: "FAILED"}),
        (updating(LIVE, WAITING), found(updating(LIVE, WAITING)), {2: "IN_PROGRESS"}),
        (updating(LIVE, WAITING), updating(updating(LIVE, WAITING), entity("2")), {2: "SUPERSEDED", 3: "IN_PROGRESS"}),
        (updating(LIVE, WAITING), stop(updating(LIVE, WAITING), 9), {2: "SUPERSEDED"}),
        (LIVE, stop(LIVE, 9), {}),
    ],
)
def test_what_is_written_when_an_endpoint_is_stored(
    before: Endpoint | None, after: Endpoint, outcomes: dict[int, str]
) -> None:
    versions = recorded(before, after, 77)
    assert {version.config.version: version.outcome.value for version in versions} == outcomes
    for version in versions:
        assert (version.ended_at_ms is None) == (version.outcome is Outcome.IN_PROGRESS)
    assert recorded(after, after, 78) == ()


def test_a_failure_keeps_its_causes() -> None:
    before = updating(LIVE, entity("2"))
    (version,) = recorded(before, fail(before, {"m-2": "no such file"}), 77)
    assert (version.failures, version.ended_at_ms) == ({"m-2": "no such file"}, 77)


@dataclass
class World:
    """An endpoint, and its history as a store keeps it."""

    endpoint: Endpoint = field(default_factory=empty_endpoint)
    rows: dict[int, ConfigVersion] = field(default_factory=dict)
    active: set[int] = field(default_factory=set)
    now_ms: int = 0

    def store(self, after: Endpoint) -> None:
        self.now_ms += 1
        for version in recorded(self.endpoint, after, self.now_ms):
            self.rows[version.config.version] = version
        self.endpoint = after
        if after.active is not None:
            self.active.add(after.active.version)

    def step(self, name: str) -> None:
        """One thing that a user, the reconciler or the follower may do; nothing if it is not possible now."""
        now, endpoint = self.now_ms, self.endpoint
        try:
            match name:
                case "1" | "2" | "3":
                    own = entity(name)
                    self.store(begin_update(endpoint, [own], (Route(own.name, 100),), now, "ann"))
                case "wait":
                    self.store(begin_update(endpoint, [WAITING], (Route("w", 100),), now, "ann"))
                case "find" if endpoint.is_waiting:
                    self.store(found(endpoint))
                case "switch" if endpoint.is_updating:
                    self.store(switch(endpoint))
                case "complete" if endpoint.is_updating and endpoint.switching:
                    self.store(complete(endpoint))
                case "fail" if endpoint.is_updating and not endpoint.switching:
                    self.store(fail(endpoint, {"e": "boom"}))
                case "stop":
                    self.store(stop(endpoint, now))
                case "rollback":
                    self.roll_back()
        except CallerError:
            pass

    def roll_back(self) -> None:
        active = self.endpoint.active
        version = version_to_restore(list(self.rows.values()), active, None)
        assert version.config.version in self.active
        assert active is None or changes_between(version.config, active)
        entities = restored_entities(version.config, lambda: "2" * 32)
        self.store(begin_update(self.endpoint, entities, version.config.routes, self.now_ms, "ann"))


STEPS = st.sampled_from(["1", "2", "3", "wait", "find", "switch", "complete", "fail", "stop", "rollback"])


@given(st.lists(STEPS, max_size=40))
def test_whatever_happens_every_version_is_there_once_with_its_end(steps: list[str]) -> None:
    world = World()
    for step in steps:
        world.step(step)
    endpoint, rows = world.endpoint, world.rows
    assert sorted(rows) == list(range(1, endpoint.last_version + 1))
    in_progress = {number for number, row in rows.items() if row.outcome is Outcome.IN_PROGRESS}
    is_open = endpoint.update is ConfigUpdate.IN_PROGRESS and endpoint.pending is not None
    assert in_progress == ({endpoint.last_version} if is_open else set())
    assert {number for number, row in rows.items() if row.outcome is Outcome.COMPLETED} == world.active
    for row in rows.values():
        assert row.outcome is not Outcome.SUPERSEDED or row.config.is_waiting
    if endpoint.active is not None:
        assert rows[endpoint.active.version].config == endpoint.active


def version(number: int, model: str, outcome: Outcome = Outcome.COMPLETED) -> ConfigVersion:
    own = WAITING if model == "waits" else entity(model, name="e")
    return ConfigVersion(EndpointConfig(number, (own,), (Route(own.name, 100),)), outcome)


HISTORY = [
    version(1, "1"),
    version(2, "2"),
    version(3, "3", Outcome.FAILED),
    version(4, "2"),
    version(5, "waits", Outcome.SUPERSEDED),
]


@pytest.mark.parametrize(
    ("active", "wanted", "expected"),
    [
        (4, None, 1),  # 2 says the same as 4, 3 has never served
        (2, None, 1),
        (None, None, 4),
        (4, 3, 3),
        (4, 4, 4),
    ],
)
def test_which_version_comes_back(active: int | None, wanted: int | None, expected: int) -> None:
    serving = version_of(HISTORY, active).config if active is not None else None
    assert version_to_restore(HISTORY, serving, wanted).config.version == expected


@pytest.mark.parametrize(
    ("active", "wanted", "error", "fragment"),
    [
        (1, None, ResourceDoesNotExist, "no config that differs has served"),
        (4, 9, ResourceDoesNotExist, "got 9; versions 1 to 5 are kept"),
        (4, -1, ResourceDoesNotExist, "got -1"),
        (4, 5, InvalidParameterValue, "waited for a model"),
    ],
)
def test_what_cannot_come_back(active: int, wanted: int | None, error: type[Exception], fragment: str) -> None:
    with pytest.raises(error, match=fragment):
        version_to_restore(HISTORY, version_of(HISTORY, active).config, wanted)
    with pytest.raises(ResourceDoesNotExist, match="there is none"):
        version_of([], 1)


def test_a_rollback_of_a_rollback_is_where_it_began() -> None:
    rows = [version(1, "1"), version(2, "2")]
    for number, expected in ((3, "1"), (4, "2"), (5, "1")):
        chosen = version_to_restore(rows, rows[-1].config, None)
        entities = restored_entities(chosen.config, lambda: "2" * 32)
        rows.append(ConfigVersion(EndpointConfig(number, entities, chosen.config.routes), Outcome.COMPLETED))
        assert entities[0].model == ModelVersion("m", expected)


def test_what_comes_back_follows_nothing_and_has_an_id_of_its_own() -> None:
    config = EndpointConfig(1, (FOUND,), (Route("w", 100),))
    (one,) = restored_entities(config, lambda: "2" * 32)
    assert one == replace(FOUND, id="2" * 32, follow_alias=False)
    assert one.deployment_key("e") == FOUND.deployment_key("e"), "what runs already is shared"
