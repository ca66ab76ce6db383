"""Any logged model as MLflow's own `pyfunc`, scored by MLflow's own code.

Parsing, schema enforcement, prediction and encoding are those of `mlflow.pyfunc.scoring_server`, so that messages
and oddities are MLflow's. Only what the serving contract asks for beyond it is translated here: an exception of the
model is the caller's affair (4xx) and never ours (5xx), and every error is JSON.
"""

import json
import traceback
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel, scoring_server

from penstock.wire.errors import error_body

_MAX_MESSAGE = 16 << 10
_MAX_STACK_TRACE = 16 << 10
_CALLER_CODES = frozenset({"BAD_REQUEST", "INVALID_PARAMETER_VALUE"})
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a scored request is answered with."""

    status: int
    body: bytes
    content_type: str = _JSON


class Predictor:
    """A loaded model."""

    def __init__(self, model: PyFuncModel) -> None:
        self._model = model
        self._input_schema = model.metadata.get_input_schema()

    def score(self, body: bytes, content_type: str) -> Answer:
        """Answer one request body; never raises for what the body or the model does."""
        # MLflow takes `Charset="UTF-8"` and a last semicolon for something else; HTTP does not.
        content_type = content_type.lower().replace('"', "").rstrip("; ")
        try:
            scored = scoring_server.invocations(body, content_type, self._model, self._input_schema)
        except MlflowException as exc:
            return _refusal(exc.error_code, exc.message, exc.json_kwargs.get("stack_trace"))
        except Exception as exc:  # noqa: BLE001 - whatever the parser or the encoder trips over came with the request
            return _refusal("BAD_REQUEST", _unhandled(exc), traceback.format_exc())
        if scored.status == 200:  # noqa: PLR2004
            return Answer(200, scored.response.encode())
        return Answer(scored.status, error_body("BAD_REQUEST", scored.response))


def load(folder: Path) -> Predictor:
    """Load the model in a local folder.

    Raises:
        Exception: whatever the model's own code raises while it is loaded.
    """
    return Predictor(mlflow.pyfunc.load_model(str(folder)))


def root_cause(error: BaseException) -> str:
    """One line that says why a model could not be loaded: the innermost exception, with its type."""
    seen = {id(error)}
    while True:
        inner = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if inner is None or id(inner) in seen:
            break
        seen.add(id(inner))
        error = inner
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")


def _refusal(code: str, message: str, stack_trace: str | None) -> Answer:
    # MLflow gives a model's own MlflowException the default code INTERNAL_ERROR; the contract wants a 4xx for it.
    code = code if code in _CALLER_CODES else "BAD_REQUEST"
    extra = {} if stack_trace is None else {"stack_trace": stack_trace[-_MAX_STACK_TRACE:]}
    return Answer(400, error_body(code, _shortened(message), **extra))


def _shortened(message: str) -> str:
    """Both ends: MLflow quotes the body, megabytes of it, and says what is wrong before or after."""
    if len(message) <= _MAX_MESSAGE:
        return message
    half = _MAX_MESSAGE // 2
    return f"{message[:half]} [… {len(message) - 2 * half} characters …] {message[-half:]}"


def _unhandled(exc: Exception) -> str:
    if isinstance(exc, json.JSONDecodeError | UnicodeDecodeError):
        return f"The body is not a valid JSON formatted string: {exc}"
    if isinstance(exc, RecursionError):
        return "The body is nested too deeply."
    return f"The request could not be scored: {type(exc).__name__}: {exc}"
