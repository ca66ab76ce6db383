"""Bodies made of signatures: MLflow itself takes them."""

import json
from typing import Any

import numpy as np
import pytest
from mlflow.models import Model, ModelSignature
from mlflow.pyfunc.scoring_server import _parse_json_data
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import Array, Map, Object, Property

from penstock.domain.signature import Signature
from penstock.wire.sample_body import NoBody, sample_body

COLUMNS = Schema([ColSpec(kind, kind.name) for kind in DataType])
NESTED = Schema(
    [
        ColSpec(Array(DataType.double), "array"),
        ColSpec(Map(DataType.string), "map"),
        ColSpec(Object([Property("inner", DataType.long)]), "object"),
    ]
)
UNNAMED = Schema([ColSpec(DataType.double), ColSpec(DataType.double)])
TENSOR = Schema([TensorSpec(np.dtype("float32"), (-1, 2, 3))])
TENSORS = Schema([TensorSpec(np.dtype("int64"), (-1, 2), "a"), TensorSpec(np.dtype("bool"), (-1,), "b")])


def fields(schema: Schema) -> list[dict[str, Any]]:
    return json.loads(schema.to_json())


@pytest.mark.parametrize("schema", [COLUMNS, NESTED, UNNAMED, TENSOR, TENSORS])
def test_mlflow_takes_the_body_and_its_types(schema: Schema) -> None:
    body = sample_body(Signature(fields(schema)))
    parsed = _parse_json_data(body.decode(), Model(signature=ModelSignature(schema)), schema)
    assert len(parsed.data) == (2 if schema is TENSORS else 1)


def test_a_tensor_has_its_shape() -> None:
    assert np.array(json.loads(sample_body(Signature(fields(TENSOR))))["inputs"]).shape == (1, 2, 3)


@pytest.mark.parametrize("inputs", [[], fields(Schema([TensorSpec(np.dtype("float32"), (-1, 5000, 5000))]))])
def test_what_no_body_can_be_made_of(inputs: list[dict[str, Any]]) -> None:
    with pytest.raises(NoBody):
        sample_body(Signature(inputs))
