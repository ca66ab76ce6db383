"""Use cases of secrets on a real database: what a config takes along, what a rotation changes and what it leaves."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from penstock.control.secrets import Secrets
from penstock.domain.access import ADMINS, Principal
from penstock.domain.endpoint import Endpoint, EndpointConfig, complete, switch
from penstock.domain.errors import InternalError, InvalidParameterValue, PermissionDenied
from penstock.domain.secrets import Plaintext, Sealed
from penstock.domain.traffic import Route
from penstock.stores.database import Database
from penstock.stores.history import HistoryStore
from penstock.stores.keyring import KeyRing, Undecryptable
from penstock.stores.secrets import SecretStore
from unit.builders import empty_endpoint, entity, specs_of, updating

AT = "served_entities[0].environment_vars"
REFERENCE = {"KEY": "{{secrets/s/k}}", "PLAIN": "x"}


class Bench:
    """A database and a key file, opened anew as after a restart."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "secrets.key"
        self.database = Database.open(f"sqlite:///{folder / 'penstock.db'}")
        self.store = SecretStore(self.database.engine)
        self.restart()

    def restart(self) -> None:
        self.keys = KeyRing.load(self.file, is_needed=self.store.sample() is not None)
        self.secrets = Secrets(self.database, self.store, self.keys)

    def deploy(self, caller: str = "ann") -> Endpoint:
        """Store an endpoint whose active and pending config refer to the secret."""
        own = entity(environment=REFERENCE, sealed=self.secrets.sealed_for(AT, REFERENCE, caller))
        config = EndpointConfig(1, (own,), (Route(own.name, 100),))
        endpoint = replace(empty_endpoint(), active=config, pending=replace(config, version=2))
        self.database.insert_endpoint(endpoint)
        return endpoint

    def value(self, endpoint: Endpoint) -> str:
        """What a replica of the endpoint is given."""
        return self.secrets.values_for(specs_of(endpoint, endpoint.active)[0])["KEY"].text


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    bench.secrets.create_scope("s", "ann", is_shared=False)
    bench.secrets.put("s", "k", b"canary", "string_value", "ann")
    yield bench
    bench.database.close()


def test_a_config_keeps_its_value_when_the_secret_changes_or_goes(bench: Bench) -> None:
    endpoint = bench.deploy()
    bench.secrets.put("s", "k", b"other", "string_value", "ann")
    assert bench.value(endpoint) == "canary"
    bench.secrets.delete_scope("s", "ann")
    bench.restart()
    assert bench.value(endpoint) == "canary"
    assert bench.secrets.values_for(specs_of(endpoint, endpoint.active)[0]) == {"KEY": Plaintext("canary")}


def test_a_rotation_changes_ciphertexts_and_nothing_else(bench: Bench) -> None:
    endpoint = bench.deploy()
    key = endpoint.active.entities[0].deployment_key(endpoint.id)
    assert bench.secrets.rotate() == 3
    stored = bench.database.endpoint("x")
    assert stored.active.entities[0].sealed != endpoint.active.entities[0].sealed
    assert stored.active.entities[0].deployment_key(endpoint.id) == key
    assert bench.value(endpoint) == "canary"  # though it was planned before: what is stored now counts
    bench.restart()
    assert bench.value(endpoint) == "canary"
    assert (
        bench.secrets.sealed_for(AT, REFERENCE, "ann")["KEY"].version == stored.active.entities[0].sealed["KEY"].version
    )


def test_a_rotation_that_is_cut_off_is_ended_by_the_next_one(bench: Bench) -> None:
    endpoint = bench.deploy()
    bench.keys.add_key()
    bench.restart()
    assert bench.value(endpoint) == "canary"
    bench.store.reseal(bench.keys.reseal)
    bench.restart()
    assert bench.value(endpoint) == "canary"
    assert bench.secrets.rotate() == 3
    assert len(bench.file.read_text().split()) == 1
    bench.restart()
    assert bench.value(endpoint) == "canary"


def test_a_value_that_cannot_be_opened_stops_a_rotation_and_nothing_is_lost(bench: Bench) -> None:
    endpoint = bench.deploy()
    bench.store.save("s", "z", Sealed("v", "broken"), 1)
    for _ in range(3):
        with pytest.raises(InternalError, match="given up"):
            bench.secrets.rotate()
    assert len(bench.file.read_text().split()) == 2
    bench.restart()
    assert bench.value(endpoint) == "canary"
    bench.secrets.delete("s", "z", "ann")
    assert bench.secrets.rotate() == 3
    assert len(bench.file.read_text().split()) == 1


