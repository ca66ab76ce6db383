"""A spool that a test fills as a gateway would, and tables read as anybody would."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

from penstock.inference_tables.drain import Drain
from penstock.inference_tables.parking import Parking
from penstock.spool.record import Context, Kind, encode_record
from penstock.spool.writer import SpoolWriter

TABLE = "main.default.adder_payload"
RECEIVED_US = 1_700_000_000_123_456


def context_of(table: str = TABLE, **fields: Any) -> Context:
    """What a gateway tells of requests to the endpoint `adder`."""
    known: dict[str, Any] = {
        "endpoint_id": "e1",
        "endpoint_name": "adder",
        "config_version": 1,
        "entity_id": "0" * 32,
        "entity_name": "adder-1",
        "requester": "ann",
        "api": "",
        "content_type": "application/json",
        "sampling_fraction": 1.0,
        "model_name": "adder",
        "model_version": "1",
        "payload_table": table,
    }
    return Context(**{**known, **fields})


@dataclass
class Spooled:
    """A home with a spool, and a drain of it."""

    home: Path
    gateway: str = "gateway-0"
    now_s: float = 1_700_000_000.0
    max_answer_bytes: int = 1 << 20
    turns: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.writer = self.new_writer()
        self.drain = self.new_drain()

    def new_writer(self) -> SpoolWriter:
        """What a new process of the gateway writes with."""
        return SpoolWriter(self.home / "spool" / self.gateway, 1 << 30, self.turns.append)

    def new_drain(self, keeps_days: int = 0) -> Drain:
        """What a new table writer works with."""
        return Drain(
            self.home / "spool",
            self.home / "warehouse",
            Parking(self.home / "table-writer", 1 << 30),
            self.home / "table-writer" / "tables.json",
            "7",
            self.max_answer_bytes,
            keeps_days,
            lambda: self.now_s,
        )

    def log(self, kind: Kind = Kind.WHOLE, request_id: str = "", context: Context | None = None, **fields: Any) -> str:
        """One record, written at once; tells its request id."""
        request_id = request_id or str(uuid.uuid4())
        known: dict[str, Any] = {"received_us": RECEIVED_US, "status": 200}
        told = msgspec.json.encode(context or context_of())
        number = self.writer.number_of(told)
        record = encode_record(kind, number, request_id.encode(), **{**known, **fields})
        self.writer.add(lambda: None, record)
        self.writer.flush()
        return request_id

    def path(self, table: str = TABLE) -> Path:
        """Where a table lies."""
        return self.home.joinpath("warehouse", *table.split("."))

    def rows(self, table: str = TABLE) -> list[dict[str, Any]]:
        """All rows of a table."""
        return rows_of(self.path(table))

    def ids(self, table: str = TABLE) -> list[str]:
        """The request ids of its rows, sorted."""
        return sorted(row["databricks_request_id"] for row in self.rows(table))

    def segments(self) -> list[str]:
        """The names of segments that are there."""
        return sorted(path.name for path in (self.home / "spool").glob("*/*.spool"))


def rows_of(path: Path, columns: str = "*") -> list[dict[str, Any]]:
    """All rows of the Delta table in a folder."""
    reader = QueryBuilder().register("t", DeltaTable(str(path))).execute(f"select {columns} from t")
    return list(pa.table(reader).to_pylist())
