"""A chat agent that says after the user."""

import mlflow
from mlflow.types.agent import ChatAgentChunk, ChatAgentMessage, ChatAgentResponse


class Agent(mlflow.pyfunc.ChatAgent):
    def predict(self, messages, context=None, custom_inputs=None):
        text = f"agent: {messages[-1].content}"
        message = ChatAgentMessage(id="m-1", role="assistant", content=text)
        return ChatAgentResponse(messages=[message], custom_outputs=custom_inputs)

    def predict_stream(self, messages, context=None, custom_inputs=None):
        for word in messages[-1].content.split():
            yield ChatAgentChunk(delta=ChatAgentMessage(id="m-1", role="assistant", content=word))


mlflow.models.set_model(Agent())
