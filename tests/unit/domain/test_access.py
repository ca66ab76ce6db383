"""What a token opens, and what tokens of agents are made of."""

import pytest

from penstock.domain.access import Scope, agent_token, opens

ALL, READER, AGENT = Scope.ALL, Scope.READ_MODELS, Scope.AGENT


@pytest.mark.parametrize(
    ("scope", "method", "path", "may"),
    [
        (ALL, "DELETE", "/api/2.0/serving-endpoints/x", True),
        (READER, "GET", "/api/2.0/mlflow/model-versions/get", True),
        (READER, "HEAD", "/api/3.0/mlflow/x", True),
        (READER, "GET", "/api/2.0/mlflow-artifacts/artifacts/1/m", True),
        (READER, "POST", "/api/2.0/mlflow/registered-models/create", False),
        (READER, "PUT", "/api/2.0/mlflow-artifacts/artifacts/1/m", False),
        (READER, "DELETE", "/api/2.0/mlflow/registered-models/delete", False),
        (READER, "GET", "/api/2.0/serving-endpoints", False),
        (READER, "POST", "/serving-endpoints/x/invocations", False),
        (READER, "GET", "/ajax-api/2.0/mlflow/experiments/search", False),
        (READER, "GET", "/mlflow/", False),
        (READER, "GET", "/api/2.0/mlflowx", False),
        (READER, "get", "/api/2.0/mlflow/x", False),
        (READER, "POST", "/v1/traces", False),
        (AGENT, "GET", "/api/2.0/mlflow/model-versions/get", True),
        (AGENT, "POST", "/serving-endpoints/x/invocations", True),
        (AGENT, "POST", "/serving-endpoints/chat/completions", True),
        (AGENT, "GET", "/serving-endpoints/models", True),
        (AGENT, "GET", "/api/2.0/serving-endpoints/x", True),
        (AGENT, "GET", "/api/2.0/preview/scim/v2/Me", True),
        (AGENT, "POST", "/v1/traces", True),
        (AGENT, "POST", "/api/3.0/mlflow/traces", True),
        (AGENT, "PATCH", "/api/2.0/mlflow/traces/tr-1", True),
        (AGENT, "PUT", "/api/2.0/mlflow-artifacts/artifacts/0/traces/tr-1/artifacts/traces.json", True),
        (AGENT, "PUT", "/api/2.0/mlflow-artifacts/artifacts/0/models/m-1/MLmodel", False),
        (AGENT, "DELETE", "/api/2.0/mlflow/traces/tr-1", False),
        (AGENT, "POST", "/api/2.0/serving-endpoints", False),
        (AGENT, "PUT", "/api/2.0/serving-endpoints/x/config", False),
        (AGENT, "DELETE", "/api/2.0/serving-endpoints/x", False),
        (AGENT, "POST", "/api/2.0/penstock/tokens", False),
        (AGENT, "GET", "/api/2.0/penstock/tokens", False),
        (AGENT, "GET", "/mlflow/", False),
    ],
)
def test_what_a_scope_opens(scope: Scope, method: str, path: str, may: bool) -> None:
    assert opens(scope, method, path) is may


def test_every_deployment_has_an_agent_token_of_its_own_that_only_the_secret_tells() -> None:
    tokens = {agent_token(secret, key) for secret in ("one", "two") for key in ("a", "b")}
    assert len(tokens) == 4
    assert agent_token("one", "a") == agent_token("one", "a")
