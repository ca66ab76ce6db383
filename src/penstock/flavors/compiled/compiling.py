"""Which signatures can be compiled."""

from mlflow.models import Model
from mlflow.types import Schema

from penstock.flavors.compiled.columns import TYPES, Column
from penstock.flavors.compiled.ports import InputReader
from penstock.flavors.compiled.table import TableReader
from penstock.flavors.compiled.tensors import Tensor, TensorReader


def compile_input(metadata: Model) -> InputReader | None:
    """Decide how bodies become the input of a model; None if all of them are to be read by MLflow.

    That is so without a signature, for type hints (the model's own code reads the body then), for columns without
    names, and wherever one column or tensor is of a type that is not known here. A body with `params` is never taken,
    so a model whose signature has some gets their defaults, and whoever calls it has to give it these.
    """
    schema = metadata.get_input_schema()
    if schema is None or _has_type_hints(metadata):
        return None
    if schema.is_tensor_spec():
        return _tensors(schema)
    if not schema.has_input_names():
        return None
    columns = []
    for spec in schema.inputs:
        type_ = TYPES.get(getattr(spec.type, "name", ""))
        if type_ is None or type(spec.name) is not str or not spec.name:
            return None
        columns.append(Column(spec.name, type_, is_required=spec.required))
    if len({column.name for column in columns}) != len(columns):
        return None
    return TableReader(tuple(columns))


def _tensors(schema: Schema) -> InputReader | None:
    tensors = tuple(Tensor(spec.name, spec.type, tuple(spec.shape)) for spec in schema.inputs)
    if len({tensor.name for tensor in tensors}) != len(tensors) or "" in {tensor.name for tensor in tensors}:
        return None
    if any(tensor.dtype.kind not in "fiub" or not tensor.shape for tensor in tensors):
        return None
    return TensorReader(tensors)


def _has_type_hints(metadata: Model) -> bool:
    signature = metadata.signature
    return bool(
        getattr(signature, "_is_signature_from_type_hint", False)
        or getattr(signature, "_is_type_hint_from_example", False)
    )
