"""The model of a run: loaded as a replica loads it, asked a chunk at a time."""

import contextlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from mlflow.models import utils

from penstock.batch.isolation import Columns, Scored, score_rows
from penstock.batch.outputs import column_of
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.predict_tier import PredictTier, TierFinding
from penstock.flavors.compiled.arrow import ArrowReader, compile_arrow
from penstock.flavors.compiled.ports import Input
from penstock.flavors.example import read_example
from penstock.flavors.pyfunc import load, one_line, root_cause
from penstock.flavors.tiers.array import nameless
from penstock.flavors.tiers.loaded import Estimator, estimator_of
from penstock.flavors.tiers.one_thread import in_one_thread
from penstock.flavors.tiers.selection import select
from penstock.stores.model_files import traits_in

_PROBABILITIES = "predict_proba"
_TYPES = {
    "double": pa.float64(),
    "float": pa.float32(),
    "long": pa.int64(),
    "integer": pa.int32(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "datetime": pa.timestamp("us"),
}
"""Arrow's by MLflow's name, for types that need no more words."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """How the model of a run is asked, in whichever process."""

    folder: str
    """Where its files are."""
    params: Mapping[str, Any]
    has_probabilities: bool
    finding: TierFinding | None = None
    """What another process of the run has found out about its tier."""


class BatchModel:
    """A loaded model. Chunks come with the model's own names of columns."""

    def __init__(self, call: ModelCall) -> None:
        """Load it.

        Raises:
            InvalidParameterValue: it has no probabilities, or does not take the params.
            Exception: whatever the model's own code raises while it is loaded.
        """
        folder = Path(call.folder)
        predictor = load(folder, traits_in(folder))
        self._model = predictor.model
        self._schema = predictor.metadata.get_input_schema()
        self._params = dict(call.params)
        self._check_params()
        self._reader = compile_arrow(predictor.metadata)
        example = read_example(predictor.metadata, folder).body if call.finding is None else None
        examples = () if example is None else (example,)
        chosen = select(self._model, self._reader, examples, earlier=call.finding)
        self.finding = chosen.finding
        """What the tier is, and why."""
        self._predict = None if self._params else chosen.predict
        estimator = estimator_of(self._model)
        self._long_way = _long_way(self._model.predict, estimator)
        self._probabilities = _probabilities(estimator, self._reader) if call.has_probabilities else None
        self._types = self.known_types({})
        self._has_scored = False

    @property
    def input_names(self) -> tuple[str, ...] | None:
        """What the model calls its columns; None if it takes whatever it gets."""
        if self._schema is None or not self._schema.has_input_names():
            return None
        return tuple(self._schema.input_names())

    @property
    def optional_names(self) -> frozenset[str]:
        """Those of its columns that may be left out."""
        if self._schema is None or not self._schema.has_input_names():
            return frozenset()
        return frozenset(self._schema.optional_input_names())

    def known_types(self, columns: Mapping[str, str]) -> pa.Schema:
        """What types the source's columns are to have, as far as the signature tells; `columns` maps their names."""
        specs = [] if self.input_names is None else self._schema.inputs
        types = {columns.get(spec.name, spec.name): _TYPES.get(_type_name(spec)) for spec in specs}
        return pa.schema([(name, kind) for name, kind in types.items() if kind is not None])

    @property
    def output_type(self) -> pa.DataType | None:
        """Of the prediction, where the signature tells of one number."""
        outputs = self._model.metadata.get_output_schema()
        if outputs is None or outputs.is_tensor_spec() or len(outputs.inputs) != 1:
            return None
        kind = _TYPES.get(_type_name(outputs.inputs[0]))
        return kind if kind is not None and (pa.types.is_floating(kind) or pa.types.is_integer(kind)) else None

    @property
    def is_light(self) -> bool:
        """Whether it works without Python's lock, so that threads of one process do what processes would."""
        return self._predict is not None and self.finding.tier.rank >= PredictTier.ARRAY.rank

    def check_types(self, schema: pa.Schema) -> None:
        """See whether columns of these types are what the signature takes.

        Raises:
            InvalidParameterValue: they are not, whatever rows they hold.
        """
        if self._schema is None or self._schema.is_tensor_spec() or self.input_names is None:
            return
        empty = self._conformed(schema.empty_table())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                utils._enforce_schema(empty.to_pandas(), self._schema)
        except Exception as exc:
            raise InvalidParameterValue(
                f"source: its columns do not fit the model's signature: {one_line(root_cause(exc))}"
            ) from exc

    def score(self, table: pa.Table) -> Scored:
        """Score a chunk; raises `Unscorable` if it is the first and no row can be."""
        with np.errstate(all="ignore"):
            scored = score_rows(self._ask, table, is_first=not self._has_scored)
        self._has_scored = self._has_scored or scored.columns is not None
        return scored

    def _ask(self, table: pa.Table) -> Columns:
        rows, table = table.num_rows, self._conformed(table)
        given = self._reader.take(table) if self._reader is not None else None
        if given is not None and self._predict is not None:
            output = self._predict((given,))
        else:
            output = self._long_way(self._input_of(table), params=self._params or None)
        columns = [column_of(output, rows)]
        if self._probabilities is not None:
            columns.append(column_of(self._probabilities(given, table), rows))
        return columns

    def _conformed(self, table: pa.Table) -> pa.Table:
        """Numbers of the signature's types, where nothing of their values is lost: as an endpoint takes them from JSON.

        MLflow itself refuses a DataFrame's 64-bit integers for doubles.
        """
        for field in self._types:
            at = table.schema.get_field_index(field.name)
            if at < 0 or table.schema.field(at).type == field.type or not _are_numbers(table.schema.field(at), field):
                continue
            with contextlib.suppress(pa.ArrowInvalid):
                table = table.set_column(at, field.name, pc.cast(table.column(at), field.type))
        return table

    def _input_of(self, table: pa.Table) -> Any:
        """A chunk as MLflow's `predict` takes it."""
        if self._schema is None or not self._schema.is_tensor_spec():
            return frame_of(table)
        specs = self._schema.inputs
        if specs[0].name is not None:
            return {spec.name: _tensor(table.column(spec.name), spec.type) for spec in specs}
        columns = table.columns
        if len(columns) == 1 and _is_list(columns[0].type):
            return _tensor(columns[0], specs[0].type)
        return np.column_stack([_tensor(column, specs[0].type) for column in columns])

    def _check_params(self) -> None:
        known = self._model.metadata.get_params_schema()
        names = [param.name for param in known.params] if known is not None else []
        strange = [name for name in self._params if name not in names]
        if strange:
            told = ", ".join(names) or "none"
            raise InvalidParameterValue(f"params: got {', '.join(strange)}; the model's signature has {told}.")
        try:
            utils._enforce_params_schema(dict(self._params), known)
        except Exception as exc:
            raise InvalidParameterValue(f"params: {one_line(root_cause(exc))}") from exc


def frame_of(table: pa.Table) -> pd.DataFrame:
    """A chunk as a DataFrame; lists, structs and maps are Python's own, as JSON would have them."""
    nested = [name for name, column in zip(table.column_names, table.columns, strict=True) if _is_nested(column.type)]
    if not nested:
        return table.to_pandas()
    frame = table.drop_columns(nested).to_pandas()
    for name in nested:
        values = np.empty(table.num_rows, object)
        values[:] = table.column(name).to_pylist(maps_as_pydicts="strict")
        frame[name] = values
    return frame[table.column_names]


def _long_way(predict: Callable[..., Any], estimator: Estimator | None) -> Callable[..., Any]:
    """MLflow's own `predict`."""
    if estimator is None or not estimator.is_sklearn:
        return predict
    return lambda data, params: in_one_thread(lambda given: predict(given, params=params))(data)


def _probabilities(estimator: Estimator | None, reader: ArrowReader | None) -> Callable[[Input | None, pa.Table], Any]:
    """The estimator's own probabilities of its classes.

    Raises:
        InvalidParameterValue: it has none.
    """
    if estimator is None or not hasattr(estimator.thing, _PROBABILITIES):
        raise InvalidParameterValue("probabilities: the model has no predict_proba.")
    on_frames = in_one_thread(getattr(estimator.thing, _PROBABILITIES))
    copied = nameless(estimator.thing) if estimator.is_sklearn else None
    on_arrays = None if copied is None else in_one_thread(getattr(copied, _PROBABILITIES))

    def ask(given: Input | None, table: pa.Table) -> Any:
        if given is None or reader is None:
            return on_frames(frame_of(table))
        matrix = reader.array((given,)) if on_arrays is not None else None
        return on_frames(reader.frame((given,))) if matrix is None or on_arrays is None else on_arrays(matrix)

    return ask


def _tensor(column: pa.ChunkedArray, dtype: "np.dtype[Any]") -> Any:
    return np.array(column.to_pylist() if _is_nested(column.type) else column.to_numpy(), dtype=dtype)


def _are_numbers(*fields: pa.Field) -> bool:
    return all(pa.types.is_integer(field.type) or pa.types.is_floating(field.type) for field in fields)


def _type_name(spec: Any) -> str:
    return str(getattr(getattr(spec, "type", None), "name", ""))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_nested(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind))
