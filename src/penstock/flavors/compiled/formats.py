"""The four formats, for signatures of named columns: from the content of a body to rows.

Each function gives None for what it does not recognise. Rows hold the values of the layout's columns in its order;
what the values are is not looked at here, except for those of columns that the signature does not know: MLflow makes
an array of them too before it leaves them out, and may fail.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeGuard

import msgspec

from penstock.flavors.compiled.columns import SCALARS, Way
from penstock.flavors.compiled.layout import Labels, Layout, Layouts, Row, getter

_MAX_DEPTH = 16
_SPLIT = frozenset({"columns", "data", "index"})


class Rows(msgspec.Struct, frozen=True):
    """The rows of a body."""

    layout: Layout
    rows: list[Row]
    way: Way
    labels: Labels | None = None


def read_records(content: Any, layouts: Layouts) -> Rows | None:
    """`dataframe_records`: a list of objects."""
    if type(content) is not list or not content:
        return None
    full = layouts.full
    try:
        rows = list(map(full.pick, content))
        if {*map(len, content)} == {len(full.names)}:
            return Rows(full, rows, Way.INFERRED)
    except (KeyError, TypeError):
        pass
    if {*map(type, content)} != {dict} or not all(_is_shallow(record.values()) for record in content):
        return None
    return _records_with_gaps(content, layouts)


def _records_with_gaps(records: list[Any], layouts: Layouts) -> Rows | None:
    """Records that leave something out, which is null where others have it."""
    layout = layouts.of(set().union(*records))
    if layout is None:
        return None
    rows: list[Row] = [tuple(map(record.get, layout.names)) for record in records]
    for at, column in enumerate(layout.columns):
        if all(column.name in record for record in records):
            continue
        # pandas' mark for a gap differs from null where no row has a string.
        if not column.type.may_miss or all(row[at] is None for row in rows):
            return None
    return Rows(layout, rows, Way.INFERRED)


def read_split(content: Any, layouts: Layouts) -> Rows | None:
    """`dataframe_split`: names of columns, rows of values, perhaps labels of rows."""
    data = rows_of_split(content)
    if data is None:
        return None
    columns, index = content["columns"], content.get("index")
    if columns == layouts.full.names:
        return Rows(layouts.full, data, Way.INFERRED, index)
    layout = layouts.of({*columns})
    if layout is None or not all(map(_is_shallow, data)):
        return None
    places = {name: at for at, name in enumerate(columns)}
    pick = getter([places[name] for name in layout.names])
    return Rows(layout, list(map(pick, data)), Way.INFERRED, index)


def rows_of_split(content: Any) -> list[Row] | None:
    """Rows of values, as many in each as there are names of columns, all different."""
    if type(content) is not dict or not _SPLIT.issuperset(content):
        return None
    columns, data, index = content.get("columns"), content.get("data"), content.get("index")
    if type(columns) is not list:
        return None
    if not are_rows(data, len(columns)):
        return None
    if {*map(type, columns)} != {str} or len({*columns}) != len(columns):
        return None
    return data if index is None or _are_labels(index, len(data)) else None


def are_rows(data: Any, width: int) -> TypeGuard[list[Row]]:
    """Whether it is a list, not empty, of lists of `width` values."""
    return type(data) is list and {*map(type, data)} == {list} and {*map(len, data)} == {width}


def _are_labels(labels: Any, size: int) -> bool:
    if type(labels) is not list or len(labels) != size:
        return False
    types = {*map(type, labels)}
    return types == {str} or (types == {int} and min(labels) >= -(1 << 63) and max(labels) < 1 << 63)


def read_instances(content: Any, layouts: Layouts) -> Rows | None:
    """`instances`: a list of objects, or what `inputs` takes that is no such list."""
    if type(content) is list and content and type(content[0]) is dict:
        return _uniform(content, layouts, Way.ARRAYS)
    return _columns(content, layouts)


def read_inputs(content: Any, layouts: Layouts) -> Rows | None:
    """`inputs`: an object of lists or of single values, a list of objects, or the list of the only column."""
    if type(content) is list and content and type(content[0]) is dict:
        return _uniform(content, layouts, Way.BOXED)
    return _columns(content, layouts)


def _uniform(records: list[Any], layouts: Layouts, way: Way) -> Rows | None:
    """Records that all have the same keys."""
    full = layouts.full
    try:
        rows = list(map(full.pick, records))
        if {*map(len, records)} == {len(full.names)}:
            return Rows(full, rows, way)
    except (KeyError, TypeError):
        pass
    keys = records[0].keys()
    if {*map(type, records)} != {dict} or any(record.keys() != keys for record in records):
        return None
    layout = layouts.of(keys)
    if layout is None:
        return None
    strangers = keys - {*layout.names}
    if not all(_is_flat(map(record.__getitem__, strangers)) for record in records):
        return None
    return Rows(layout, list(map(layout.pick, records)), way)


def _columns(content: Any, layouts: Layouts) -> Rows | None:
    if type(content) is list and content and len(layouts.names) == 1:
        return Rows(layouts.full, [(value,) for value in content], Way.ARRAYS)
    if type(content) is not dict:
        return None
    layout = layouts.of(content.keys())
    if layout is None:
        return None
    if _is_flat(content.values()):
        return Rows(layout, [layout.pick(content)], Way.BOXED) if len(content) == len(layout.names) else None
    if {*map(type, content.values())} != {list} or len({*map(len, content.values())}) != 1:
        return None
    if not all(_is_flat(content[name]) for name in content.keys() - layouts.names.keys()):
        return None
    rows: list[Row] = list(zip(*layout.pick(content), strict=True))
    return Rows(layout, rows, Way.ARRAYS) if rows else None


def _is_shallow(values: Iterable[Any], levels: int = _MAX_DEPTH) -> bool:
    """Whether nothing is nested so deep that MLflow's parser might give up on it and ours not."""
    for value in values:
        inner = value.values() if type(value) is dict else value
        if type(value) in (list, dict) and not (levels and _is_shallow(inner, levels - 1)):
            return False
    return True


def _is_flat(values: Iterable[Any]) -> bool:
    return SCALARS.issuperset(map(type, values))


READERS: dict[str, Callable[[Any, Layouts], Rows | None]] = {
    "dataframe_records": read_records,
    "dataframe_split": read_split,
    "instances": read_instances,
    "inputs": read_inputs,
}
