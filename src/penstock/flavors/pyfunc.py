"""Any logged model as MLflow's own `pyfunc`, scored by MLflow's own code.

Parsing, schema enforcement, prediction and encoding are those of `mlflow.pyfunc.scoring_server`, so that messages
and oddities are MLflow's. Only what the serving contract asks for beyond it is translated here: an exception of the
model is the caller's affair (4xx) and never ours (5xx), and every error is JSON.
"""

import json
import traceback
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel, scoring_server

from penstock.domain.errors import BadRequest
from penstock.domain.model_traits import ModelTraits
from penstock.domain.prediction import JSON, Answer, AnswerStream, Note, Query
from penstock.flavors.csv_width import check_width
from penstock.flavors.llm import LlmRequest, note_usage, read
from penstock.flavors.traces import traced
from penstock.wire import event_stream
from penstock.wire.errors import defused, error_body
from penstock.wire.openai import with_both_finish_reasons

_MAX_MESSAGE = 16 << 10
_MAX_STACK_TRACE = 16 << 10
_CALLER_CODES = frozenset({"BAD_REQUEST", "INVALID_PARAMETER_VALUE"})
_CSV = "text/csv"
_END = object()


class Predictor:
    """A loaded model."""

    def __init__(self, model: PyFuncModel, traits: ModelTraits = ModelTraits()) -> None:  # noqa: B008 - immutable
        self.metadata: Model = model.metadata
        """What its `MLmodel` file says."""
        self.model = model
        self._traits = traits
        self._input_schema = model.metadata.get_input_schema()
        params = model.metadata.get_params_schema()
        inputs = self._input_schema.input_names() if self._input_schema else ()
        self._columns = frozenset((*inputs, *(param.name for param in (params.params if params else ()))))

    @property
    def has_signature(self) -> bool:
        """Whether its inputs are described, and checked."""
        return self._input_schema is not None

    def answer(self, query: Query) -> Answer | AnswerStream:
        """Answer a query; never raises for what the body or the model does."""
        # MLflow takes `Charset="UTF-8"` and a last semicolon for something else; HTTP does not.
        content_type = query.content_type.lower().replace('"', "").strip("; ")
        mime_type = content_type.partition(";")[0].strip()
        try:
            if mime_type == _CSV:
                check_width(query.body)
            if mime_type != JSON:
                return self._score(query.body, content_type, Note())
            reading = read(query, self._traits, self._columns)
        except BadRequest as exc:
            return _refusal(exc.error_code, exc.message)
        if reading.llm is None:
            return self._score(query.body, content_type, reading.note)
        if reading.llm.is_stream and self._traits.is_streamable:
            return self._stream(reading.llm, reading.note)
        request, note, trace = reading.llm, reading.note, None
        if request.wants_trace:
            answer, trace = traced(lambda: self._score(request.body, content_type, note))
        else:
            answer = self._score(request.body, content_type, note)
        if answer.status != 200:  # noqa: PLR2004
            return answer
        output = {"databricks_request_id": query.request_id, "trace": trace} if request.wants_trace else None
        return _shaped(answer, request, output)

    def refusal(self, query: Query, error: Exception, note: Note) -> Answer:
        """What MLflow's scorer says when its model fails with this error on a query."""
        return self._score(query.body, query.content_type, note, _Failing(self.metadata, error))

    def _score(
        self, body: bytes, content_type: str, note: Note, model: "PyFuncModel | _Failing | None" = None
    ) -> Answer:
        """What MLflow's scorer makes of a body."""
        try:
            scored = scoring_server.invocations(body, content_type, model or self.model, self._input_schema)
        except Exception as exc:  # noqa: BLE001 - whatever the parser, the model or the encoder trips over came with it
            return _refusal_of(exc, note)
        if scored.status == 200:  # noqa: PLR2004
            return Answer(200, scored.response.encode(), note=note)
        return Answer(scored.status, error_body("BAD_REQUEST", scored.response), note=note)

    def _stream(self, request: LlmRequest, note: Note) -> Answer | AnswerStream:
        """The model's own stream. Its first piece is waited for: what fails before it is an answer of status 400."""
        try:
            parsed = scoring_server._parse_json_data(request.body, self.model.metadata, self._input_schema)
            pieces = iter(self.model.predict_stream(parsed.data, params=parsed.params))
            first = next(pieces, _END)
        except Exception as exc:  # noqa: BLE001 - as in _score
            return _refusal_of(exc, note)
        return AnswerStream(_events(first, pieces, request, note), note)


