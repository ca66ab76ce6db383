"""What a model gives back: its parts for each of several queries, and as the JSON that MLflow's scorer would send."""

from collections.abc import Sequence
from io import StringIO
from itertools import accumulate, pairwise
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from mlflow.pyfunc import scoring_server

_PLAIN_KINDS = frozenset("fiub")
_prediction_encoder = msgspec.json.Encoder()


def split(output: Any, sizes: Sequence[int]) -> list[Any] | None:
    """The parts of an output that belong to so many rows each; None if it has not one element for each row."""
    if not isinstance(output, np.ndarray | pd.DataFrame | pd.Series | list):
        return None
    if isinstance(output, np.ndarray) and output.ndim == 0:
        return None
    bounds = [0, *accumulate(sizes)]
    if len(output) != bounds[-1]:
        return None
    if isinstance(output, pd.DataFrame | pd.Series):
        return [output.iloc[low:high] for low, high in pairwise(bounds)]
    return [output[low:high] for low, high in pairwise(bounds)]


def encode(output: Any) -> bytes:
    """An output as the body of an answer.

    Plain arrays are encoded directly; msgspec writes NaN and infinities as null, so that these, like all other
    outputs, are left to MLflow's own encoder.

    Raises:
        Exception: whatever MLflow's encoder trips over.
    """
    if type(output) is np.ndarray and output.dtype.kind in _PLAIN_KINDS:
        body = b'{"predictions":%b}' % _prediction_encoder.encode(output.tolist())
        if b"null" not in body:
            return body
    text = StringIO()
    scoring_server.predictions_to_json(output, text)
    return text.getvalue().encode()
