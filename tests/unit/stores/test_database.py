"""The state database: what is stored comes back, and an older release's state is brought along."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from penstock.domain.access import Grant, GranteeKind, Level, Principal, Token
from penstock.domain.endpoint import ConfigUpdate, Endpoint, EndpointConfig, complete, switch
from penstock.domain.errors import ResourceAlreadyExists
from penstock.domain.history import ConfigVersion, Outcome
from penstock.domain.secrets import Sealed, SecretScope
from penstock.domain.served_entity import ModelVersion, ServedEntity
from penstock.domain.sessions import Session
from penstock.domain.traffic import Route
from penstock.stores import database as module
from penstock.stores.database import Database, DatabaseUnusable
from penstock.stores.events import EventStore
from penstock.stores.history import HistoryStore
from penstock.stores.secrets import SecretStore

CONFIG = EndpointConfig(
    3,
    (
        ServedEntity(
            "1" * 32,
            "m-1",
            ModelVersion("m", "1", 7),
            environment={"A": "b"},
            alias="champion",
            sealed={"A": Sealed("v", "c")},
        ),
    ),
    (Route("m-1", 100),),
    5,
)
ENDPOINT = Endpoint(
    id="e" * 32,
    name="x",
    creator="ann",
    created_at_ms=1,
    updated_at_ms=2,
    tags={"a": None, "b": "c"},
    active=CONFIG,
    pending=replace(CONFIG, version=4),
    update=ConfigUpdate.UPDATE_FAILED,
    failures={"m-1": "boom"},
    grants=(Grant(GranteeKind.GROUP, "team", Level.CAN_QUERY),),
    ai_gateway={"usage_tracking_config": {"enabled": True}},
    last_version=4,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "penstock.db"


def opened(file: Path) -> Database:
    return Database.open(f"sqlite:///{file}")


def migrate(file: Path, revision: str) -> None:
    """Bring an empty database to the schema of an older release."""
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(module.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def test_everything_comes_back_after_a_restart(file: Path) -> None:
    first = opened(file)
    first.insert_endpoint(ENDPOINT)
    first.insert_token(Token("t1", "ann", "d" * 64, "for tests", 9))
    first.save_principal(Principal("ann", ("team", "admins")))
    first.close()
    second = opened(file)
    assert second.endpoints() == [ENDPOINT]
    assert second.endpoint("x") == second.endpoint_of_id("e" * 32) == ENDPOINT
    assert second.tokens() == [Token("t1", "ann", "d" * 64, "for tests", 9)]
    assert second.principals() == [Principal("ann", ("team", "admins"))]
    assert second.principal("nobody") == Principal("nobody")
    assert second.endpoint("y") is None
    second.close()


def test_a_taken_name_is_refused_and_changes_nothing(file: Path) -> None:
    database = opened(file)
    database.insert_endpoint(ENDPOINT)
    with pytest.raises(ResourceAlreadyExists, match="'x'"):
        database.insert_endpoint(replace(ENDPOINT, id="f" * 32, description="other"))
    assert database.endpoints() == [ENDPOINT]
    database.close()


def test_saving_what_was_deleted_brings_nothing_back(file: Path) -> None:
    database = opened(file)
    database.insert_endpoint(ENDPOINT)
    database.delete_endpoint(ENDPOINT.id)
    database.save_endpoint(ENDPOINT)
    assert database.endpoints() == []
    assert database.delete_token("none") is False
    database.close()


def test_sessions_come_back_and_go_with_their_token(file: Path) -> None:
    database = opened(file)
    for number in (1, 2):
        database.insert_token(Token(f"t{number}", "ann", f"{number}" * 64))
    sessions = [Session(str(n), f"t{1 + n // 2}", "ann", n, 100) for n in range(4)]
    assert all(database.insert_session(session) for session in sessions)
    database.close()
    database = opened(file)
    assert database.sessions() == sessions
    assert (database.session("1"), database.session("9")) == (sessions[1], None)
    assert database.token_of_digest("1" * 64) == Token("t1", "ann", "1" * 64)
    assert database.token_of_digest("t1") is None
    database.delete_sessions(["3", "none"])
    database.delete_token("t1")
    assert database.sessions() == [sessions[2]]
    assert database.insert_session(sessions[0]) is False
    assert database.sessions() == [sessions[2]]
    database.close()


def test_state_of_the_first_schema_is_brought_along(file: Path) -> None:
    migrate(file, "0001")
    old = {"id": "e" * 32, "name": "x", "creator": "ann", "created_at_ms": 1, "updated_at_ms": 2}
    with sqlite3.connect(file) as raw:
        raw.execute("INSERT INTO endpoints VALUES (?, ?, ?, ?)", ("e" * 32, "x", 1, json.dumps(old)))
        for index, principal in enumerate(("admin", "ann", "ann")):
            raw.execute("INSERT INTO tokens VALUES (?, ?, ?, '', 0)", (f"t{index}", principal, f"d{index}"))
    raw.close()
    database = opened(file)
    (endpoint,) = database.endpoints()
    assert endpoint.grants == (Grant(GranteeKind.USER, "ann", Level.CAN_MANAGE),)
    assert database.principals() == [Principal("admin", ("admins",)), Principal("ann")]
    assert len(database.tokens()) == 3
    database.close()


def test_endpoints_of_before_history_begin_theirs_with_the_configs_that_they_have(file: Path) -> None:
    migrate(file, "0004")
    document = json.loads(msgspec.json.encode(ENDPOINT))
    for config in (document["active"], document["pending"]):
        del config["author"], config["reason"]
        config["entities"][0]["creator"] = "bob"
    for part in ("rejected", "lost_aliases"):
        del document[part]
    bare = {"id": "b" * 32, "name": "y", "creator": "ann", "created_at_ms": 1, "updated_at_ms": 2}
    first = {**document, "id": "f" * 32, "name": "z", "active": None, "update": "IN_PROGRESS", "failures": {}}
    with sqlite3.connect(file) as raw:
        for endpoint in (document, bare, first):
            row = (endpoint["id"], endpoint["name"], 1, json.dumps(endpoint))
            raw.execute("INSERT INTO endpoints VALUES (?, ?, ?, ?)", row)
    raw.close()
    database = opened(file)
    store = HistoryStore(database.engine)
    kept = database.endpoint("x")
    assert kept is not None
    assert kept.active is not None
    assert kept.active.author == "bob"
    assert store.versions(ENDPOINT.id) == [
        ConfigVersion(kept.pending, Outcome.FAILED, {"m-1": "boom"}),
        ConfigVersion(kept.active, Outcome.COMPLETED),
    ]
    assert store.versions("b" * 32) == []
    (waiting,) = store.versions("f" * 32)
    assert (waiting.config.version, waiting.outcome) == (4, Outcome.IN_PROGRESS)
    assert EventStore(database.engine).events(ENDPOINT.id) == []
    endpoint = database.endpoint("z")
    assert endpoint is not None
    database.save_endpoint(complete(switch(endpoint)))
    (version,) = store.versions("f" * 32)
    assert (version.outcome, version.config.author) == (Outcome.COMPLETED, "bob")
    database.close()


def test_endpoints_of_before_secrets_are_read_and_the_tables_are_there(file: Path) -> None:
    database = opened(file)
    database.insert_endpoint(ENDPOINT)
    with sqlite3.connect(file) as raw:
        (text,) = raw.execute("SELECT document FROM endpoints").fetchone()
        raw.execute(
            "UPDATE endpoints SET document = ?",
            (text.replace('"sealed":{"A":{"version":"v","ciphertext":"c"}}', '"old":1'),),
        )
    raw.close()
    endpoint = database.endpoint("x")
    assert endpoint is not None
    assert endpoint.active is not None
    assert endpoint.active.entities[0].sealed == {}
    store = SecretStore(database.engine)
    scope = SecretScope("s", "ann", is_shared=True, created_at_ms=3)
    store.insert_scope(scope)
    store.save("s", "k", Sealed("v", "c"), 4)
    database.close()
    again = SecretStore(opened(file).engine)
    assert again.scopes() == [scope]
    assert again.sealed("s", "k") == Sealed("v", "c")


def test_state_of_a_newer_release_is_refused_and_left_alone(file: Path) -> None:
    opened(file).close()
    with sqlite3.connect(file) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    with pytest.raises(DatabaseUnusable, match="9999"):
        opened(file)
    with sqlite3.connect(file) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    raw.close()
