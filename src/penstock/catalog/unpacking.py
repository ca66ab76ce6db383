"""A request and its answer, as they were logged: taken apart into rows of typed values, or said why they cannot be.

All four input formats are read. Columns that the signature does not know are left out, those that did not come are
null.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from penstock.catalog.column_types import JSON_TEXT, ColumnType, decode

_FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
Row = list[Any]


class LeftOut(Exception):
    """A request that gives no rows; the message says why, in few words that repeat."""


@dataclass(frozen=True, slots=True)
class ModelColumn:
    """A column of one model."""

    name: str | None
    """As the signature has it; None if it has none."""
    type: ColumnType


@dataclass(frozen=True, slots=True)
class ModelColumns:
    """Inputs and outputs of one model, in the signature's order; at least one of each."""

    inputs: tuple[ModelColumn, ...]
    outputs: tuple[ModelColumn, ...]
    is_guessed: bool = False
    """They are those of other versions: values are read by their names alone, unless there is only one."""


WHOLE = ModelColumn(None, JSON_TEXT)
"""The only column of a model without a signature: all of a row, as JSON."""


def unpack(request: str | None, response: str | None, model: ModelColumns) -> list[tuple[Row, Row]]:
    """Inputs and predictions of each row, typed, in the order of the model's columns.

    Raises:
        LeftOut: there are no rows to be had.
    """
    body, answer = _document(request, "request"), _document(response, "response")
    rows = _input_rows(body, model.inputs)
    predictions = _predictions(answer, len(rows), model.outputs)
    if model.is_guessed:
        _check_names(body, answer, model)
    return [
        (_typed(row, model.inputs, "request"), _typed(prediction, model.outputs, "response"))
        for row, prediction in zip(rows, predictions, strict=True)
    ]


def _check_names(body: dict[str, Any], answer: dict[str, Any], model: ModelColumns) -> None:
    """Leave out what can only be read in an order that is not known."""
    split = body.get("dataframe_split")
    names = next(body[name] for name in _FORMATS if name in body) if split is None else split.get("columns")
    has_names = isinstance(names, dict) or (isinstance(names, list) and all(isinstance(n, dict | str) for n in names))
    answers = answer["predictions"]
    has_labels = isinstance(answers, dict) or all(isinstance(each, dict) for each in answers)
    if not (has_names or len(model.inputs) == 1) or not (has_labels or len(model.outputs) == 1):
        raise LeftOut("model: not known any more, and its order of columns is needed")


def _document(text: str | None, what: str) -> dict[str, Any]:
    if text is None:
        raise LeftOut(f"{what}: not logged")
    try:
        document = decode(text)
    except ValueError:
        raise LeftOut(f"{what}: no JSON") from None
    if not isinstance(document, dict):
        raise LeftOut(f"{what}: no object")
    return document


def _typed(values: Row, columns: Sequence[ModelColumn], what: str) -> Row:
    typed = []
    for value, column in zip(values, columns, strict=True):
        try:
            typed.append(column.type.read(value))
        except (ValueError, TypeError, OverflowError):
            raise LeftOut(f"{what}: a value of column {column.name or 'without name'} is not of its type") from None
    return typed


def _input_rows(body: dict[str, Any], columns: Sequence[ModelColumn]) -> list[Row]:
    present = [name for name in _FORMATS if name in body]
    if len(present) != 1:
        raise LeftOut("request: none of the input formats" if not present else "request: several input formats")
    content = body[present[0]]
    match present[0]:
        case "dataframe_split":
            return _split_rows(content, columns)
        case "dataframe_records":
            return _records(content, columns)
        case _:
            return _tensor_rows(content, columns)


def _split_rows(content: Any, columns: Sequence[ModelColumn]) -> list[Row]:
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, list) or not all(isinstance(row, list) for row in data):
        raise LeftOut("request: data of dataframe_split is no list of lists")
    names = content.get("columns")
    if names is None or not (_is_named(columns) or _is_whole(columns)):
        return [_positional(row, columns) for row in data]
    if not isinstance(names, list) or any(len(row) != len(names) for row in data):
        raise LeftOut("request: rows of dataframe_split are not as long as its columns")
    if _is_whole(columns):
        return [[dict(zip(map(str, names), row, strict=True))] for row in data]
    places = {str(name): place for place, name in enumerate(names)}
    wanted = [places.get(column.name or "") for column in columns]
    return [[None if place is None else row[place] for place in wanted] for row in data]


