"""Which models talk, and what executor suits them."""

import pytest

from penstock.domain.model_traits import ModelTraits
from penstock.domain.prediction import ExecutorKind


@pytest.mark.parametrize(
    ("task", "is_streamable", "is_talking"),
    [
        (None, False, False),
        ("", False, False),
        ("text-classification", False, False),
        ("llm", False, False),
        ("my-llm/v1/chat", False, False),
        ("llm/v1/chat", False, True),
        ("llm/v1/completions", False, True),
        ("agent/v1/responses", False, True),
        ("agent/v2/chat", False, True),
        (None, True, True),
        ("text-classification", True, True),
    ],
)
def test_chat_models_agents_and_what_streams_talk_and_suit_threads(
    task: str | None, is_streamable: bool, is_talking: bool
) -> None:
    traits = ModelTraits(task, is_streamable)
    assert traits.is_talking is is_talking
    assert traits.executor is (ExecutorKind.THREADS if is_talking else ExecutorKind.PROCESS)


def test_a_model_that_says_nothing_of_itself_is_a_classic_one() -> None:
    assert ModelTraits() == ModelTraits(None, False)
    assert ModelTraits().executor is ExecutorKind.PROCESS
