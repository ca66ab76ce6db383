"""What a model's predict function gets of a body by way of MLflow's own code, as Penstock runs it."""

from collections.abc import Sequence
from typing import Any

from mlflow.models import Model, ModelSignature
from mlflow.pyfunc import PyFuncModel
from mlflow.types import ColSpec, Schema, TensorSpec

from penstock.domain.prediction import Answer, Query
from penstock.flavors.pyfunc import Predictor


class _Witness:
    """A model that keeps what it is to predict on."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def predict(self, data: Any) -> list[int]:
        self.seen.append(data)
        return []


class Refused(Exception):
    """MLflow, or what stands before it, answers with an error."""


class Oracle:
    """A model of a signature, asked by MLflow's way."""

    def __init__(self, specs: Sequence[ColSpec | TensorSpec]) -> None:
        self.metadata = Model(
            signature=ModelSignature(inputs=Schema(list(specs))),
            flavors={"python_function": {"loader_module": "none"}},
        )
        self._witness = _Witness()
        self._predictor = Predictor(PyFuncModel(self.metadata, self._witness))

    def read(self, body: bytes) -> tuple[Any, str | None]:
        """What the model gets, and the `client_request_id`; raises Refused."""
        self._witness.seen.clear()
        answer = self._predictor.answer(Query(body))
        assert isinstance(answer, Answer)
        if answer.status != 200:
            raise Refused(answer.body.decode())
        (data,) = self._witness.seen
        return data, answer.note.client_request_id
