"""A model is loaded and asked its own example before it gets traffic; what came of it is kept and shown.

In replicas of a running stack, and by `penstock models check`.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import mlflow.sklearn
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

from penstock.domain.model_check import ModelCheck, Preflight, Sample
from penstock.domain.model_traits import ModelTraits
from penstock.domain.prediction import ExecutorKind
from penstock.processes.preflight import CheckFailed, Plan, check_model
from support.load import Load
from support.moody import register_moody, save_moody
from support.stack import MANAGEMENT, Stack, clean_environment, penstock, wait_for

Create = Callable[..., dict[str, Any]]
VETTED = "vetted"


def served(version: str, model: str = VETTED, **fields: Any) -> dict[str, Any]:
    return {"entity_name": model, "entity_version": version, **fields}


def update(stack: Stack, endpoint: str, version: str, model: str = VETTED, **fields: Any) -> dict[str, Any]:
    body = {"served_entities": [served(version, model, **fields)]}
    assert stack.call("PUT", f"{MANAGEMENT}/{endpoint}/config", body).status_code == 200
    return stack.wait(endpoint)


def state(document: dict[str, Any], config: str = "config") -> dict[str, Any]:
    return document[config]["served_entities"][0]["state"]


def build_log(stack: Stack, endpoint: str, entity: str) -> str:
    return stack.call("GET", f"{MANAGEMENT}/{endpoint}/served-models/{entity}/build-logs").json()["logs"]


def test_p3_8_r11_r13_only_a_checked_model_gets_traffic(stack: Stack, create: Create) -> None:
    """Slow, failing late, failing its own example: the version that serves loses no request through any of it."""
    good = register_moody(VETTED, version="1")
    first = state(create(VETTED, served(good)))["check"]
    assert first["sample"] == "answered"
    assert first["sample_ms"] > 0
    assert first["executor"] == "process"
    assert first["environment"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert 0 < first["memory_bytes"] <= first["peak_memory_bytes"]
    assert first["problems"] == []
    with Load(stack, VETTED, workers=2) as load:
        failing = update(stack, VETTED, register_moody(VETTED, version="2", predict="raise"))
        assert (failing["state"]["ready"], failing["state"]["config_update"]) == ("READY", "UPDATE_FAILED")
        told = state(failing, "pending_config")
        assert told["deployment"] == "DEPLOYMENT_FAILED"
        assert "its own input example got" in told["deployment_state_message"]
        assert "ValueError: no mood for this" in told["deployment_state_message"]
        assert told["check"]["sample"] == "failed"
        assert "no mood for this" in build_log(stack, VETTED, f"{VETTED}-2"), "the traceback"

        late = update(stack, VETTED, register_moody(VETTED, version="3", load_s=3, load="raise"))
        told = state(late, "pending_config")
        assert "RuntimeError: the weights are of another model" in told["deployment_state_message"]
        assert told["check"]["sample"] == "not_reached"
        assert told["check"]["load_s"] >= 3
        assert load.outcomes.versions.keys() == {"1"}

        slow = update(stack, VETTED, register_moody(VETTED, version="4", load_s=4))
        assert state(slow)["check"]["load_s"] >= 4
        wait_for(lambda: load.outcomes.versions["4"], "answers of the slow one")
    assert load.outcomes.failed == {}
    assert state(slow)["deployment"] == "DEPLOYMENT_READY"

    shown = penstock("endpoints", "get", VETTED, home=stack.home)
    assert "example answered" in shown.stdout
    (control_plane,) = stack.ps("control-plane")
    os.kill(control_plane["pid"], signal.SIGKILL)
    assert state(stack.wait_ready(VETTED)) == state(slow), "kept with the config"


def test_p3_8_a_model_without_an_example_says_so(stack: Stack, create: Create) -> None:
    version = register_moody("no-example", has_example=False, predict="raise")
    check = state(create("no-example", served(version, "no-example")))["check"]
    assert (check["sample"], check["sample_ms"]) == ("no_example", None)
    assert "without an input example" in check["problems"][0]


def test_p3_8_talking_models_are_asked_once_and_others_at_every_start(stack: Stack, create: Create) -> None:
    """A chat model calls others, for money, and comes back after a crash even while these are down."""
    talks = {"metadata": {"task": "llm/v1/chat"}}
    create("talks", served(register_moody("talks", **talks), "talks"))
    create("computes", served(register_moody("computes"), "computes"))
    create("unasked", served(register_moody("unasked", predict="raise"), "unasked", environment_vars=LOAD_ONLY))
    assert state(stack.get("unasked"))["check"]["sample"] == "skipped"
    for endpoint, asked in (("talks", 1), ("computes", 2)):
        (replica,) = stack.ps("replica", endpoint)
        os.kill(replica["pid"], signal.SIGKILL)
        log = wait_for(
            lambda e=endpoint: (log := build_log(stack, e, f"{e}-1")).count("ready after") == 2 and log, "its return"
        )
        assert log.count("moody was asked") == asked
        assert state(stack.wait_ready(endpoint))["check"]["sample"] == "answered"


LOAD_ONLY = {"PENSTOCK_PREFLIGHT": "load"}


def checked(folder: Path, **fields: Any) -> ModelCheck:
    """A check in this process."""
    plan = Plan(folder, "it", ModelTraits(), ExecutorKind.PROCESS, timeout_s=60, **fields)
    return check_model(plan, on_hang=lambda _: None)[1]


@pytest.mark.parametrize(
    ("mood", "told"),
    [
        ("exit", "it called exit(3)"),
        ("unsayable", "is not JSON serializable"),
        ("raise", "ValueError: no mood for this"),
    ],
)
def test_p3_8_what_a_model_may_do_with_its_own_example(tmp_path: Path, mood: str, told: str) -> None:
    folder = save_moody(tmp_path / "model", predict=mood)
    with pytest.raises(CheckFailed) as failed:
        checked(folder)
    assert told in str(failed.value)
    assert failed.value.check.sample is Sample.FAILED
    assert checked(folder, preflight=Preflight.LOAD).sample is Sample.SKIPPED


def test_p3_8_an_example_that_is_not_answered_in_time_ends_the_replica(tmp_path: Path) -> None:
    folder = save_moody(tmp_path / "model", predict="hang")
    code = (
        "import sys; from pathlib import Path\n"
        "from penstock.domain.model_traits import ModelTraits\n"
        "from penstock.domain.prediction import ExecutorKind\n"
        "from penstock.processes.preflight import Plan, check_model\n"
        "plan = Plan(Path(sys.argv[1]), 'it', ModelTraits(), ExecutorKind.PROCESS, timeout_s=0.5)\n"
        "check_model(plan, lambda hung: print(hung, flush=True))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=120, env=clean_environment()
    )
    assert ended.returncode == 1
    assert "was not answered within 0.5 s" in ended.stdout
    assert "moody_model.py" in ended.stderr, "where it hangs"


def test_p3_8_examples_and_answers_that_are_not_in_order(tmp_path: Path) -> None:
    folder = save_moody(tmp_path / "model", predict="nan")
    check = checked(folder)
    assert check.sample is Sample.ANSWERED
    assert "NaN" in check.problems[0]
    example = folder / "serving_input_example.json"
    example.write_text(f'{{"dataframe_records": [], "padding": "{"x" * (16 << 20)}"}}')
    check = checked(folder)
    assert check.sample is Sample.NO_EXAMPLE
    assert "which may have 16777216" in check.problems[0]
    example.unlink()
    assert "serving_input_example.json" in checked(folder).problems[0]


def test_p3_8_the_example_of_an_older_mlflow_is_asked_too(tmp_path: Path) -> None:
    """It was kept as a table alone, not as the body of a request."""
    folder = save_moody(tmp_path / "model")
    (folder / "serving_input_example.json").unlink()
    file = folder / "MLmodel"
    lines = [line for line in file.read_text().splitlines() if "serving_input_path" not in line]
    file.write_text("\n".join(lines))
    assert checked(folder).sample is Sample.ANSWERED


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scikit-learn model with an example, in a folder."""
    folder = tmp_path_factory.mktemp("models") / "linear"
    data = pd.DataFrame({"x": [0.0, 1.0]})
    model = LogisticRegression().fit(data, [0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.sklearn.save_model(
            model,
            str(folder),
            signature=infer_signature(data, model.predict(data)),
            input_example=data,
            pip_requirements=["scikit-learn"],
            serialization_format="cloudpickle",
        )
    return folder


def test_p3_8_models_check(stack: Stack, linear: Path, tmp_path: Path) -> None:
    """Alone, on a folder and from the registry of the stack; the exit code tells how it went."""
    nowhere = tmp_path / "no-stack"
    good = penstock("models", "check", str(linear), "--json", home=nowhere)
    assert good.returncode == 0, good.stderr
    told = json.loads(good.stdout)
    assert (told["passed"], told["message"], told["check"]["sample"]) == (True, "", "answered")

    cut = shutil.copytree(linear, tmp_path / "cut")
    (cut / "model.pkl").write_bytes((linear / "model.pkl").read_bytes()[:200])
    failed = penstock("models", "check", str(cut), "--json", home=nowhere)
    assert failed.returncode == 1
    assert "(in model.pkl)" in json.loads(failed.stdout)["message"]

    register_moody("told", predict="raise")
    mlflow.MlflowClient().set_registered_model_alias("told", "new", "1")
    refused = penstock("models", "check", "models:/told@new", home=stack.home)
    assert refused.returncode == 1
    assert "no mood for this" in refused.stderr
    loaded = penstock("models", "check", "models:/told/1", "--env", "PENSTOCK_PREFLIGHT=load", home=stack.home)
    assert loaded.returncode == 0, loaded.stderr
    assert "not asked" in loaded.stdout


@pytest.mark.parametrize(
    ("uri", "options", "code"),
    [
        ("models:/told/99", (), 4),
        ("models:/told@nobody", (), 4),
        ("models:/nothing", (), 2),
        ("no/such/folder", (), 4),
        ("models:/told/1", ("--env", "NOVALUE"), 2),
        ("models:/told/1", ("--env", "PENSTOCK_PREFLIGHT=perhaps"), 2),
    ],
)
def test_p3_8_models_check_of_what_is_not_there(stack: Stack, uri: str, options: tuple[str, ...], code: int) -> None:
    assert penstock("models", "check", uri, *options, home=stack.home).returncode == code


def test_p3_8_models_check_needs_a_stack_for_its_registry_only(tmp_path: Path) -> None:
    assert penstock("models", "check", "models:/told/1", home=tmp_path).returncode == 3
