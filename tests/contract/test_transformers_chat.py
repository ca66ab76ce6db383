"""A Transformers model logged with `task="llm/v1/chat"`: it cannot stream in MLflow, and answers in a list."""

from collections.abc import Callable
from typing import Any

import pytest

from support.stack import QUERY, Stack
from support.tiny_chat import WORDS, register_tiny_chat

openai = pytest.importorskip("openai", reason="the openai client is not installed")
MESSAGES: Any = [{"role": "user", "content": "hello you"}]


def test_c68_c70_a_transformers_chat_model(stack: Stack, create: Callable[..., dict[str, Any]]) -> None:
    register_tiny_chat("tiny-chat")
    created = create("tiny-chat", {"entity_name": "tiny-chat", "entity_version": "1"})
    assert created["task"] == "llm/v1/chat"

    answer = stack.ask("tiny-chat", {"messages": MESSAGES, "max_tokens": 4})
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert document["object"] == "chat.completion"
    assert set(document["choices"][0]["message"]["content"].split()) <= set(WORDS)
    assert document["choices"][0]["finish_reason"] == document["choices"][0]["finishReason"]
    assert document["usage"]["total_tokens"] > 0

    with openai.OpenAI(base_url=f"{stack.url}{QUERY}", api_key=stack.token, max_retries=0) as client:
        whole = client.chat.completions.create(model="tiny-chat", messages=MESSAGES, max_tokens=4)
        assert whole.model == "tiny-chat"
        assert set(whole.choices[0].message.content.split()) <= set(WORDS)
        chunks = list(client.chat.completions.create(model="tiny-chat", messages=MESSAGES, max_tokens=4, stream=True))
    assert len(chunks) == 1, "a model that cannot stream says all at once"
    assert set(chunks[0].choices[0].delta.content.split()) <= set(WORDS)
