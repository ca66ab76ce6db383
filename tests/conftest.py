"""Fixtures of the suites that need a running stack; it is started once, when the first test asks for it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pytest

import penstock.spark
from penstock.domain.errors import TemporarilyUnavailable
from penstock.spark.java import find_java
from support.stack import (
    MANAGEMENT,
    MODEL,
    Stack,
    entity,
    register_broken,
    register_echo,
    start_stack,
    use_registry,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--report-dir", type=Path, metavar="DIR", help="where the security tests write their reports")
    parser.addoption("--full", action="store_true", help="run the fault tests at full length")
    parser.addoption("--report", type=Path, metavar="FILE", help="where the fault tests write their report")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose registry holds `m` v1 and v2 (the echo model) and `broken` v1."""
    home = Path(tmp_path_factory.mktemp("stack")) / "home"
    running = start_stack(home, env={"PENSTOCK_ALIAS_POLL_S": "0.3"})
    try:
        use_registry(running)
        assert register_echo("1") == "1"
        assert register_echo("2") == "2"
        assert register_broken() == "1"
        client = mlflow.MlflowClient()
        client.set_registered_model_alias(MODEL, "champion", "1")
        client.set_registered_model_alias(MODEL, "challenger", "2")
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator["SparkSession"]:
    """The one Spark session of a test run; it costs ten seconds and a gigabyte."""
    try:
        find_java()
    except TemporarilyUnavailable as exc:
        pytest.skip(str(exc))
    folder = tmp_path_factory.mktemp("spark")
    session = penstock.spark.session(
        cores=2, conf={"spark.local.dir": str(folder / "local"), "spark.sql.warehouse.dir": str(folder / "warehouse")}
    )
    yield session
    session.stop()


@pytest.fixture
def create(stack: Stack) -> Iterator[Callable[..., dict[str, Any]]]:
    """Creates endpoints that are deleted after the test."""
    names = []

    def make(name: str, *entities: dict[str, Any], ready: bool = True, **config: Any) -> dict[str, Any]:
        names.append(name)
        body = {"name": name, "config": {"served_entities": list(entities or [entity()]), **config}}
        answer = stack.call("POST", MANAGEMENT, body)
        assert answer.status_code == 200, answer.text
        return stack.wait_ready(name) if ready else answer.json()

    yield make
    for name in names:
        stack.call("DELETE", f"{MANAGEMENT}/{name}")


@pytest.fixture
def fresh(stack: Stack) -> Iterator[Callable[[str], str]]:
    """Names of endpoints that are deleted after the test, whoever creates them."""
    names = []

    def name(wanted: str) -> str:
        names.append(wanted)
        return wanted

    yield name
    for used in names:
        stack.call("DELETE", f"{MANAGEMENT}/{used}")


@pytest.fixture(scope="session")
def live(stack: Stack) -> str:
    """An endpoint with `m` v1, for queries."""
    body = {"name": "live", "config": {"served_entities": [entity()]}}
    assert stack.call("POST", MANAGEMENT, body).status_code == 200
    stack.wait_ready("live")
    return "live"


@pytest.fixture
def databricks_environment(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that `penstock env` prints."""
    monkeypatch.setenv("DATABRICKS_HOST", stack.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", stack.token)