def test_configs_of_the_past_are_sealed_anew_too_unless_their_key_is_lost(bench: Bench) -> None:
    own = entity(environment=REFERENCE, sealed=bench.secrets.sealed_for(AT, REFERENCE, "ann"))
    endpoint = updating(empty_endpoint(), own)
    bench.database.insert_endpoint(endpoint)
    bench.database.save_endpoint(updating(complete(switch(endpoint)), entity("2")))
    bench.database.save_endpoint(complete(updating(complete(switch(endpoint)), entity("2"))))
    bench.secrets.delete_scope("s", "ann")
    assert bench.store.sample() is not None, "the key file is needed for what may come back"
    assert bench.secrets.rotate() == 1
    bench.restart()

    def kept() -> Sealed:
        first = HistoryStore(bench.database.engine).versions(endpoint.id)[-1]
        return first.config.entities[0].sealed["KEY"]

    assert bench.keys.open(kept()) == b"canary"
    before = kept()
    bench.file.write_text(Fernet.generate_key().decode())
    bench.restart()
    assert bench.secrets.rotate() == 0
    assert kept() == before


def test_with_another_key_the_entity_tells_what_is_wrong_and_a_new_put_mends_it(bench: Bench) -> None:
    endpoint = bench.deploy()
    served = endpoint.active.entities[0]
    assert bench.secrets.obstacle(served) == ""
    bench.file.write_text(Fernet.generate_key().decode())
    bench.restart()
    assert "environment_vars.KEY" in bench.secrets.obstacle(served)
    assert "canary" not in bench.secrets.obstacle(served)
    with pytest.raises(Undecryptable):
        bench.value(endpoint)
    with pytest.raises(InvalidParameterValue, match=r"KEY: .*secrets/s/k.* cannot be decrypted"):
        bench.secrets.sealed_for(AT, REFERENCE, "ann")
    bench.secrets.put("s", "k", b"again", "string_value", "ann")
    assert bench.secrets.obstacle(replace(served, sealed=bench.secrets.sealed_for(AT, REFERENCE, "ann"))) == ""


def test_sealed_copies_alone_make_the_key_file_needed(bench: Bench) -> None:
    assert bench.store.sample() is not None
    bench.deploy()
    bench.secrets.delete_scope("s", "ann")
    assert bench.store.sample() is not None
    bench.database.delete_endpoint(empty_endpoint().id)
    assert bench.store.sample() is None


def test_nobody_but_creator_and_admins(bench: Bench) -> None:
    with pytest.raises(PermissionDenied, match="'bob'"):
        bench.secrets.put("s", "k", b"x", "string_value", "bob")
    with pytest.raises(InvalidParameterValue, match="'bob' may not use"):
        bench.secrets.sealed_for(AT, REFERENCE, "bob")
    bench.database.save_principal(Principal("bob", (ADMINS,)))
    assert [scope.name for scope in bench.secrets.scopes("bob")] == ["s"]
    assert list(bench.secrets.sealed_for(AT, REFERENCE, "bob")) == ["KEY"]


def test_scopes_and_secrets_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.control.secrets.MAX_SCOPES", 1)
    monkeypatch.setattr("penstock.control.secrets.MAX_SECRETS_OF_A_SCOPE", 1)
    with pytest.raises(InvalidParameterValue, match="no more than 1"):
        bench.secrets.create_scope("t", "ann", is_shared=False)
    with pytest.raises(InvalidParameterValue, match="no more than 1"):
        bench.secrets.put("s", "l", b"x", "string_value", "ann")
    bench.secrets.put("s", "k", b"replaced", "string_value", "ann")
    assert [entry.key for entry in bench.secrets.entries("s", "ann")] == ["k"]


def test_what_the_database_holds_is_no_plaintext(bench: Bench, tmp_path: Path) -> None:
    bench.deploy()
    bench.secrets.rotate()
    held = b"".join(file.read_bytes() for file in tmp_path.glob("penstock.db*"))
    assert b"{{secrets/s/k}}" in held
    assert b"canary" not in held
