"""A responses agent that says after the user."""

import mlflow
from mlflow.types.responses import ResponsesAgentResponse, ResponsesAgentStreamEvent


class Agent(mlflow.pyfunc.ResponsesAgent):
    def predict(self, request):
        text = f"agent: {self._text(request)} custom={request.custom_inputs}"
        return ResponsesAgentResponse(output=[self.create_text_output_item(text=text, id="m-1")])

    def predict_stream(self, request):
        for word in self._text(request).split():
            yield ResponsesAgentStreamEvent(**self.create_text_delta(delta=word, item_id="m-1"))
        item = self.create_text_output_item(text=self._text(request), id="m-1")
        yield ResponsesAgentStreamEvent(type="response.output_item.done", item=item)

    def _text(self, request):
        content = request.input[-1].content
        return content if isinstance(content, str) else content[0]["text"]


mlflow.models.set_model(Agent())
