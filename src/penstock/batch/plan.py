"""What a batch run is to do: plain data, checked before anything is opened, the same for every engine.

An engine takes a `Plan`, reads its source, and gives its target the rows that `output_names` tells of.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.table_name import TableName, parse_table_name

PREDICTION, PROBABILITIES = "prediction", "probabilities"
MODEL_NAME, MODEL_VERSION, RUN_ID, SCORED_AT = "model_name", "model_version", "run_id", "scored_at"
PROVENANCE = (MODEL_NAME, MODEL_VERSION, RUN_ID, SCORED_AT)
"""Columns that tell where a prediction comes from: three strings (the version may be null) and a timestamp in UTC."""

ERROR_SUFFIX = "_errors"
"""What the name of the error table has beyond that of the target it lies beside."""

DEFAULT_CHUNK_ROWS = 131_072
MAX_CHUNK_ROWS = 4_194_304
MAX_PROCESSES = 256

_GLOB = re.compile(r"[*?\[]")


class Engine(StrEnum):
    """What runs it."""

    LOCAL = "local"


class Mode(StrEnum):
    """What becomes of the rows that a target has already."""

    APPEND = "append"
    OVERWRITE = "overwrite"
    MERGE = "merge"
    """Rows with the same keys are replaced, all others are added."""


class OnError(StrEnum):
    """What becomes of rows that cannot be scored."""

    TABLE = "table"
    """They go to the error table, each with its reason; the others go to the target."""
    STOP = "stop"
    """The first of them ends the run."""


class Format(StrEnum):
    """How rows are kept."""

    DELTA = "delta"
    PARQUET = "parquet"
    CSV = "csv"
    JSON = "json"
    """One document a line."""


_SUFFIXES = {
    ".parquet": Format.PARQUET,
    ".csv": Format.CSV,
    ".csv.gz": Format.CSV,
    ".json": Format.JSON,
    ".jsonl": Format.JSON,
    ".ndjson": Format.JSON,
    ".json.gz": Format.JSON,
    ".jsonl.gz": Format.JSON,
    ".ndjson.gz": Format.JSON,
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from."""

    location: str
    """A path, a glob, or the name of a table."""
    format: Format | None = None
    """None: by the end of its name; a folder is a Delta table if it has a log, else one of Parquet files."""
    version: int | None = None
    """Of a Delta table; None for the newest when the run begins."""
    timestamp: datetime | None = None
    """A Delta table as it was then; it has a time zone."""

    @property
    def table(self) -> TableName | None:
        """The name, if it is a table's and no path."""
        return _table(self.location, "source")

    @property
    def is_glob(self) -> bool:
        """Whether it may stand for several files."""
        return self.table is None and _GLOB.search(self.location) is not None


@dataclass(frozen=True, slots=True)
class Target:
    """Where scored rows go."""

    location: str
    """A folder, or the name of a table."""
    format: Format = Format.DELTA
    mode: Mode = Mode.APPEND
    keys: tuple[str, ...] = ()
    """Columns that tell rows apart, for `Mode.MERGE`."""

    @property
    def table(self) -> TableName | None:
        """The name, if it is a table's and no path."""
        return _table(self.location, "target")


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a run is told."""

    model: str
    """Its URI, as MLflow takes it: `models:/name@alias`, `models:/name/1`, `models:/name/Production`, `runs:/…`."""
    source: Source
    target: Target
    engine: Engine = Engine.LOCAL
    columns: Mapping[str, str] = field(default_factory=dict)
    """Names of the source's columns by what the model calls them; those left out have the model's own names."""
    inputs: tuple[str, ...] = ()
    """Columns of the source that a model gets which has no names for its inputs, in order; empty for all of them."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Of the model's signature, for every row."""
    prediction_column: str = PREDICTION
    has_probabilities: bool = False
    """Whether a column of the classes' probabilities is wanted beside the prediction."""
    on_error: OnError = OnError.TABLE
    chunk_rows: int = DEFAULT_CHUNK_ROWS
    """How many rows are scored and committed at a time; the division of a source into chunks depends on it."""
    processes: int | None = None
    """How many score; None leaves it to the engine."""


_E = TypeVar("_E", bound=StrEnum)


def chosen(kind: type[_E], field_name: str, text: str) -> _E:
    """One of a few words.

    Raises:
        InvalidParameterValue: it is none of them.
    """
    try:
        return kind(text)
    except ValueError as exc:
        raise InvalidParameterValue(f"{field_name}: got '{text}'; wanted one of {', '.join(kind)}.") from exc


def check_plan(plan: Plan) -> Plan:
    """A plan that can be, as far as that can be told without opening anything.

    Raises:
        InvalidParameterValue: it cannot be; the message names the field.
    """
    _check_model(plan.model)
    _check_source(plan.source)
    _check_target(plan.target)
    _check_names(plan)
    _check_range("chunk_rows", plan.chunk_rows, MAX_CHUNK_ROWS)
    if plan.processes is not None:
        _check_range("processes", plan.processes, MAX_PROCESSES)
    return plan


def format_of(location: str) -> Format | None:
    """What the end of a path or glob says; None if it says nothing."""
    lower = location.lower()
    return next((kept for suffix, kept in _SUFFIXES.items() if lower.endswith(suffix)), None)


