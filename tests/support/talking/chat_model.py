"""A chat model that says after the user, word by word. A first word can ask for more: see `Parrot._obey`."""

import os
import time
from pathlib import Path

import mlflow
from mlflow.types.llm import (
    ChatChoice,
    ChatChoiceDelta,
    ChatChunkChoice,
    ChatCompletionChunk,
    ChatCompletionResponse,
    ChatMessage,
    TokenUsageStats,
)


class Parrot(mlflow.pyfunc.ChatModel):
    def predict(self, context, messages, params):
        words = list(self._obey(messages[-1].content, params))
        return ChatCompletionResponse(
            choices=[ChatChoice(message=ChatMessage(role="assistant", content=" ".join(words)))],
            usage=TokenUsageStats(prompt_tokens=len(messages), completion_tokens=len(words), total_tokens=99),
        )

    def predict_stream(self, context, messages, params):
        for word in self._obey(messages[-1].content, params):
            delta = ChatChoiceDelta(role="assistant", content=word)
            yield ChatCompletionChunk(choices=[ChatChunkChoice(delta=delta)])

    def _obey(self, text, params):  # noqa: PLR0912
        """The words to say; the first one may be an order.

        `slow:S`: wait S seconds between words. `fail:N`: raise after N words. `gate:FILE`: say one word and wait until
        the file exists. `endless:FILE`: write the number of words said so far into a file. `flood:FILE`: say a
        megabyte at a time until stopped, then write "closed" into a file. `params`: tell the params. `env:NAME`: tell
        a variable. `ask:ENDPOINT`: ask another endpoint, as agents do.
        """
        order, *words = text.split()
        kind, _, value = order.partition(":")
        match kind:
            case "slow":
                for word in words:
                    yield word
                    time.sleep(float(value))
            case "fail":
                for index, word in enumerate(words):
                    if index == int(value):
                        raise ValueError("the parrot lost its voice")
                    yield word
            case "gate":
                yield "before"
                while not Path(value).exists():
                    time.sleep(0.01)
                yield "after"
            case "endless":
                count = 0
                while True:
                    count += 1
                    Path(value).write_text(str(count))
                    yield f"word-{count}"
                    time.sleep(0.02)
            case "flood":
                try:
                    while True:
                        yield "x" * (1 << 20)
                finally:
                    Path(value).write_text("closed")
            case "params":
                yield f"temperature={params.temperature} max_tokens={params.max_tokens} custom={params.custom_inputs}"
            case "env":
                yield os.environ.get(value, "-")
            case "ask":
                from databricks.sdk import WorkspaceClient

                client = WorkspaceClient()
                answer = client.serving_endpoints.query(value, dataframe_records=[{"x": 1.0, "n": 1, "s": "by agent"}])
                yield f"{client.current_user.me().user_name}: {answer.predictions[0]['s']}"
            case _:
                yield from text.split()


mlflow.models.set_model(Parrot())
