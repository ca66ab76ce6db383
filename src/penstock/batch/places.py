"""Where a run reads and writes: names of tables become folders, relative paths whole ones."""

from dataclasses import dataclass, replace
from pathlib import Path

from penstock.batch.plan import Format, Plan, Source, Target, error_location, format_of
from penstock.catalog.warehouse import is_delta
from penstock.domain.catalog import Table, TableType
from penstock.domain.errors import InvalidParameterValue, ResourceConflict, ResourceDoesNotExist, TableDoesNotExist
from penstock.domain.table_name import TableName
from penstock.settings import Home


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of a run."""

    source: str
    """A folder, file or glob."""
    source_format: Format
    target: str
    errors: str


def located(plan: Plan) -> Plan:
    """The same plan with whole paths, so that it says the same wherever it is gone on with."""
    return replace(
        plan,
        model=_whole(plan.model) if Path(plan.model).is_dir() else plan.model,
        source=plan.source if plan.source.table else replace(plan.source, location=_whole(plan.source.location)),
        target=plan.target if plan.target.table else replace(plan.target, location=_whole(plan.target.location)),
    )


def find_places(plan: Plan, home: Home) -> Places:
    """The folders of a plan whose paths are whole.

    Raises:
        ResourceDoesNotExist: there is no such source.
        InvalidParameterValue: it is of a form that cannot be told, or the target is what it is made of.
        ResourceConflict: the target is a view.
    """
    source = _source_path(plan.source, home)
    target, errors = _target_path(plan.target, home), _errors_path(plan.target, home)
    if Path(source) in {Path(target), Path(errors)}:
        raise InvalidParameterValue(f"target: got {target}, which is the source; wanted another.")
    return Places(source, _format(plan.source, source), target, errors)


def _source_path(source: Source, home: Home) -> str:
    name = source.table
    if name is not None:
        table = _table(name, home)
        if table.kind is TableType.VIEW:
            raise InvalidParameterValue(f"source: '{name}' is a view; wanted a table, a path or a glob.")
        return table.path
    if not source.is_glob and not Path(source.location).exists():
        raise ResourceDoesNotExist(f"source: there is no file or folder {source.location}.")
    return source.location


def _target_path(target: Target, home: Home) -> str:
    return target.location if target.table is None else _table_path(target.table, home)


def _errors_path(target: Target, home: Home) -> str:
    beside = Target(error_location(target), target.format)
    return _target_path(beside, home)


def _table_path(name: TableName, home: Home) -> str:
    """Where a table is, or will be: its managed place."""
    try:
        table = _table(name, home)
    except TableDoesNotExist:
        return str(home.warehouse.joinpath(*name.parts))
    if table.kind is TableType.VIEW:
        raise ResourceConflict(f"target: '{name}' is a view; wanted the name of a table.")
    return table.path


def _table(name: TableName, home: Home) -> Table:
    from penstock.catalog.local import open_home  # noqa: PLC0415 - a run on paths starts sooner without SQL

    return open_home(home.path).get(str(name))


def _format(source: Source, path: str) -> Format:
    if source.table is not None:
        return Format.DELTA
    told = source.format or format_of(path)
    if Path(path).is_dir() and is_delta(Path(path)):
        told = source.format or Format.DELTA
    elif told is None and Path(path).is_dir():
        told = Format.PARQUET
    if told is None:
        raise InvalidParameterValue(
            f"source: the form of '{path}' cannot be told by its name; say which with the format: {', '.join(Format)}."
        )
    if told is not Format.DELTA and (source.version is not None or source.timestamp is not None):
        raise InvalidParameterValue(f"source: a version or timestamp is for Delta tables; '{path}' is {told}.")
    return told


def _whole(path: str) -> str:
    return str(Path(path).expanduser().absolute())
