"""OpenAI's shapes: what its routes take, and what their answers look like. Field names follow the public API reference.

Models answer in shapes of their own: MLflow's chat models nearly in OpenAI's, chat agents with `messages`, plain
functions with text or lists. Each is completed to the shape of its route, and nothing that the model gave is dropped.
"""

import base64
import struct
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from penstock.domain.errors import BadRequest
from penstock.domain.prediction import Api

Json = Any

_PREFIXES = {Api.CHAT: "chatcmpl", Api.COMPLETIONS: "cmpl", Api.RESPONSES: "resp"}


class _Addressed(msgspec.Struct):
    model: str


_addressed = msgspec.json.Decoder(_Addressed)


def model_of(body: bytes) -> str:
    """The endpoint that a body is meant for.

    Raises:
        BadRequest: it is no JSON object with a `model`.
    """
    try:
        return _addressed.decode(body).model
    except msgspec.ValidationError as exc:
        raise BadRequest(f"model: wanted the name of an endpoint, as a string; {exc}.") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise BadRequest(f"The body is not a valid JSON formatted string: {exc}.") from exc


def encode_models(names: list[str]) -> dict[str, Json]:
    """The answer to a list of models: the endpoints that may be asked."""
    return {"object": "list", "data": [encode_model(name) for name in names]}


def encode_model(name: str) -> dict[str, Json]:
    """One endpoint as OpenAI describes a model; when it was created is told by the management routes."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "penstock"}


class Shape:
    """Completes the answers to one request."""

    def __init__(self, api: Api, endpoint: str, request_id: str, encoding_format: str | None = None) -> None:
        self._api = api
        self._endpoint = endpoint
        self._id = f"{_PREFIXES.get(api, 'req')}-{request_id}"
        self._created_s = int(time.time())
        self._encoding = encoding_format

    def whole(self, answer: Json) -> Json:
        """A model's whole answer in the shape of its route."""
        answer = _without_list(answer)
        match self._api:
            case Api.CHAT:
                return self._headed("chat.completion", _with_chat_choices(answer))
            case Api.COMPLETIONS:
                return self._headed("text_completion", _with_text_choices(answer))
            case Api.EMBEDDINGS:
                return self._embeddings(answer)
            case Api.RESPONSES:
                return self._response(answer)
            case Api.INVOCATIONS:
                return answer

    def chunk(self, piece: Json) -> Json:
        """A piece of a model's stream in the shape of its route."""
        match self._api:
            case Api.CHAT:
                return self._headed("chat.completion.chunk", _with_delta(piece))
            case Api.COMPLETIONS:
                return self._headed("text_completion", _with_text_choices(piece))
            case Api.RESPONSES if isinstance(piece, str):
                return {"type": "response.output_text.delta", "item_id": self._id, "delta": piece}
            case _:
                return piece

    def as_stream(self, answer: Json) -> Iterator[Json]:
        """A whole answer as the stream of a model that cannot stream: in as few pieces as the route allows."""
        whole = self.whole(answer)
        if self._api is Api.CHAT and isinstance(whole, dict) and isinstance(whole.get("choices"), list):
            choices = [_as_delta_choice(choice) for choice in whole["choices"]]
            yield {**whole, "object": "chat.completion.chunk", "choices": choices}
        elif self._api is Api.RESPONSES and isinstance(whole, dict):
            for index, item in enumerate(whole.get("output") or ()):
                yield {"type": "response.output_item.done", "output_index": index, "item": item}
            yield {"type": "response.completed", "response": whole}
        else:
            yield whole

    def event_name(self, piece: Json) -> str | None:
        """The name of an event: only the Responses route has names."""
        name = piece.get("type") if self._api is Api.RESPONSES and isinstance(piece, dict) else None
        return name if isinstance(name, str) and name.isprintable() else None

    def _headed(self, kind: str, answer: Json) -> Json:
        if not isinstance(answer, dict):
            return answer
        head = {"id": self._id, "object": kind, "created": self._created_s, "model": self._endpoint}
        return {**head, **{key: value for key, value in answer.items() if value or key not in head}}

    def _embeddings(self, answer: Json) -> Json:
        document = answer if isinstance(answer, dict) and isinstance(answer.get("data"), list) else None
        vectors = None if document is not None else _vectors_of(answer)
        if vectors is not None:
            document = {"data": [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]}
        if document is None:
            return answer
        if self._encoding == "base64":
            document = {**document, "data": [_packed(entry) for entry in document["data"]]}
        return {"object": "list", "model": self._endpoint, **document}

    def _response(self, answer: Json) -> Json:
        text = _text_of(answer)
        if text is not None:
            content = [{"type": "output_text", "text": text, "annotations": []}]
            item = {"type": "message", "id": f"msg-{self._id}", "role": "assistant", "status": "completed"}
            answer = {"output": [{**item, "content": content}]}
        if not isinstance(answer, dict):
            return answer
        head = {"id": self._id, "object": "response", "created_at": self._created_s, "model": self._endpoint}
        return {**head, "status": "completed", **{k: v for k, v in answer.items() if v or k not in head}}