class _Failing:
    """In place of a model that has been asked already, and failed."""

    def __init__(self, metadata: Model, error: Exception) -> None:
        self.metadata = metadata
        self._error = error

    def predict(self, _data: Any, params: Any = None) -> Any:
        raise self._error


def _events(first: Any, pieces: Iterator[Any], request: LlmRequest, note: Note) -> Generator[bytes, None, None]:
    piece = first
    try:
        while piece is not _END:
            note_usage(note, piece)
            shaped = request.shape.chunk(_jsonable(piece))
            yield event_stream.event(_dump(shaped), request.shape.event_name(shaped))
            piece = next(pieces, _END)
    except Exception as exc:  # noqa: BLE001 - the model's own; the client is told in the stream
        traceback.print_exc()
        yield event_stream.failure("BAD_REQUEST", defused(f"The model failed while it streamed: {one_line(exc)}"))
        return
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
    yield event_stream.DONE


def _shaped(answer: Answer, request: LlmRequest, output: dict[str, Any] | None) -> Answer | AnswerStream:
    """A whole answer in the shape of its route; `output` is what the caller asked to be told beside it."""
    document = json.loads(answer.body)
    note_usage(answer.note, document)
    if output is not None and isinstance(document, dict):
        document["databricks_output"] = output
    if not request.is_stream:
        shaped = with_both_finish_reasons(request.shape.whole(document))
        return Answer(answer.status, _dump(shaped).encode(), note=answer.note)

    def events() -> Generator[bytes, None, None]:
        for piece in request.shape.as_stream(document):
            yield event_stream.event(_dump(piece), request.shape.event_name(piece))
        yield event_stream.DONE

    return AnswerStream(events(), answer.note)


def _jsonable(piece: Any) -> Any:
    """A piece of a stream as plain JSON values, by MLflow's own encoder."""
    return scoring_server._get_jsonable_obj(piece, pandas_orient="records")


def _dump(document: Any) -> str:
    return json.dumps(document, cls=scoring_server.NumpyEncoder)


def load(folder: Path, traits: ModelTraits = ModelTraits()) -> Predictor:  # noqa: B008 - immutable
    """Load the model in a local folder.

    MLflow's warnings of packages and a Python that differ are left out: who chose the environment has weighed that.

    Raises:
        Exception: whatever the model's own code raises while it is loaded.
    """
    return Predictor(mlflow.pyfunc.load_model(str(folder), suppress_warnings=True), traits)


def root_cause(error: BaseException) -> BaseException:
    """The innermost of the exceptions that led to one another."""
    seen = {id(error)}
    while True:
        inner = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if inner is None or id(inner) in seen:
            break
        seen.add(id(inner))
        error = inner
    return error


def one_line(error: BaseException) -> str:
    """An exception with its type, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")


def _refusal_of(error: Exception, note: Note) -> Answer:
    if isinstance(error, MlflowException):
        return _refusal(error.error_code, error.message, error.json_kwargs.get("stack_trace"), note)
    return _refusal("BAD_REQUEST", _unhandled(error), traceback.format_exc(), note)


def _refusal(code: str, message: str, stack_trace: str | None = None, note: Note | None = None) -> Answer:
    # MLflow gives a model's own MlflowException the default code INTERNAL_ERROR; the contract wants a 4xx for it.
    code = code if code in _CALLER_CODES else "BAD_REQUEST"
    extra = {} if stack_trace is None else {"stack_trace": stack_trace[-_MAX_STACK_TRACE:]}
    return Answer(400, error_body(code, _shortened(message), **extra), note=note or Note())


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
