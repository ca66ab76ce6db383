"""What a model gives back as the JSON that MLflow's scorer would send."""

from collections.abc import Sequence
from io import StringIO
from itertools import accumulate
from typing import Any

import msgspec
import numpy as np
from mlflow.pyfunc import scoring_server

from penstock.flavors.outputs import Records, part_of

_PLAIN_KINDS = frozenset("fiub")
_encode = msgspec.json.Encoder().encode


def encode(output: Any) -> bytes:
    """An output as the body of an answer.

    Plain values are encoded directly, 0.3 us in place of 8 for one row. msgspec writes NaN and infinities as null, so
    that these, like all other outputs, are left to MLflow's own encoder.

    Raises:
        Exception: whatever MLflow's encoder trips over.
    """
    plain = _plain(output)
    if plain is not None:
        body = _encode(plain)
        if b"null" not in body:
            return b'{"predictions":%b}' % body
    text = StringIO()
    scoring_server.predictions_to_json(output.frame() if isinstance(output, Records) else output, text)
    return text.getvalue().encode()


def encode_parts(output: Any, sizes: Sequence[int]) -> list[bytes]:
    """The same for parts of an output of so many rows each, one after the other.

    Raises:
        Exception: whatever MLflow's encoder trips over.
    """
    ends = [*accumulate(sizes)]
    if type(output) is np.ndarray and output.ndim == 1 and output.dtype.kind in _PLAIN_KINDS:
        body = _encode(output.tolist())
        if b"null" not in body:
            values = body[1:-1].split(b",")
            return [
                b'{"predictions":[%b]}' % b",".join(values[end - size : end])
                for size, end in zip(sizes, ends, strict=True)
            ]
    return [encode(part_of(output, end - size, end)) for size, end in zip(sizes, ends, strict=True)]


def _plain(output: Any) -> list[Any] | None:
    if type(output) is np.ndarray and output.dtype.kind in _PLAIN_KINDS:
        values: list[Any] = output.tolist()
        return values if type(values) is list else None
    return output.as_dicts() if type(output) is Records else None
