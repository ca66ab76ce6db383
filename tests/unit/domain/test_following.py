"""Following aliases: what an endpoint becomes when they move, vanish, or lead to what fails."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.endpoint import ConfigUpdate, Endpoint, complete, fail, stop, switch
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.following import AUTHOR, Alias, Seen, check_followed_alias, follow, followed_by, pause_s
from penstock.domain.served_entity import ModelVersion, ServedEntity
from penstock.domain.traffic import Route
from unit.builders import empty_endpoint, entity, live, updating

CHAMPION = Alias("m", "champion")
OTHER = Alias("n", "champion")


def follower(version: str, model: str = "m", name: str = "e") -> ServedEntity:
    return entity(version, model=model, name=name, alias="champion", follow_alias=True)


def leads(version: str | None, other: str | None = "1") -> Seen:
    """What is seen of the two aliases; the empty text is an alias that is gone."""
    seen: dict[Alias, ModelVersion | None] = {}
    for alias, number in ((CHAMPION, version), (OTHER, other)):
        if number is not None:
            seen[alias] = ModelVersion(alias.model_name, number) if number else None
    return seen


def followed(endpoint: Endpoint, seen: Seen) -> Endpoint:
    return follow(endpoint, seen, 5000, lambda: "2" * 32)


def versions(config_of: Endpoint) -> list[str]:
    config = config_of.pending if config_of.update is ConfigUpdate.IN_PROGRESS else config_of.active
    assert config is not None
    return [entity.model.version for entity in config.entities if entity.model is not None]


def done(endpoint: Endpoint) -> Endpoint:
    return complete(switch(endpoint))


LIVE = live(follower("1"))
SPLIT = (Route("e", 50), Route("o", 50))
TWO = live(follower("1"), follower("1", "n", "o"), routes=SPLIT)


def test_a_moved_alias_is_an_update_by_the_follower() -> None:
    updated = followed(LIVE, leads("2"))
    assert updated.update is ConfigUpdate.IN_PROGRESS
    assert updated.active == LIVE.active
    assert updated.pending is not None
    assert (updated.pending.version, updated.pending.author) == (2, AUTHOR)
    assert updated.pending.reason == "models:/m@champion leads to version 2 now."
    (served,) = updated.pending.entities
    assert (served.model, served.name, served.id) == (ModelVersion("m", "2"), "e", "2" * 32)
    assert served.follow_alias
    assert followed(done(updated), leads("2")) == done(updated)


@pytest.mark.parametrize(
    ("endpoint", "seen"),
    [
        (LIVE, leads("1")),
        (LIVE, leads(None)),
        (updating(LIVE, entity("3", name="e")), leads("2")),
        (stop(LIVE, 9), leads("2")),
        (live(entity("1", alias="champion")), leads("2")),
        (empty_endpoint(), leads("2")),
        (fail(updating(live(entity("1")), follower("2")), {"e": "boom"}), leads("3")),
    ],
    ids=[
        "the alias has not moved",
        "it could not be asked for",
        "an update is in progress",
        "the endpoint is stopped",
        "the version is pinned",
        "there is no config",
        "the config that follows has failed, and the one that serves does not follow",
    ],
)
def test_nothing_is_done(endpoint: Endpoint, seen: Seen) -> None:
    assert followed(endpoint, seen) == endpoint


def test_a_version_that_failed_is_left_alone_until_the_alias_moves() -> None:
    failed = fail(followed(LIVE, leads("2")), {"e": "boom"})
    assert failed.rejected == {"e": ModelVersion("m", "2")}
    assert followed(failed, leads("2")) == failed
    assert versions(followed(failed, leads("3"))) == ["3"]
    back = followed(failed, leads("1"))
    assert (back.update, back.rejected) == (ConfigUpdate.UPDATE_FAILED, {})
    assert versions(followed(back, leads("2"))) == ["2"]


def test_a_version_that_failed_is_tried_again_when_somebody_asks() -> None:
    failed = fail(followed(LIVE, leads("2")), {"e": "boom"})
    assert versions(followed(done(updating(failed, follower("1"))), leads("2"))) == ["2"]


def test_one_that_failed_does_not_keep_another_from_moving() -> None:
    failed = fail(followed(TWO, leads("2", "2")), {"e": "boom"})
    again = followed(failed, leads("2", "2"))
    assert versions(again) == ["1", "2"]
    assert followed(done(again), leads("2", "2")) == done(again)


def test_an_innocent_version_in_a_config_that_failed_is_not_tried_for_ever_either() -> None:
    endpoint = live(follower("1"), entity("1", model="n", name="o"), routes=SPLIT)
    failed = fail(followed(endpoint, leads("2")), {"o": "out of memory"})
    assert followed(failed, leads("2")) == failed


def test_an_alias_that_is_gone_is_remembered_and_nothing_else_changes() -> None:
    lost = followed(LIVE, leads(""))
    assert lost == replace(LIVE, lost_aliases=("e",))
    assert followed(lost, leads("")) == lost
    assert followed(lost, leads(None)) == lost
    assert followed(lost, leads("1")) == LIVE
    assert versions(followed(lost, leads("2"))) == ["2"]


def test_a_first_deployment_that_failed_goes_on_when_the_alias_moves() -> None:
    failed = fail(updating(empty_endpoint(), follower("1")), {"e": "boom"})
    assert followed_by(failed) == {CHAMPION}
    assert followed(failed, leads("1")) == failed
    assert versions(followed(failed, leads("2"))) == ["2"]


def test_a_config_waits_for_its_models_and_then_goes_the_way_of_every_update() -> None:
    waiting = updating(live(entity("9")), follower(""), follower("", "n", "o"), routes=SPLIT, now_ms=2000)
    assert (waiting.is_waiting, waiting.is_updating, waiting.wanted) == (True, False, (waiting.active,))
    assert followed_by(waiting) == {CHAMPION, OTHER}
    half = followed(waiting, leads("3", ""))
    assert half.is_waiting
    assert versions(half) == ["3", ""]
    whole = followed(half, leads("4", "5"))
    assert versions(whole) == ["3", "5"], "what was found stays; the alias is followed once the config serves"
    assert whole.pending is not None
    assert (whole.pending.version, whole.pending.started_at_ms, whole.is_updating) == (2, 5000, True)
    assert versions(followed(done(whole), leads("4", "5"))) == ["4", "5"]


@given(st.lists(st.tuples(st.sampled_from(["1", "2", "3", "", None]), st.sampled_from(["ok", "fails", "later"]))))
def test_it_comes_to_rest_whatever_aliases_do(moves: list[tuple[str | None, str]]) -> None:
    """However often one looks at the same, one update comes of it at most, and what fails is not repeated."""
    endpoint = LIVE
    for version, outcome in moves:
        before = endpoint.last_version
        for _ in range(3):
            endpoint = followed(endpoint, leads(version))
            if endpoint.is_updating and outcome != "later":
                endpoint = done(endpoint) if outcome == "ok" else fail(endpoint, {"e": "boom"})
        assert endpoint.last_version <= before + 1
        assert endpoint.active is not None
    if endpoint.is_updating:
        endpoint = done(endpoint)
    endpoint = followed(endpoint, leads("9"))
    assert versions(endpoint) == ["9"]


@pytest.mark.parametrize("alias", ["", "v1", "V12", "a b", "a/b", "../x", "é", "x" * 256])
def test_an_alias_that_can_never_be_is_refused(alias: str) -> None:
    with pytest.raises(InvalidParameterValue, match="at: got the alias"):
        check_followed_alias("at", alias)


def test_looking_backs_off_and_spreads() -> None:
    assert [round(pause_s(10, failures, 0.5), 6) for failures in (0, 1, 2, 5, 90)] == [10, 20, 40, 300, 300]
    assert (round(pause_s(10, 0, 0.0), 6), round(pause_s(10, 0, 1.0), 6)) == (9, 11)
    assert pause_s(3600, 9, 0.5) == 3600
