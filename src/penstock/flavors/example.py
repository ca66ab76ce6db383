"""The input example that a model was logged with, as the body of a request."""

from dataclasses import dataclass
from pathlib import Path

from mlflow.models import Model, utils

MAX_EXAMPLE_BYTES = 16 << 20
"""As much as a request may have: a larger one could not be sent."""
_SERVING_INPUT = "serving_input_path"
_SPARSE = "sparse_matrix"


@dataclass(frozen=True, slots=True)
class Example:
    """A body to ask the model with, or why there is none."""

    body: bytes | None
    problem: str = ""


def read_example(metadata: Model, folder: Path) -> Example:
    """The example of the model in a folder; never raises for what the folder holds.

    MLflow writes it as a request's body beside the example itself; for models that an older MLflow logged, it is
    made of the example by MLflow's own code.
    """
    logged = metadata.saved_input_example_info
    if not logged:
        return Example(None, "It was logged without an input example, so nothing was asked before it gets traffic.")
    if str(logged.get("type", "")).startswith(_SPARSE):
        return Example(None, "Its input example is a sparse matrix, which no request can hold, so nothing was asked.")
    try:
        if _SERVING_INPUT in logged:
            body = (folder / logged[_SERVING_INPUT]).read_bytes()
        else:
            # Looked up here: in the environment of an old model an old MLflow does not have it.
            converted = utils.convert_input_example_to_serving_input(metadata.load_input_example(str(folder)))
            body = (converted or "").encode()
    except Exception as exc:  # noqa: BLE001 - a missing file, broken JSON, a type that this MLflow does not know
        return Example(None, f"Its input example cannot be read: {type(exc).__name__}: {exc}")
    if not body:
        return Example(None, "Its input example cannot be said in a request, so nothing was asked.")
    if len(body) > MAX_EXAMPLE_BYTES:
        return Example(
            None,
            f"Its input example has {len(body)} bytes as a request, which may have {MAX_EXAMPLE_BYTES}, "
            "so nothing was asked.",
        )
    return Example(body)
