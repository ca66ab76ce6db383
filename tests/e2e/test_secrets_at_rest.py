"""Secrets through restarts: after `kill -9` of everything, without the key file, and with a wrong one."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from support.stack import MANAGEMENT, ROW, Stack, entity, penstock, start_stack, wait_for

SECRETS = "/api/2.0/secrets"
SERVED = {"served_entities": [entity("1", environment_vars={"KEY": "{{secrets/s/k}}"})]}


def value(stack: Stack) -> str:
    """What the model sees."""
    answer = stack.ask("vault", {"dataframe_records": [{**ROW, "s": "env"}]})
    seen: str = answer.json()["predictions"][0]["env"]["KEY"]
    return seen


@pytest.fixture
def start(stack: Stack, tmp_path: Path) -> Iterator[Callable[[], Stack]]:
    """Starts a stack on one home, whose registry is a copy of the shared stack's."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copytree(stack.home / "mlflow", home / "mlflow")
    started: list[Stack] = []

    def run() -> Stack:
        started.append(start_stack(home))
        return started[-1]

    yield run
    for one in started:
        if one.process.poll() is None:
            one.stop()


def test_a_restart_needs_the_key_file_and_nothing_else(start: Callable[[], Stack]) -> None:
    first = start()
    key_file = first.home / "secrets.key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    first.workspace().secrets.create_scope("s")
    first.workspace().secrets.put_secret("s", "k", string_value="canary-of-a-restart")
    first.call("POST", MANAGEMENT, {"name": "vault", "config": SERVED})
    first.wait_ready("vault")
    first.workspace().secrets.delete_scope("s")
    first.kill_everything()

    key = key_file.read_text()
    key_file.unlink()
    refused = penstock("up", "--port", "0", home=first.home)
    assert refused.returncode == 1
    assert "secrets.key is missing" in refused.stderr
    assert "backup" in refused.stderr
    assert not key_file.exists()
    key_file.write_text(key)
    key_file.chmod(0o644)
    refused = penstock("up", "--port", "0", home=first.home)
    assert refused.returncode == 1
    assert f"chmod 600 {key_file}" in refused.stderr

    key_file.chmod(0o600)
    second = start()
    second.wait_ready("vault")
    assert value(second) == "canary-of-a-restart"
    second.stop()
    for file in second.home.rglob("*"):
        if file.is_file():
            assert b"canary-of-a-restart" not in file.read_bytes(), file

    key_file.write_text(Fernet.generate_key().decode())
    third = start()
    (served,) = third.get("vault")["config"]["served_entities"]
    assert third.get("vault")["state"]["ready"] == "NOT_READY"
    assert "environment_vars.KEY cannot be decrypted" in served["state"]["deployment_state_message"]
    third.workspace().secrets.create_scope("s")
    third.workspace().secrets.put_secret("s", "k", string_value="put again")
    third.call("PUT", f"{MANAGEMENT}/vault/config", SERVED)
    third.wait_ready("vault")
    wait_for(lambda: value(third) == "put again", "the new value")