def _records(content: Any, columns: Sequence[ModelColumn]) -> list[Row]:
    if not isinstance(content, list) or not all(isinstance(record, dict) for record in content):
        raise LeftOut("request: records are no list of objects")
    if _is_whole(columns):
        return [[record] for record in content]
    if not _is_named(columns):
        return [_positional(list(record.values()), columns) for record in content]
    return [[record.get(column.name) for column in columns] for record in content]


def _tensor_rows(content: Any, columns: Sequence[ModelColumn]) -> list[Row]:
    """`instances` and `inputs`: objects in a list, lists in an object, or values alone."""
    if isinstance(content, list):
        if content and isinstance(content[0], dict):
            return _records(content, columns)
        return [_positional(value, columns) for value in content]
    if not isinstance(content, dict):
        return [_positional(content, columns)]
    if _is_whole(columns):
        lengths = {len(value) if isinstance(value, list) else -1 for value in content.values()}
        return [[row] for row in _transposed(content, lengths.pop() if len(lengths) == 1 else -1)]
    if not _is_named(columns):
        raise LeftOut("request: names of columns for a model without")
    values = [content.get(column.name or "") for column in columns]
    given = {c.name: content[c.name] for c in columns if c.name in content}
    if not all(isinstance(given[c.name], list) and _holds_rows(given[c.name], c) for c in columns if c.name in given):
        return [values]
    lengths = {len(value) for value in given.values()}
    if len(lengths) != 1:
        raise LeftOut("request: columns of different lengths")
    return [[None if value is None else value[row] for value in values] for row in range(lengths.pop())]


def _holds_rows(value: list[Any], column: ModelColumn) -> bool:
    """Whether a list is one value for each row, and not the value of a single row."""
    return not column.type.is_list or all(isinstance(each, list) for each in value)


def _positional(value: Any, columns: Sequence[ModelColumn]) -> Row:
    """A row without names: its values in the model's order, or the only value."""
    if len(columns) == 1:
        return [_unwrapped(value, columns[0])]
    if not isinstance(value, list) or len(value) != len(columns):
        raise LeftOut("request: a row without names is not as long as the model's columns")
    return value


def _unwrapped(value: Any, column: ModelColumn) -> Any:
    """A value that may stand in a list of its own."""
    is_wrapped = isinstance(value, list) and len(value) == 1 and not column.type.is_list and column != WHOLE
    return value[0] if is_wrapped else value


def _is_whole(columns: Sequence[ModelColumn]) -> bool:
    return tuple(columns) == (WHOLE,)


def _is_named(columns: Sequence[ModelColumn]) -> bool:
    return all(column.name is not None for column in columns)


def _predictions(body: dict[str, Any], count: int, columns: Sequence[ModelColumn]) -> list[Row]:
    if "predictions" not in body:
        raise LeftOut("response: no predictions")
    answers = body["predictions"]
    if isinstance(answers, dict):
        answers = _transposed(answers, count)
    elif not isinstance(answers, list):
        answers = [answers]
    if len(answers) != count:
        raise LeftOut("response: not one prediction for each row")
    return [_prediction(answer, columns) for answer in answers]


def _transposed(columns: dict[str, Any], count: int) -> list[dict[str, Any]]:
    if all(isinstance(values, list) and len(values) == count for values in columns.values()):
        return [{name: values[row] for name, values in columns.items()} for row in range(count)]
    return [columns]


def _prediction(answer: Any, columns: Sequence[ModelColumn]) -> Row:
    if isinstance(answer, dict):
        if len(columns) > 1 or columns[0].name in answer:
            return [answer.get(column.name or "") for column in columns]
        if columns[0] != WHOLE and columns[0].name is None and len(answer) == 1:
            return [next(iter(answer.values()))]
        return [answer]
    if len(columns) == 1:
        return [_unwrapped(answer, columns[0])]
    if isinstance(answer, list) and len(answer) == len(columns):
        return answer
    raise LeftOut("response: a prediction has not as many values as the model's outputs")
