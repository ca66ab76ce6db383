"""Models that need other packages than Penstock has are served in environments that are built for them, offline."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import pytest
from packaging.requirements import Requirement

from penstock.domain.environment import RUNTIME
from support.stack import MANAGEMENT, SUPPORT, Stack, penstock, refused, start_stack, use_registry, wait_for
from support.wheelhouse import pack_installed, write_slow_package, write_wheel

MODEL = "housed"
MLFLOW = f"mlflow-skinny=={version('mlflow-skinny')}"
ONE, TWO, UNSOLVABLE, SLOW, PLAIN = "1", "2", "3", "4", "5"
REQUIREMENTS = {
    ONE: ["penstock-dummy==1.0"],
    TWO: ["penstock-dummy==2.0"],
    UNSOLVABLE: ["penstock-dummy==3"],
    SLOW: ["penstock-dummy==2.0", "penstock-slow==1.0"],
    PLAIN: [],
}
"""What each version of the model asks for beside MLflow."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of MLflow's small form, of the packages that a replica needs, and of the dummies."""
    folder = Path(tmp_path_factory.mktemp("environments"))
    wheels = folder / "wheels"
    wheels.mkdir()
    pack_installed(wheels, ["mlflow-skinny", *(Requirement(needed).name for needed in RUNTIME)])
    write_wheel(wheels, "penstock-dummy", "1.0")
    write_wheel(wheels, "penstock-dummy", "2.0")
    write_slow_package(wheels, "penstock-slow", "1.0", folder / "begun", folder / "go-on")
    return folder


def start(place: Path) -> Stack:
    return start_stack(place / "home", "--wheelhouse", str(place / "wheels"))


@pytest.fixture(scope="module")
def housing(place: Path) -> Iterator[list[Stack]]:
    """The stack that runs now, alone in a list: the last test puts another one there."""
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri(), os.environ.get("MLFLOW_TRACKING_TOKEN")
    current = [start(place)]
    try:
        use_registry(current[0])
        mlflow.set_experiment("environments")
        for number, requirements in REQUIREMENTS.items():
            with mlflow.start_run():
                info = mlflow.pyfunc.log_model(
                    name="model",
                    python_model=str(SUPPORT / "housed_model.py"),
                    registered_model_name=MODEL,
                    pip_requirements=[MLFLOW, *requirements],
                )
            assert str(info.registered_model_version) == number
        yield current
    finally:
        current[0].stop()
        mlflow.set_tracking_uri(before[0])
        mlflow.set_registry_uri(before[1])
        os.environ.pop("MLFLOW_TRACKING_TOKEN")
        if before[2] is not None:
            os.environ["MLFLOW_TRACKING_TOKEN"] = before[2]


@pytest.fixture
def stack(housing: list[Stack]) -> Stack:
    return housing[0]


def entity(number: str, **variables: str) -> dict[str, Any]:
    return {"name": "e", "entity_name": MODEL, "entity_version": number, "environment_vars": variables}


def create(stack: Stack, name: str, number: str, **variables: str) -> None:
    body = {"name": name, "config": {"served_entities": [entity(number, **variables)]}}
    answer = stack.call("POST", MANAGEMENT, body)
    assert answer.status_code == 200, answer.text


def await_ready(stack: Stack, endpoint: str) -> None:
    state = stack.wait(endpoint, 240)
    assert state["state"]["config_update"] == "NOT_UPDATING", json.dumps(state)
    stack.wait_ready(endpoint)


def told(stack: Stack, endpoint: str) -> dict[str, Any]:
    answer = stack.ask(endpoint, {"inputs": [1]})
    assert answer.status_code == 200, answer.text
    predictions: dict[str, Any] = answer.json()["predictions"]
    return predictions


def build_log(stack: Stack, endpoint: str) -> str:
    return str(stack.call("GET", f"{MANAGEMENT}/{endpoint}/served-models/e/build-logs").json()["logs"])


def fork_server(stack: Stack, environment: str) -> int | None:
    """The id of the environment's fork server, once it is ready."""
    ready = [p["pid"] for p in stack.ps("zygote") if p["environment"] == environment and p["state"] == "ready"]
    return ready[0] if ready else None


def test_p3_6_each_model_finds_its_own_versions_and_equal_needs_share_one_environment(stack: Stack) -> None:
    """Nothing of Penstock's packages is there but what a replica is said to need."""
    names = ("one", "two", "same-as-one")
    for name, number in zip(names, (ONE, TWO, ONE), strict=True):
        create(stack, name, number)
    for name in names:
        await_ready(stack, name)
    one, two, same = (told(stack, name) for name in names)
    assert [seen["dummy"] for seen in (one, two, same)] == ["1.0", "2.0", "1.0"]
    assert one["prefix"] == same["prefix"] != two["prefix"]
    assert Path(one["prefix"]).parent == stack.home / "envs"
    ours = {path for path in sys.path if "site-packages" in path or path.endswith("src")}
    assert not ours & set(one["path"])
    assert not {"penstock", "scikit-learn", "sqlalchemy", "uv", "psutil", "orjson"} & set(one["packages"])
    assert {"msgspec", "pandas", "python-json-logger", "mlflow-skinny"} <= set(one["packages"])
    logs = [build_log(stack, name) for name in names]
    assert ["built environment" in log for log in logs].count(True) == 2, "the shared one was built once"
    assert f"environment {Path(one['prefix']).name}" in logs[0]
    shown = {p["endpoint"]: p["environment"] for p in stack.ps("replica")}
    assert shown == {name: Path(seen["prefix"]).name for name, seen in zip(names, (one, two, same), strict=True)}


