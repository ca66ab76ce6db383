"""Rows to try a model's tiers on, made of its signature and its input example.

They go the way of real requests: each is a body that the compiled input reads. The seed is fixed, so a model gets the
same probes wherever it is loaded.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from mlflow.types import DataType, Schema

from penstock.flavors.compiled.ports import InputReader

_SEED = 20_240_519
_SCALES = (1e-3, 1.0, 1.0, 30.0, 1e3, 1e6)
_EDGES = (1e300, 1e30, 5e-324, -0.0, 0.0, 1.0, -1.0, -1e30, 1e-310, 1e-40, 3e38, -1e308)
_FIRST = 6
"""Edges that come before landmarks, and so are tried in the shortest trial of them all: nulls, huge, tiny."""
_LONGEST = {"long": 2**63 - 1, "integer": 2**31 - 1}

Row = list[Any]


@dataclass(frozen=True, slots=True)
class Probes:
    """Rows, and how to make inputs of them."""

    reader: InputReader
    schema: Schema
    plain: tuple[Row, ...]
    """The example's and random ones, in no particular order: any of them together are one request."""
    edges: tuple[Row, ...]
    """Nulls, extreme values, thresholds, what matters most first: each is a request of its own, to be refused alone."""

    def input_of(self, rows: Sequence[Row]) -> Any:
        """One request's input; None if the compiled input leaves these rows to MLflow."""
        return self.reader.read(body_of(self.schema, rows))

    def at(self, landmarks: Any) -> "Probes":
        """These, and rows at some landmarks and beside them."""
        if landmarks is None or self.schema.is_tensor_spec():
            return self
        kinds = [column.type for column in self.schema.inputs]
        marks = list(_landmark_rows(self.plain[0], kinds, landmarks))
        return replace(self, edges=(*self.edges[:_FIRST], *marks[:3], *self.edges[_FIRST:], *marks[3:]))


def make_probes(reader: InputReader, schema: Schema, examples: Iterable[bytes], count: int) -> Probes:
    """Probes for a signature, the compiled reader of it, and bodies that the model is known to take.

    `count` is how many random rows to make.
    """
    rng = np.random.default_rng(_SEED)
    seen = list(_example_rows(reader, schema, examples))
    if schema.is_tensor_spec():
        plain = [*seen, *(_random_tensors(schema, rng) for _ in range(count))]
        return Probes(reader, schema, tuple(plain), ())
    kinds = [column.type for column in schema.inputs]
    known = [[row[index] for row in seen] for index in range(len(kinds))]
    plain = [[_random(kind, rng, values) for kind, values in zip(kinds, known, strict=True)] for _ in range(count)]
    plain = [*seen, *_near(seen, kinds, rng, count // 4), *plain]
    base = seen[0] if seen else plain[0]
    holes = [[None if index == hole else value for index, value in enumerate(base)] for hole in range(len(base))][:4]
    extremes = [[_edge(kind, value, base[index]) for index, kind in enumerate(kinds)] for value in _EDGES]
    edges = [[None] * len(base), *holes[:1], *extremes, *holes[1:]]
    return Probes(reader, schema, tuple(plain), tuple(edges))


def body_of(schema: Schema, rows: Sequence[Row]) -> bytes:
    """A request of some rows."""
    if not schema.is_tensor_spec():
        names = schema.input_names() if schema.has_input_names() else list(range(len(schema.inputs)))
        return msgspec.json.encode({"dataframe_split": {"columns": names, "data": rows}})
    if not schema.has_input_names():
        return msgspec.json.encode({"inputs": [row[0] for row in rows]})
    names = schema.input_names()
    return msgspec.json.encode({"inputs": {name: [row[at] for row in rows] for at, name in enumerate(names)}})


def _example_rows(reader: InputReader, schema: Schema, examples: Iterable[bytes]) -> Iterable[Row]:
    """The rows of examples, as plain JSON values."""
    for body in examples:
        read = reader.read(body)
        if read is None:
            continue
        frame = reader.frame((read,))
        if schema.is_tensor_spec():
            tensors = list(frame.values()) if isinstance(frame, dict) else [frame]
            yield from ([tensor[at].tolist() for tensor in tensors] for at in range(read.rows))
        else:
            columns = [
                [_plain(value) for value in frame[name].tolist()] if name in frame else [None] * read.rows
                for name in (schema.input_names() if schema.has_input_names() else frame.columns)
            ]
            yield from map(list, zip(*columns, strict=True))


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") and value == value else None  # noqa: PLR0124 - NaT


def _random(kind: Any, rng: np.random.Generator, known: Sequence[Any]) -> Any:
    match kind:
        case DataType.double | DataType.float:
            value = float(rng.normal() * rng.choice(_SCALES))
            return float(np.float32(value)) if kind is DataType.float else value
        case DataType.long | DataType.integer:
            return int(rng.integers(-100, 100) * int(rng.choice((1, 1, 1, 1000))))
        case DataType.boolean:
            return bool(rng.integers(2))
        case DataType.datetime if not known:
            return f"20{rng.integers(10, 30)}-0{rng.integers(1, 10)}-1{rng.integers(10)}T0{rng.integers(10)}:00:00"
        case _:
            return known[int(rng.integers(len(known)))] if known else "a"


def _near(rows: Sequence[Row], kinds: Sequence[Any], rng: np.random.Generator, count: int) -> Iterable[Row]:
    """Mixtures of the example's rows, with numbers a little changed: what a model expects, more or less."""
    if not rows:
        return
    for _ in range(count):
        picked = [rows[int(rng.integers(len(rows)))][index] for index in range(len(kinds))]
        yield [_changed(kind, value, rng) for kind, value in zip(kinds, picked, strict=True)]


def _changed(kind: Any, value: Any, rng: np.random.Generator) -> Any:
    if value is None or kind not in {DataType.double, DataType.float}:
        return value
    changed = value * (1 + 0.1 * float(rng.normal()))
    return float(np.float32(changed)) if kind is DataType.float else changed


def _edge(kind: Any, value: float, fallback: Any) -> Any:
    match kind:
        case DataType.double:
            return value
        case DataType.float:
            return float(np.float32(value)) if abs(value) <= float(np.finfo(np.float32).max) else fallback
        case DataType.long | DataType.integer:
            largest = _LONGEST[kind.name]
            return int(max(-largest, min(largest, value)))
        case DataType.boolean:
            return bool(value)
        case _:
            return fallback


def _landmark_rows(base: Row, kinds: Sequence[Any], landmarks: Any) -> Iterable[Row]:
    for values in landmarks:
        for toward in (-math.inf, None, math.inf):
            yield [
                (float(value) if toward is None else math.nextafter(value, toward))
                if kind is DataType.double and math.isfinite(value)
                else fallback
                for kind, value, fallback in zip(kinds, values, base, strict=True)
            ]


def _random_tensors(schema: Schema, rng: np.random.Generator) -> Row:
    row = []
    for spec in schema.inputs:
        shape = [4 if size < 0 else size for size in spec.shape[1:]]
        if spec.type.kind == "f":
            row.append((rng.normal(size=shape) * rng.choice(_SCALES)).astype(spec.type).tolist())
        elif spec.type.kind in "iu":
            row.append(rng.integers(0, 100, size=shape).tolist())
        elif spec.type.kind == "b":
            row.append((rng.integers(0, 2, size=shape) > 0).tolist())
        else:
            row.append(np.full(shape, "a").tolist())
    return row
