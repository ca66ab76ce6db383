"""A model's signature as plain data: what an input must look like, as MLflow logged it."""

from dataclasses import dataclass, field
from typing import Any

Field = dict[str, Any]
"""One column, tensor or parameter in MLflow's own JSON form (`ColSpec`, `TensorSpec`, `ParamSpec`)."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs, outputs and parameters; a list is empty where nothing was logged."""

    inputs: list[Field] = field(default_factory=list)
    outputs: list[Field] = field(default_factory=list)
    params: list[Field] = field(default_factory=list)

    @property
    def has_tensors(self) -> bool:
        """Whether inputs are tensors and not columns."""
        return any(spec.get("type") == "tensor" for spec in self.inputs)