def with_both_finish_reasons(answer: Json) -> Json:
    """The answer with `finishReason`, which the Databricks SDK reads, beside each `finish_reason`."""
    if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
        return answer
    choices = [
        {**choice, "finishReason": choice["finish_reason"]}
        if isinstance(choice, dict) and "finish_reason" in choice
        else choice
        for choice in answer["choices"]
    ]
    return {**answer, "choices": choices}


def _without_list(answer: Json) -> Json:
    """The one document of a list: Transformers models answer a single conversation with a list of one."""
    is_one = isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], dict) and "object" in answer[0]
    return answer[0] if is_one else answer


def _with_chat_choices(answer: Json) -> Json:
    text = _text_of(answer)
    if text is not None:
        message = {"role": "assistant", "content": text}
        return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    if not isinstance(answer, dict) or "choices" in answer:
        return answer
    messages = answer.get("messages")
    if isinstance(messages, list) and messages:  # a chat agent's: the last message is the answer
        reason = answer.get("finish_reason") or "stop"
        return {**answer, "choices": [{"index": 0, "message": messages[-1], "finish_reason": reason}]}
    return answer


def _with_delta(piece: Json) -> Json:
    if isinstance(piece, str):
        return {"choices": [{"index": 0, "delta": {"role": "assistant", "content": piece}, "finish_reason": None}]}
    if isinstance(piece, dict) and "choices" not in piece and isinstance(piece.get("delta"), dict):
        choice = {"index": 0, "delta": piece["delta"], "finish_reason": piece.get("finish_reason")}
        return {**piece, "choices": [choice]}
    return piece


def _as_delta_choice(choice: Json) -> Json:
    if not isinstance(choice, dict) or "message" not in choice:
        return choice
    return {("delta" if key == "message" else key): value for key, value in choice.items()}


def _with_text_choices(answer: Json) -> Json:
    texts = [answer] if isinstance(answer, str) else answer
    if isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts):
        choices = [{"index": i, "text": text, "finish_reason": "stop"} for i, text in enumerate(texts)]
        return {"choices": choices}
    return answer


def _text_of(answer: Json) -> str | None:
    """The text of an answer that is nothing but text."""
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    return answer if isinstance(answer, str) else None


def _vectors_of(answer: Json) -> list[list[float]] | None:
    """The vectors of an answer that is nothing but vectors: one, or a list of them."""
    if _is_vector(answer):
        return [answer]
    if isinstance(answer, list) and answer and all(_is_vector(entry) for entry in answer):
        return answer
    return None


def _is_vector(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and all(type(number) in {int, float} for number in value)


def _packed(entry: Json) -> Json:
    """An embedding as base64 of little-endian 32-bit floats, as a client asks for by `encoding_format`."""
    vector = entry.get("embedding") if isinstance(entry, dict) else None
    if not isinstance(vector, list) or not _is_vector(vector):
        return entry
    try:
        packed = struct.pack(f"<{len(vector)}f", *vector)
    except (OverflowError, struct.error):  # a number that no 32-bit float holds: better in full than not at all
        return entry
    return {**entry, "embedding": base64.b64encode(packed).decode()}
