"""A home folder as a source of tables: its warehouse, what is registered, and what its endpoints log to."""

import sqlite3
from dataclasses import dataclass
from itertools import chain

import sqlalchemy as sa

from penstock.catalog.warehouse import found_tables
from penstock.domain.catalog import PayloadTable, RegisteredTable, Table, joined
from penstock.domain.endpoint import Endpoint, EndpointConfig
from penstock.domain.errors import InvalidParameterValue, TemporarilyUnavailable
from penstock.domain.signature import Signature
from penstock.domain.table_name import TableName
from penstock.settings import Home
from penstock.stores.database import Database
from penstock.stores.history import HistoryStore
from penstock.stores.model_files import read_signature
from penstock.stores.tables import TableStore
from penstock.wire.endpoint_settings import payload_tables


@dataclass(frozen=True, slots=True)
class State:
    """What the control plane's database tells of tables."""

    database: Database
    history: HistoryStore
    tables: TableStore

    @classmethod
    def of(cls, database: Database) -> "State":
        """That of an open database."""
        return cls(database, HistoryStore(database.engine), TableStore(database.engine))

    @classmethod
    def read_only(cls, home: Home) -> "State | None":
        """That of a home whose stack need not run; nothing is written. None if there is none yet."""
        if not home.database.is_file():
            return None
        address = f"file:{home.database.as_posix()}?mode=ro"
        engine = sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(address, uri=True))
        return cls.of(Database(engine, lambda: 0))


class HomeSource:
    """The tables of one home."""

    def __init__(self, home: Home, state: State | None) -> None:
        self._home = home
        self._state = state

    @classmethod
    def read_only(cls, home: Home) -> "HomeSource":
        """That of a home whose stack need not run."""
        return cls(home, State.read_only(home))

    def tables(self) -> list[Table]:
        """All tables and views, by name."""
        return joined(found_tables(self._home.warehouse), self._registered())

    def payload_tables(self) -> list[PayloadTable]:
        """The tables that endpoints log to."""
        endpoints = [] if self._state is None else self._state.database.endpoints()
        return [PayloadTable(name, endpoint.name) for endpoint in endpoints for name in payload_tables(endpoint)]

    def models(self, payload: TableName) -> dict[str, Signature]:
        """Signatures by id of the served entity, and by `name/version` of the model, the newest first.

        Only of models that have been fetched and were logged with a signature of their inputs.
        """
        found: dict[str, Signature] = {}
        endpoints = [] if self._state is None else self._state.database.endpoints()
        for endpoint in endpoints:
            if payload in payload_tables(endpoint):
                self._collect(endpoint, found)
        return found

    def _collect(self, endpoint: Endpoint, found: dict[str, Signature]) -> None:
        for config in self._configs(endpoint):
            for entity in config.entities:
                if entity.model is None or entity.is_waiting:
                    continue
                try:
                    signature = read_signature(self._home.artifacts, entity.model)
                except InvalidParameterValue:
                    continue
                found.setdefault(entity.id, signature)
                found.setdefault(f"{entity.model.name}/{entity.model.version}", signature)

    def _configs(self, endpoint: Endpoint) -> list[EndpointConfig]:
        """Configs of now and then, the newest first."""
        now = (config for config in (endpoint.active, endpoint.pending) if config is not None)
        then = [] if self._state is None else (v.config for v in self._state.history.versions(endpoint.id))
        return sorted(chain(now, then), key=lambda config: -config.version)

    def _registered(self) -> list[RegisteredTable]:
        if self._state is None:
            return []
        try:
            return self._state.tables.tables()
        except TemporarilyUnavailable as exc:
            if "no such table" in str(exc):  # an older release wrote the state, and no stack has run since
                return []
            raise
