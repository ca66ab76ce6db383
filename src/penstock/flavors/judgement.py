"""Whether what a model made of its own example is an answer that callers can use."""

import itertools
import json
from dataclasses import dataclass

import msgspec

from penstock.domain.prediction import Answer, AnswerStream
from penstock.wire import event_stream

_OK = 200


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came of it."""

    failure: str = ""
    """Why it is no answer; empty if it is one."""
    trace: str = ""
    """The traceback of the model, if it failed."""
    problem: str = ""
    """What is not in order about an answer that is one."""


def judge(answer: Answer | AnswerStream, max_bytes: int) -> Judgement:
    """Look at an answer; a stream is read to its end."""
    if isinstance(answer, AnswerStream):
        return _judge_stream(answer)
    if answer.status != _OK:
        document = json.loads(answer.body)
        trace = document.get("stack_trace", "")
        return Judgement(_raised(trace) or document["message"], trace)
    if len(answer.body) > max_bytes:
        return Judgement(f"the answer of {len(answer.body)} bytes is over the limit of {max_bytes} bytes")
    try:
        msgspec.json.decode(answer.body, type=msgspec.Raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        return Judgement(
            problem=f"Its answer holds what JSON has no word for (NaN or Infinity); strict readers refuse it: {exc}."
        )
    return Judgement()


def _raised(trace: str) -> str:
    """The exception at the end of a traceback, on one line: MLflow's message does not tell what a model raised."""
    _, _, end = trace.rpartition('\n  File "')
    lines = end.splitlines()[1:]
    return " ".join(" ".join(itertools.dropwhile(lambda line: line.startswith("    "), lines)).split())


def _judge_stream(answer: AnswerStream) -> Judgement:
    last = b""
    for piece in answer.pieces:
        last = piece
    if last == event_stream.DONE:
        return Judgement()
    return Judgement(json.loads(last.partition(b"data: ")[2])["message"])
