"""What an agent's replica finds in its environment."""

import pytest

from penstock.domain.environment import EnvManager
from penstock.domain.replica import ReplicaSpec
from penstock.domain.served_entity import ModelVersion
from penstock.processes.launch import EnvironmentSettings, WorkerLaunch
from penstock.processes.worker import agent_environment

WORKSPACE = {"DATABRICKS_HOST": "http://127.0.0.1:8000", "DATABRICKS_TOKEN": "agent"}
TRACKING = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:8000", "MLFLOW_TRACKING_TOKEN": "agent"}


def launch(tracking_token: str | None = "fetching") -> WorkerLaunch:
    """What a replica is told; with a tracking token if the tracking server is ours."""
    return WorkerLaunch(
        parent_pid=1,
        status_fd=3,
        home="/nowhere",
        listen_fd=4,
        url="http://127.0.0.1:8000",
        agent_token="agent",
        tracking_uri="http://127.0.0.1:5000",
        tracking_token=tracking_token,
        environments=EnvironmentSettings("/nowhere/envs", EnvManager.AUTO, None, {}),
        spec=ReplicaSpec("k-0", "key", "e" * 32, "e", "m-1", 1, ModelVersion("m", "1")),
    )


@pytest.mark.parametrize(
    ("environment", "added"),
    [
        ({}, WORKSPACE | TRACKING),
        ({"PATH": "/bin", "MLFLOW_HTTP_REQUEST_TIMEOUT": "9"}, WORKSPACE | TRACKING),
        ({"DATABRICKS_HOST": "https://elsewhere"}, TRACKING),
        ({"DATABRICKS_CONFIG_PROFILE": "mine"}, TRACKING),
        ({"MLFLOW_TRACKING_URI": "https://elsewhere"}, WORKSPACE),
        ({"MLFLOW_TRACKING_USERNAME": "me"}, WORKSPACE),
        ({"DATABRICKS_TOKEN": "x", "MLFLOW_TRACKING_URI": "https://elsewhere"}, {}),
    ],
)
def test_an_agent_finds_our_workspace_unless_its_entity_names_another(
    environment: dict[str, str], added: dict[str, str]
) -> None:
    before = dict(environment)
    assert agent_environment(launch(), environment) == added
    assert environment == before


def test_no_token_of_ours_goes_to_a_tracking_server_that_is_not_ours() -> None:
    assert agent_environment(launch(None), {}) == WORKSPACE


def test_an_agent_is_never_given_the_token_that_fetches_models() -> None:
    assert "fetching" not in agent_environment(launch(), {}).values()
