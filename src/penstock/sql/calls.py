"""Rows of SQL as requests of an endpoint, and its answers as values for the rows: pure.

A row's request is one of

- a struct: a row of a model's named inputs, sent together with others; for a model that talks, the body itself;
- a text that is a JSON object: the body itself, sent as it is;
- anything else: the one input of a model, sent together with others; for a model that talks, what the user says.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Any

from penstock.domain.errors import BadRequest
from penstock.sql.encoding import encoded
from penstock.sql.limits import BATCH_BYTES

Params = Mapping[str, Any]


class Form(StrEnum):
    """What a request looks like, and where its answer has the values."""

    BODY = auto()
    """As it was given; the value is the whole answer."""
    TABLE = auto()
    """Rows with names; a prediction each."""
    INPUTS = auto()
    """Values without names; a prediction each."""
    CHAT = auto()
    COMPLETION = auto()
    RESPONSE = auto()
    EMBEDDING = auto()
    """Texts; a vector each."""


_FORMS_OF_TASKS = {
    "llm/v1/chat": Form.CHAT,
    "agent/v1/chat": Form.CHAT,
    "agent/v2/chat": Form.CHAT,
    "llm/v1/completions": Form.COMPLETION,
    "llm/v1/embeddings": Form.EMBEDDING,
    "agent/v1/responses": Form.RESPONSE,
}
_TOGETHER = {Form.TABLE, Form.INPUTS, Form.EMBEDDING}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of the endpoint that is asked."""

    task: str | None
    """What its models are for, if they talk."""
    inputs: tuple[str, ...]
    """The names of its models' inputs, as far as they have any."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, for one or several rows."""

    form: Form
    rows: tuple[int, ...]
    """Where the rows stand in what was asked."""
    columns: tuple[str, ...]
    items: tuple[Any, ...]
    """What each row gives to the request, ready for JSON."""
    params: Params

    def halves(self) -> tuple["Call", "Call"]:
        """The same in two requests."""
        middle = len(self.rows) // 2
        return tuple(
            Call(self.form, self.rows[part], self.columns, self.items[part], self.params)
            for part in (slice(None, middle), slice(middle, None))
        )  # type: ignore[return-value]

    def body(self) -> bytes:
        """The request's body."""
        return encoded(_body(self))


def calls(asked: Asked, requests: Sequence[Any], params: Params, batch_rows: int) -> list[Call]:
    """The requests for some rows; rows without one (NULL) are in none.

    Raises:
        BadRequest: a row cannot be put into a request; the message says which.
    """
    made: list[Call] = []
    waiting: dict[tuple[Form, tuple[str, ...]], list[tuple[int, Any]]] = {}
    for row, request in enumerate(requests):
        if request is None:
            continue
        form, columns, item = _item(asked, request, row)
        if form in _TOGETHER:
            waiting.setdefault((form, columns), []).append((row, item))
        else:
            made.append(Call(form, (row,), columns, (item,), params))
    for (form, columns), rows in waiting.items():
        made += [
            Call(form, tuple(row for row, _ in part), columns, tuple(item for _, item in part), params)
            for part in _parts(rows, batch_rows)
        ]
    return sorted(made, key=lambda call: call.rows[0])


def values(call: Call, document: Any) -> list[Any] | None:
    """The value of each row of a call; None if the answer has not one for each of several."""
    found = _values(call, document)
    if found is not None and len(found) == len(call.rows):
        return found
    return [document] if len(call.rows) == 1 else None


def shown(item: Any) -> str:
    """A row in a message, shortened."""
    text = item if isinstance(item, str) else encoded(item).decode()
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


_SHOWN = 200


def _item(asked: Asked, request: Any, row: int) -> tuple[Form, tuple[str, ...], Any]:
    form = _FORMS_OF_TASKS.get(asked.task or "")
    document = _object(request)
    if document is not None or (form is not None and isinstance(request, Mapping)):
        return Form.BODY, (), request if document is None else document
    if isinstance(request, Mapping):
        return Form.TABLE, tuple(request), tuple(request.values())
    if form is not None:
        if not isinstance(request, str):
            raise BadRequest(f"row {row + 1}: got {shown(request)}; wanted a text, for a model that talks.")
        return form, (), request
    if len(asked.inputs) > 1:
        raise BadRequest(
            f"row {row + 1}: got the value {shown(request)}; "
            f"wanted a struct of the model's inputs, {', '.join(asked.inputs)}."
        )
    return (Form.TABLE, asked.inputs, (request,)) if asked.inputs else (Form.INPUTS, (), request)


def _object(request: Any) -> dict[str, Any] | None:
    """What a text holds, if that is a JSON object."""
    if not isinstance(request, str) or not request.lstrip().startswith("{"):
        return None
    try:
        document = json.loads(request)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _parts(rows: list[tuple[int, Any]], batch_rows: int) -> Iterator[list[tuple[int, Any]]]:
    """The rows in runs that keep to both bounds."""
    part: list[tuple[int, Any]] = []
    size_bytes = 0
    for row in rows:
        row_bytes = len(encoded(row[1]))
        if part and (len(part) >= batch_rows or size_bytes + row_bytes > BATCH_BYTES):
            yield part
            part, size_bytes = [], 0
        part.append(row)
        size_bytes += row_bytes
    if part:
        yield part


def _body(call: Call) -> dict[str, Any]:
    first = call.items[0]
    params = {"params": call.params} if call.params else {}
    match call.form:
        case Form.BODY:
            return {**first, **call.params}
        case Form.TABLE:
            return {"dataframe_split": {"columns": call.columns, "data": call.items}, **params}
        case Form.INPUTS:
            return {"inputs": call.items, **params}
        case Form.CHAT:
            return {"messages": [{"role": "user", "content": first}], **call.params}
        case Form.COMPLETION:
            return {"prompt": first, **call.params}
        case Form.RESPONSE:
            return {"input": [{"role": "user", "content": first}], **call.params}
        case Form.EMBEDDING:
            return {"input": call.items, **call.params}


def _values(call: Call, document: Any) -> list[Any] | None:
    try:
        match call.form:
            case Form.BODY:
                return [document]
            case Form.TABLE | Form.INPUTS:
                return _predictions(document["predictions"])
            case Form.CHAT:
                talk = document["choices"][0]["message"] if "choices" in document else document["messages"][-1]
                return [talk["content"]]
            case Form.COMPLETION:
                return [document["choices"][0]["text"]]
            case Form.RESPONSE:
                parts = [part for item in document["output"] for part in item.get("content") or ()]
                return ["".join(part["text"] for part in parts if "text" in part)]
            case Form.EMBEDDING:
                return [item["embedding"] for item in document["data"]]
    except (KeyError, IndexError, TypeError, AttributeError):
        return None  # a model of its own mind: the whole answer is the value


def _predictions(predictions: Any) -> list[Any] | None:
    """A prediction for each row: of a list its items, of columns what they have at each place."""
    if isinstance(predictions, list):
        return predictions
    if isinstance(predictions, dict) and predictions and all(isinstance(v, list) for v in predictions.values()):
        columns = list(predictions.values())
        if len({len(column) for column in columns}) == 1:
            return [dict(zip(predictions, row, strict=True)) for row in zip(*columns, strict=True)]
    return None
