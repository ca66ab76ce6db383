"""Models that talk. Logged as code, so that replicas need nothing of the tests."""

import warnings
from pathlib import Path

import mlflow

from support.stack import MANAGEMENT, Stack

FOLDER = Path(__file__).parent
NAMES = ("chat_model", "chat_agent", "responses_agent", "streamer", "embedder")


def serve_talking(stack: Stack) -> None:
    """Register every talking model and create an endpoint of its name, once; returns when all are ready."""
    there = {endpoint["name"] for endpoint in stack.call("GET", MANAGEMENT).json()["endpoints"]}
    for name in set(NAMES) - there:
        with mlflow.start_run(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # chat models are out of fashion, and in use
            mlflow.pyfunc.log_model(
                name="model",
                python_model=str(FOLDER / f"{name}.py"),
                registered_model_name=name,
                pip_requirements=["mlflow"],
            )
        body = {"name": name, "config": {"served_entities": [{"entity_name": name, "entity_version": "1"}]}}
        assert stack.call("POST", MANAGEMENT, body).status_code == 200
    for name in NAMES:
        stack.wait_ready(name)
