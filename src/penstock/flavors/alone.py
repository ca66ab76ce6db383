"""A model on its own: how long `predict` takes without any server around it."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from time import perf_counter_ns

import mlflow
from mlflow.pyfunc import PyFuncModel, scoring_server

from penstock.domain.signature import Signature

_FEWEST_CALLS = 3


def load_alone(folder: Path) -> PyFuncModel:
    """The model in a folder, as any program would load it; raises whatever its code raises."""
    return mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)


def signature_of(model: PyFuncModel) -> Signature:
    """What its inputs look like; of a model without a signature, nothing."""
    logged = model.metadata.signature
    return Signature(json.loads(logged.inputs.to_json()) if logged is not None and logged.inputs is not None else [])


def time_predict(model: PyFuncModel, body: bytes, seconds: float, record: Callable[[int], None]) -> None:
    """Call `predict` again and again on the input that a body holds; `record` gets the nanoseconds of each call.

    The body is parsed by MLflow's own code, once. The first call, which is the slowest, is not recorded.

    Raises:
        Exception: whatever the parser or the model trips over.
    """
    parsed = scoring_server._parse_json_data(body.decode(), model.metadata, model.metadata.get_input_schema())
    model.predict(parsed.data, params=parsed.params)
    ends_s = time.monotonic() + seconds
    calls = 0
    while calls < _FEWEST_CALLS or time.monotonic() < ends_s:
        began_ns = perf_counter_ns()
        model.predict(parsed.data, params=parsed.params)
        record(perf_counter_ns() - began_ns)
        calls += 1
