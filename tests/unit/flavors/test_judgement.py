"""Which answers to its own example a model may be served with."""

import json
from collections.abc import Generator

import pytest

from penstock.domain.prediction import Answer, AnswerStream
from penstock.flavors.judgement import Judgement, judge
from penstock.wire import event_stream

TRACE = """Traceback (most recent call last):
  File "scoring.py", line 348, in invocations
    raw_predictions = model.predict(data)
                      ^^^^^^^^^^^^^^^^^^^
  File "model.py", line 23, in predict
    raise ValueError("no mood
ValueError: no mood
  for this
"""


def refusal(**fields: str) -> Answer:
    return Answer(400, json.dumps({"error_code": "BAD_REQUEST", "message": "MLflow's own words", **fields}).encode())


def stream(*pieces: bytes) -> AnswerStream:
    def generate() -> Generator[bytes, None, None]:
        yield from pieces

    return AnswerStream(generate())


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (Answer(200, b'{"predictions": [1.5, null, "x"]}'), ""),
        (refusal(), "MLflow's own words"),
        (refusal(stack_trace=TRACE), "ValueError: no mood for this"),
        (refusal(stack_trace="no traceback"), "MLflow's own words"),
        (Answer(200, b"[" + b"1," * 600 + b"1]"), "the answer of 1203 bytes is over the limit of 1000 bytes"),
        (stream(event_stream.event("{}"), event_stream.DONE), ""),
        (stream(event_stream.event("{}"), event_stream.failure("BAD_REQUEST", "it broke off")), "it broke off"),
    ],
)
def test_what_is_an_answer_and_what_is_not(answer: Answer | AnswerStream, failure: str) -> None:
    judgement = judge(answer, 1000)
    assert judgement.failure == failure
    assert judgement.problem == ""


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_words_that_json_does_not_have_are_told(word: str) -> None:
    judgement = judge(Answer(200, f'{{"predictions": [{word}]}}'.encode()), 1000)
    assert judgement.failure == ""
    assert "NaN or Infinity" in judgement.problem
    assert judge(Answer(200, b'{"predictions": ["NaN"]}'), 1000) == Judgement()
