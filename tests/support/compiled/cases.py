"""Signatures and bodies for them, most as clients send them, many with something wrong. Strategies of hypothesis."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from hypothesis import strategies as st
from mlflow.types import ColSpec, TensorSpec
from mlflow.types.schema import Array, DataType

from support.compiled.mutations import mutated_bytes, mutated_document
from support.compiled.values import DATETIMES, ELEMENTS, FLAT, NP_TYPES, NULLABLE, VALUES, with_raw

BODIES = 4
Draw = Callable[[st.SearchStrategy[Any]], Any]
Spec = ColSpec | TensorSpec

_TYPES = sorted(VALUES)
_NUMBERS = ["double", "double", "long", "integer", "float"]
_NAMES = [
    *("a", "b", "c", "f1", "f2", "petal length (cm)", "größe", "日本", "A"),
    *("inputs", "columns", "data", "index", "params", "messages", "instances", "0", "a.b", "None"),
]


@dataclass(frozen=True)
class Body:
    """A body, and whether nothing was done to make it wrong."""

    text: bytes
    is_right: bool


@dataclass(frozen=True)
class Case:
    """A signature with some bodies."""

    specs: tuple[Spec, ...]
    is_common: bool
    """Whether it is of the sort that most models have."""
    bodies: tuple[Body, ...]


@st.composite
def cases(draw: Draw) -> Case:
    """Any signature, weighted to the common ones."""
    kind = draw(st.integers(0, 99))
    specs: tuple[Spec, ...]
    if kind < 76:
        specs = columns = draw(_columns())
        document = partial(_table, columns=columns)
    elif kind < 94:
        specs = tensors = draw(_tensors())
        document = partial(_arrays, tensors=tensors)
    else:
        columns = tuple(ColSpec(spec.type, f"c{at}") for at, spec in enumerate(draw(_columns())))
        specs = draw(st.sampled_from([_unnamed(columns), (*columns, ColSpec("binary", "x")), (*columns, _LIST)]))
        document = partial(_table, columns=columns)
    return Case(specs, kind < 94, tuple(_body(draw, document(draw)) for _ in range(BODIES)))


_LIST = ColSpec(Array(DataType.double), "list")


def _unnamed(columns: tuple[ColSpec, ...]) -> tuple[ColSpec, ...]:
    return tuple(ColSpec(column.type) for column in columns)


def _body(draw: Draw, document: dict[str, Any]) -> Body:
    if draw(st.integers(0, 6)) == 0:
        document["client_request_id"] = draw(VALUES["string"])
    is_right = draw(st.booleans())
    if not is_right and draw(st.integers(0, 3)):
        document = mutated_document(draw, document)
    separators = draw(st.sampled_from([(", ", ": "), (",", ":"), (" ,\n", " : ")]))
    text = json.dumps(document, ensure_ascii=draw(st.booleans()), separators=separators)
    data = with_raw(text).encode("utf-8", "surrogatepass")
    if not is_right and draw(st.integers(0, 3)) == 0:
        data = mutated_bytes(draw, data)
    return Body(data, is_right)


@st.composite
def _columns(draw: Draw) -> tuple[ColSpec, ...]:
    types = draw(st.sampled_from([["double"], ["double"], _NUMBERS, _TYPES, _TYPES, ["double", "string", "long"]]))
    names = draw(st.lists(st.sampled_from(_NAMES), min_size=1, max_size=7, unique=True))
    may_be_optional = draw(st.integers(0, 3)) == 0
    return tuple(
        ColSpec(draw(st.sampled_from(types)), name, required=not (may_be_optional and draw(st.booleans())))
        for name in names
    )


def _table(draw: Draw, columns: tuple[ColSpec, ...]) -> dict[str, Any]:
    """A body for named columns."""
    size = draw(st.sampled_from([1, 1, 1, 2, 3]))
    values = {
        column.name: _column(draw, column.type.name, size)
        for column in columns
        if column.required or draw(st.booleans())
    }
    for name in draw(st.sampled_from([[]] * 6 + [["extra"], ["z", "columns "]])):
        values[name] = draw(st.lists(FLAT, min_size=size, max_size=size))
    if draw(st.integers(0, 2)) == 0:
        values = {name: values[name] for name in draw(st.permutations(list(values)))}
    if draw(st.integers(0, 19)) == 0:
        size *= 30
        values = {name: column * 30 for name, column in values.items()}
    records = [{name: column[at] for name, column in values.items()} for at in range(size)]
    match draw(st.sampled_from(_FORMS)):
        case "records":
            return {"dataframe_records": records}
        case "split":
            return {"dataframe_split": {"columns": list(values), "data": [[*record.values()] for record in records]}}
        case "labelled":
            labels = draw(
                st.sampled_from([[*range(size)], [*range(7, 7 + size)], [3] * size, [*map(str, range(size))]])
            )
            rows = [[*record.values()] for record in records]
            return {"dataframe_split": {"index": labels, "columns": list(values), "data": rows}}
        case "list" if len(columns) == 1 and values.keys() == {columns[0].name}:
            return {draw(st.sampled_from(["inputs", "instances"])): values[columns[0].name]}
        case "single" if size == 1:
            return {"inputs": records[0]}
        case "columns":
            return {draw(st.sampled_from(["inputs", "inputs", "instances"])): values}
        case "inputs":
            return {"inputs": records}
        case _:
            return {"instances": records}


_FORMS = ["records", "records", "split", "split", "labelled", "list", "single", "columns", "inputs", "instances"]


def _column(draw: Draw, type_: str, size: int) -> list[Any]:
    values = draw(st.sampled_from(DATETIMES)) if type_ == "datetime" else VALUES[type_]
    column = draw(st.lists(values, min_size=size, max_size=size))
    if type_ in NULLABLE and draw(st.integers(0, 4)) == 0:
        column = [None if draw(st.booleans()) else value for value in column]
    return column


@st.composite
def _tensors(draw: Draw) -> tuple[TensorSpec, ...]:
    names = draw(st.sampled_from([[None], [None], [None], ["x"], ["x", "y"]]))
    shapes = [(-1, 3), (-1, 3), (-1, 1), (-1,), (-1, 2, 2), (-1, -1), (2, 2)]
    types = draw(st.sampled_from([["float64"], ["float64", "float32", "int64"], sorted(ELEMENTS)]))
    return tuple(
        TensorSpec(NP_TYPES[draw(st.sampled_from(types))], draw(st.sampled_from(shapes)), name) for name in names
    )


def _arrays(draw: Draw, tensors: tuple[TensorSpec, ...]) -> dict[str, Any]:
    """A body for tensors."""
    rows = draw(st.integers(1, 3))
    nested = {spec.name: _nested(draw, spec, rows) for spec in tensors}
    if tensors[0].name is not None:
        if draw(st.integers(0, 2)) == 0 and len({*map(len, nested.values())}) == 1:
            size = len(nested[tensors[0].name])
            return {"instances": [{name: value[at] for name, value in nested.items()} for at in range(size)]}
        return {draw(st.sampled_from(["inputs", "inputs", "instances"])): nested}
    (values,) = nested.values()
    form = draw(st.sampled_from(["inputs", "inputs", "instances", "split", "records"]))
    if form in ("inputs", "instances") or len(tensors[0].shape) != 2:
        return {"inputs" if form != "instances" else form: values}
    names = [f"c{at}" for at in range(len(values[0]))]
    if form == "split":
        return {"dataframe_split": {"columns": names, "data": values}}
    return {"dataframe_records": [dict(zip(names, row, strict=True)) for row in values]}


def _nested(draw: Draw, spec: TensorSpec, rows: int) -> Any:
    shape = [rows if at == 0 and size == -1 else size for at, size in enumerate(spec.shape)]
    shape = [draw(st.integers(1, 3)) if size == -1 else size for size in shape]
    values = ELEMENTS[spec.type.name]
    if spec.type.kind == "f" and draw(st.integers(0, 5)) == 0:
        values = st.one_of(values, st.none())
    return _filled(draw, values, shape)


def _filled(draw: Draw, values: st.SearchStrategy[Any], shape: list[int]) -> Any:
    if len(shape) == 1:
        return draw(st.lists(values, min_size=shape[0], max_size=shape[0]))
    return [_filled(draw, values, shape[1:]) for _ in range(shape[0])]
