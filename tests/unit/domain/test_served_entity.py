"""Deployment keys: what makes two entities run on the same replicas, and what does not."""

from dataclasses import replace

import pytest

from penstock.domain.limits import Limits
from penstock.domain.secrets import Sealed
from penstock.domain.served_entity import ModelVersion, ServedEntity
from penstock.domain.sizing import Sizing, WorkloadSize
from unit.builders import ENDPOINT_ID, entity

BASE = entity(environment={"A": "1", "B": "2"})
KEY = BASE.deployment_key(ENDPOINT_ID)
SECRET = replace(BASE, sealed={"A": Sealed("v1", "cipher")})


@pytest.mark.parametrize(
    "same",
    [
        replace(BASE, id="2" * 32, created_at_ms=99, creator="another"),
        replace(BASE, alias="champion"),
        replace(BASE, environment={"B": "2", "A": "1"}),
    ],
    ids=["new config, same content", "found through an alias", "variables in another order"],
)
def test_entities_that_run_the_same_share_replicas(same: ServedEntity) -> None:
    assert same.deployment_key(ENDPOINT_ID) == KEY


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, name="other"),
        replace(BASE, model=ModelVersion("m", "2")),
        replace(BASE, model=ModelVersion("n", "1")),
        replace(BASE, model=ModelVersion("m", "1", created_at_ms=5)),
        replace(BASE, sizing=Sizing(WorkloadSize.MEDIUM)),
        replace(BASE, sizing=Sizing(scale_to_zero=True)),
        replace(BASE, environment={"A": "1", "B": "3"}),
        replace(BASE, environment={"A": "1"}),
        replace(BASE, environment={"A": "1\nB=2"}),
    ],
    ids=["name", "version", "model", "version made anew", "size", "scale to zero", "value", "fewer", "joined values"],
)
def test_entities_that_run_differently_have_replicas_of_their_own(other: ServedEntity) -> None:
    assert other.deployment_key(ENDPOINT_ID) != KEY


def test_a_secret_counts_by_its_version_not_by_its_ciphertext() -> None:
    key = SECRET.deployment_key(ENDPOINT_ID)
    assert key != KEY
    assert replace(SECRET, sealed={"A": Sealed("v1", "rotated")}).deployment_key(ENDPOINT_ID) == key
    assert replace(SECRET, sealed={"A": Sealed("v2", "cipher")}).deployment_key(ENDPOINT_ID) != key
    assert replace(SECRET, sealed={"B": Sealed("v1", "cipher")}).deployment_key(ENDPOINT_ID) != key


def test_endpoints_never_share_replicas() -> None:
    assert BASE.deployment_key("f" * 32) != KEY


def test_an_entity_overrides_the_limits_for_itself() -> None:
    limits = Limits(request_timeout_s=297, queue_size=1000)
    own = entity(environment={"PENSTOCK_REQUEST_TIMEOUT_S": "1.5", "PENSTOCK_QUEUE_SIZE": "7"})
    assert (own.request_timeout_s(limits), own.queue_size(limits)) == (1.5, 7)
    assert (entity().request_timeout_s(limits), entity().queue_size(limits)) == (297, 1000)


def test_a_version_made_anew_has_files_of_its_own() -> None:
    assert ModelVersion("m", "1", 1).artifact_key != ModelVersion("m", "1", 2).artifact_key
    assert ModelVersion("m", "1", 1).uri == ModelVersion("m", "1", 2).uri == "models:/m/1"
