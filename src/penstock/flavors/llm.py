"""Bodies in the style of language models: what of them is for us, what is for the model, what form the answer takes.

MLflow's scorer hands a body with `messages`, `prompt` or `input` to the model whole and does not wrap its answer.
Three fields of such a body are meant for the platform and are taken out first; the OpenAI-shaped routes have a few
more that are the client's business and not the model's.
"""

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from penstock.domain.errors import BadRequest
from penstock.domain.model_traits import ModelTraits
from penstock.domain.prediction import Api, Note, Query
from penstock.wire.openai import Shape

RESPONSES_TASK = "agent/v1/responses"
_PLATFORM_FIELDS = ("client_request_id", "usage_context", "databricks_options")

_STREAM_FIELDS = ("stream", "stream_options")
"""Not for a model that cannot stream: its whole answer is sent as a stream."""


class _Probe(msgspec.Struct):
    """What decides how a body is read; the rest is skipped."""

    messages: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    prompt: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    stream: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    client_request_id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    usage_context: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    databricks_options: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Options(msgspec.Struct):
    """`databricks_options`."""

    return_trace: bool = False


_probes = msgspec.json.Decoder(_Probe)


@dataclass(frozen=True, slots=True)
class LlmRequest:
    """A body that the model gets without what is not for it."""

    body: bytes
    shape: Shape
    is_stream: bool
    wants_trace: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a body beside the model's input."""

    note: Note
    llm: LlmRequest | None
    """None for the classic formats, which MLflow's scorer reads as they are."""


def read(query: Query, traits: ModelTraits, columns: frozenset[str]) -> Reading:
    """Look into a JSON body.

    Args:
        query: as it came.
        traits: of the model; if it can stream, a classic body may ask for it too.
        columns: names that the model's signature knows, which stay whatever they are called.

    Raises:
        BadRequest: a field of the platform holds what it may not.
    """
    try:
        probe = _probes.decode(query.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Reading(Note(), None)  # MLflow's scorer says what is wrong with it
    note = Note(
        _field(probe.client_request_id, "client_request_id", str | None, "a string"),
        _field(probe.usage_context, "usage_context", dict[str, str] | None, "an object of strings"),
    )
    options = _field(probe.databricks_options, "databricks_options", _Options | None, "an object") or _Options()
    is_stream = isinstance(probe.stream, msgspec.Raw) and bytes(probe.stream) == b"true"
    is_llm = any(field is not msgspec.UNSET for field in (probe.messages, probe.prompt, probe.input))
    if not is_llm and query.api is Api.INVOCATIONS and not (is_stream and traits.is_streamable):
        return Reading(note, None)
    try:
        document = json.loads(query.body)
    except (ValueError, RecursionError):  # a number of thousands of digits, say
        return Reading(note, None)
    for name in _PLATFORM_FIELDS if traits.is_streamable else (*_PLATFORM_FIELDS, *_STREAM_FIELDS):
        document.pop(name, None)
    shape = Shape(query.api, query.endpoint, query.request_id, document.get("encoding_format"))
    if query.api is not Api.INVOCATIONS:
        _adapt(document, query.api, traits.task, columns)
    return Reading(note, LlmRequest(json.dumps(document).encode(), shape, is_stream, options.return_trace))


def note_usage(note: Note, answer: Any) -> None:
    """Note the token counts of an answer, or of a stream's piece, in either of the two spellings."""
    if not isinstance(answer, dict):
        return
    usage = answer.get("usage")
    if usage is None and isinstance(answer.get("response"), dict):
        usage = answer["response"].get("usage")
    if not isinstance(usage, dict):
        return
    inputs = usage.get("prompt_tokens", usage.get("input_tokens"))
    outputs = usage.get("completion_tokens", usage.get("output_tokens"))
    note.input_tokens = inputs if isinstance(inputs, int) else note.input_tokens
    note.output_tokens = outputs if isinstance(outputs, int) else note.output_tokens


def _adapt(document: dict[str, Any], api: Api, task: str | None, columns: frozenset[str]) -> None:
    """Take out what an OpenAI client says to the server, and give a Responses agent the one form that it knows."""
    for name in ("model", "encoding_format") if api is Api.EMBEDDINGS else ("model",):
        if name not in columns:
            document.pop(name, None)
    if task == RESPONSES_TASK and isinstance(document.get("input"), str):
        document["input"] = [{"role": "user", "content": document["input"]}]


def _field(raw: msgspec.Raw | msgspec.UnsetType, name: str, kind: Any, wanted: str) -> Any:
    if not isinstance(raw, msgspec.Raw):
        return None
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.ValidationError, UnicodeDecodeError) as exc:
        raise BadRequest(f"{name}: wanted {wanted}; {exc}.") from exc