def test_p3_6_who_provides_the_environment_is_chosen_by_entity(stack: Stack) -> None:
    create(stack, "local", ONE, PENSTOCK_ENV_MANAGER="local")
    create(stack, "met", PLAIN)
    for name in ("local", "met"):
        await_ready(stack, name)
        assert told(stack, name)["prefix"] == sys.prefix
    assert told(stack, "local")["dummy"] is None
    log = build_log(stack, "local")
    assert "requirements.txt line 2 asks for penstock-dummy==1.0, but penstock-dummy is not installed" in log
    assert "not met" not in build_log(stack, "met")
    body = {"name": "bad", "config": {"served_entities": [entity(ONE, PENSTOCK_ENV_MANAGER="conda")]}}
    refused(
        stack.call("POST", MANAGEMENT, body),
        400,
        "INVALID_PARAMETER_VALUE",
        "PENSTOCK_ENV_MANAGER: got 'conda'; wanted auto, local or uv",
    )


def test_p3_6_a_model_is_checked_in_the_environment_that_it_would_be_served_in(stack: Stack) -> None:
    before = {folder.name for folder in (stack.home / "envs").iterdir()}
    answer = penstock("models", "check", f"models:/{MODEL}/{TWO}", "--json", home=stack.home)
    assert answer.returncode == 0, answer.stderr
    check = json.loads(answer.stdout)["check"]
    assert (check["environment"]["manager"], check["is_forked"]) == ("uv", False)
    assert {folder.name for folder in (stack.home / "envs").iterdir()} == before, "the one that is there was taken"


def test_p3_6_a_wheelhouse_that_is_not_there_is_refused(place: Path) -> None:
    answer = penstock("up", "--wheelhouse", str(place / "nowhere"), home=place / "other-home")
    assert answer.returncode == 2
    assert "--wheelhouse: got" in answer.stderr


def test_p3_1_replicas_in_an_environment_are_forked_from_its_own_fork_server(stack: Stack) -> None:
    before = told(stack, "one")
    environment = Path(before["prefix"]).name
    wait_for(lambda: fork_server(stack, environment), "the environment's fork server")
    (replica,) = stack.ps("replica", "one")
    os.kill(replica["pid"], signal.SIGKILL)
    assert told(stack, "one") == before
    log = build_log(stack, "one")
    assert log.count("started afresh, ready after") == 1
    assert log.count("forked, ready after") == 1


def test_p3_6_what_cannot_be_solved_is_told_with_the_package_the_constraint_and_who_asked(stack: Stack) -> None:
    """R10: the update fails, the old version serves on."""
    answer = stack.call("PUT", f"{MANAGEMENT}/one/config", {"served_entities": [entity(UNSOLVABLE)]})
    assert answer.status_code == 200, answer.text
    failed = stack.wait("one")
    assert failed["state"] == {"ready": "READY", "config_update": "UPDATE_FAILED", "suspend": "NOT_SUSPENDED"}
    message = json.dumps(failed)
    assert "Package 'penstock-dummy': requirements.txt line 2 asks for penstock-dummy==3." in message
    assert "there is no version of penstock-dummy==3" in message
    assert "No solution found" in str(
        stack.call("GET", f"{MANAGEMENT}/one/served-models/e/build-logs?config_version=2").text
    )
    assert told(stack, "one")["dummy"] == "1.0"


def test_p3_6_a_killed_build_is_finished_later_and_unused_environments_go(housing: list[Stack], place: Path) -> None:
    stack = housing[0]
    kept, unused = (Path(told(stack, name)["prefix"]) for name in ("one", "two"))
    wait_for(lambda: fork_server(stack, unused.name), "the environment's fork server")
    assert stack.call("DELETE", f"{MANAGEMENT}/two").status_code == 200
    wait_for(lambda: not fork_server(stack, unused.name), "the fork server to end with the last replica")
    for folder in (kept, unused):
        for use in (folder / "used-by").iterdir():
            os.utime(use, (1, 1))

    create(stack, "slow", SLOW)
    wait_for((place / "begun").exists, "the build to begin")
    (half,) = {folder for folder in (stack.home / "envs").iterdir() if folder.is_dir()} - {
        kept,
        unused,
        stack.home / "envs" / ".cache",
    }
    assert not (half / "environment.json").exists()
    stack.kill_everything()
    (place / "go-on").touch()
    again = housing[0] = start(place)
    await_ready(again, "slow")
    assert told(again, "slow")["dummy"] == "2.0"
    assert Path(told(again, "slow")["prefix"]) == half
    assert told(again, "one")["dummy"] == "1.0"
    wait_for(lambda: not unused.exists(), "the unused environment to be removed")
    assert kept.exists()
