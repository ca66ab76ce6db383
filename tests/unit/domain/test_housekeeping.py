"""What may be removed from a home folder, and what never."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.housekeeping import (
    GRACE_S,
    MAX_FORMER_DEPLOYMENTS,
    PARTIAL_GRACE_S,
    LogFile,
    StoredModel,
    unneeded_logs,
    unneeded_models,
)

ages = st.floats(0, 3 * PARTIAL_GRACE_S)
keys = st.sampled_from([f"{n:x}" * 4 for n in range(16)])
models = st.builds(StoredModel, keys, ages, st.booleans())
logs = st.builds(
    lambda endpoint, key, part, idle_s: LogFile(f"{endpoint}/e/{key}-0.{part}", endpoint, key, idle_s),
    *(st.sampled_from(["x", "y", "gone"]), keys, st.sampled_from(["build.log", "service.log"]), ages),
)


def test_a_model_goes_when_nobody_needs_it_and_nobody_used_it_lately() -> None:
    there = [
        StoredModel("needed", 10 * PARTIAL_GRACE_S),
        StoredModel("fresh", GRACE_S - 1),
        StoredModel("old", GRACE_S + 1),
        StoredModel("a.1.partial", GRACE_S + 1, is_partial=True),
        StoredModel("b.2.partial", PARTIAL_GRACE_S + 1, is_partial=True),
    ]
    assert unneeded_models(there, {"needed"}) == ["old", "b.2.partial"]


@given(st.lists(models), st.sets(keys))
def test_no_model_that_is_needed_or_was_used_lately_ever_goes(there: list[StoredModel], needed: set[str]) -> None:
    gone = unneeded_models(there, needed)
    assert needed.isdisjoint(gone)
    assert {model.name for model in there if model.idle_s > PARTIAL_GRACE_S} - needed <= set(gone)
    assert all(any(m.name == name and m.idle_s > GRACE_S for m in there) for name in gone)


def log(deployment: int, idle_s: float, endpoint: str = "x", kind: str = "build") -> LogFile:
    key = f"{deployment:016x}"
    return LogFile(f"{endpoint}/m-{deployment}/{key}-0.{kind}.log", endpoint, key, idle_s)


def test_the_logs_of_the_newest_former_deployments_stay() -> None:
    idle = 2 * GRACE_S
    former = [log(n, idle + n) for n in range(MAX_FORMER_DEPLOYMENTS + 3)]
    assert unneeded_logs(former, {"x"}, set()) == [each.path for each in former[MAX_FORMER_DEPLOYMENTS:]]
    late = log(MAX_FORMER_DEPLOYMENTS + 2, idle - 1, kind="service")
    doomed = unneeded_logs([*former, late], {"x"}, set())
    assert late.path not in doomed, "a deployment is as old as the newest of its files"
    assert former[-1].path not in doomed
    assert unneeded_logs(former, {"x"}, {each.deployment for each in former}) == []


def test_no_log_of_an_endpoint_that_is_gone_stays_for_long() -> None:
    assert unneeded_logs([log(1, GRACE_S + 1), log(2, GRACE_S - 1)], {"y"}, set()) == [log(1, 0).path]


@given(st.lists(logs), st.sets(keys))
def test_no_current_log_goes_and_former_ones_are_bounded(there: list[LogFile], current: set[str]) -> None:
    doomed = set(unneeded_logs(there, {"x", "y"}, current))
    assert not any(each.path in doomed for each in there if each.deployment in current)
    kept = [each for each in there if each.path not in doomed and each.deployment not in current]
    for endpoint in ("x", "y"):
        old = {each.deployment for each in kept if each.endpoint == endpoint and each.idle_s > GRACE_S}
        lately = {each.deployment for each in kept if each.endpoint == endpoint and each.idle_s <= GRACE_S}
        assert len(old - lately) <= MAX_FORMER_DEPLOYMENTS