def output_names(plan: Plan, input_names: Sequence[str]) -> tuple[str, ...]:
    """The columns of the target, in order.

    The source's, the prediction (a struct if the model has several outputs), the probabilities if they are wanted,
    and the provenance.

    Raises:
        InvalidParameterValue: two of them would have one name, or a key of the target is none of them.
    """
    added = (plan.prediction_column, *((PROBABILITIES,) if plan.has_probabilities else ()), *PROVENANCE)
    taken = {name.lower() for name in input_names}
    clash = [name for name in added if name.lower() in taken]
    if clash:
        raise InvalidParameterValue(
            f"source: it has columns {', '.join(clash)}, which the target gets from scoring; "
            "leave them out, or give the prediction another name (prediction_column)."
        )
    missing = [key for key in plan.target.keys if key not in input_names]
    if missing:
        raise InvalidParameterValue(
            f"key: got {', '.join(missing)}; wanted columns of the source, {_told(input_names)}."
        )
    return (*input_names, *added)


def source_columns(
    plan: Plan, model_names: Sequence[str] | None, optional: Collection[str], source_names: Sequence[str]
) -> dict[str, str]:
    """The source's columns that the model gets, by what it calls them, in its order.

    Args:
        plan: the run's.
        model_names: what the model calls its inputs; None if it has no names for them.
        optional: those that may be missing.
        source_names: the source's columns.

    Raises:
        InvalidParameterValue: the mapping names an input that the model has not, or a column is missing.
    """
    if model_names is None:
        if plan.columns:
            raise InvalidParameterValue(
                f"columns: got {_told(tuple(plan.columns))}; the model has no names for its inputs: say which columns "
                "it gets with inputs."
            )
        chosen = {name: name for name in plan.inputs or source_names}
    else:
        if plan.inputs:
            raise InvalidParameterValue(
                f"inputs: got {_told(plan.inputs)}; the model has names for its inputs, {_told(model_names)}: map "
                "them with columns."
            )
        strange = [name for name in plan.columns if name not in model_names]
        if strange:
            raise InvalidParameterValue(
                f"columns: got {_told(strange)}; wanted inputs of the model, {_told(model_names)}."
            )
        named = {name: plan.columns.get(name, name) for name in model_names}
        chosen = {name: at for name, at in named.items() if at in source_names or name not in optional}
    missing = [at for at in chosen.values() if at not in source_names]
    if missing:
        raise InvalidParameterValue(
            f"source: the model wants columns {_told(missing)}, which it has not; it has {_told(source_names)}."
        )
    return chosen


def error_location(target: Target) -> str:
    """Where the error table of a target lies: beside it."""
    name = target.table
    if name is not None:
        return f"{name}{ERROR_SUFFIX}"
    return target.location.rstrip("/") + ERROR_SUFFIX


def _check_model(uri: str) -> None:
    if not uri.strip():
        raise InvalidParameterValue("model: got nothing; wanted a URI such as models:/name@champion or models:/name/1.")


def _check_source(source: Source) -> None:
    if not source.location.strip():
        raise InvalidParameterValue("source: got nothing; wanted a path, a glob or catalog.schema.table.")
    if source.version is not None and source.timestamp is not None:
        raise InvalidParameterValue("source: got a version and a timestamp; wanted one of them at most.")
    if source.version is not None and source.version < 0:
        raise InvalidParameterValue(f"source version: got {source.version}; wanted a whole number from 0.")
    if source.timestamp is not None and source.timestamp.tzinfo is None:
        raise InvalidParameterValue("source timestamp: got one without a time zone; wanted e.g. 2026-01-31T12:00:00Z.")
    told = source.format or (None if source.table else format_of(source.location))
    if (source.version is not None or source.timestamp is not None) and told not in {None, Format.DELTA}:
        raise InvalidParameterValue(f"source: a version or timestamp is for Delta tables; got {told}.")
    if source.table is not None and told not in {None, Format.DELTA}:
        raise InvalidParameterValue(f"source format: got {told}; '{source.location}' is the name of a Delta table.")


def _check_target(target: Target) -> None:
    if not target.location.strip():
        raise InvalidParameterValue("target: got nothing; wanted a folder or catalog.schema.table.")
    if _GLOB.search(target.location):
        raise InvalidParameterValue(f"target: got '{target.location}'; wanted one folder, without *, ? and [.")
    if "://" in target.location:
        raise InvalidParameterValue(f"target: got '{target.location}'; wanted a folder of this machine.")
    if target.format not in {Format.DELTA, Format.PARQUET}:
        raise InvalidParameterValue(f"target format: got {target.format}; wanted delta or parquet.")
    if target.table is not None and target.format is not Format.DELTA:
        raise InvalidParameterValue(
            f"target format: got {target.format}; '{target.location}' is the name of a Delta table."
        )
    if target.mode is Mode.MERGE and target.format is not Format.DELTA:
        raise InvalidParameterValue("mode: got merge for Parquet files; wanted a Delta table, or another mode.")
    if target.mode is Mode.MERGE and not target.keys:
        raise InvalidParameterValue("key: got none; wanted the columns by which rows are merged.")
    if target.mode is not Mode.MERGE and target.keys:
        raise InvalidParameterValue(f"key: got {', '.join(target.keys)} with mode {target.mode}; wanted mode merge.")
    if len(set(target.keys)) != len(target.keys):
        raise InvalidParameterValue(f"key: got {', '.join(target.keys)}; wanted each column once.")


def _check_names(plan: Plan) -> None:
    name = plan.prediction_column
    if not name.strip() or name.lower() in {*PROVENANCE, PROBABILITIES}:
        raise InvalidParameterValue(f"prediction_column: got '{name}'; wanted a name that no other column has.")


def _check_range(field_name: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise InvalidParameterValue(f"{field_name}: got {value}; wanted a whole number from 1 to {most}.")


def _table(location: str, at: str) -> TableName | None:
    """What has neither a slash, a wildcard nor a known ending is the name of a table."""
    if "/" in location or location.startswith(("~", ".")) or _GLOB.search(location) or format_of(location):
        return None
    return parse_table_name(location, at)


def _told(names: Sequence[str]) -> str:
    return ", ".join(names)
