"""What commands share: exit codes, and output that says exactly what it was given."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.cli.session import (
    FAILED,
    NOT_FOUND,
    NOT_RUNNING,
    REFUSED,
    TIMED_OUT,
    USAGE,
    CommandFailed,
    RunningStack,
    command,
    print_json,
    print_table,
    running_stack,
    settings_for,
)
from penstock.client.api import ApiError, Unreachable
from penstock.runtime.lock import lock
from penstock.settings import Home


def failing(error: Exception) -> Callable[[], None]:
    """A command that fails so."""

    @command
    def run() -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CommandFailed("no"), FAILED),
        (CommandFailed("no", TIMED_OUT), TIMED_OUT),
        (Unreachable("no"), NOT_RUNNING),
        (ApiError(404, "RESOURCE_DOES_NOT_EXIST", "no"), NOT_FOUND),
        (ApiError(400, "INVALID_PARAMETER_VALUE", "no"), REFUSED),
        (ApiError(401, "UNAUTHENTICATED", "no"), REFUSED),
        (ApiError(409, "RESOURCE_CONFLICT", "no"), REFUSED),
        (ApiError(500, "INTERNAL_ERROR", "no"), FAILED),
        (ApiError(503, "TEMPORARILY_UNAVAILABLE", "no"), NOT_RUNNING),
        (ApiError(504, "DEADLINE_EXCEEDED", "no"), TIMED_OUT),
    ],
)
def test_every_failure_has_its_exit_code(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        failing(error)()
    assert left.value.code == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Error: ")


@pytest.mark.parametrize(
    "text",
    [
        "config.served_entities[0].name: got 'x'",
        "[red]x[/red] [/] [bold",
        "a \\[b] c",
        "C:\\models\\",
        "x" * 300,
    ],
)
def test_a_message_is_printed_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        failing(CommandFailed(text))()
    assert capsys.readouterr().err == f"Error: {text}\n"


def test_a_command_that_works_returns_what_it_returns() -> None:
    assert command(lambda: 7)() == 7


def test_a_programming_error_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())()


def test_tables_print_what_is_in_the_cells(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["NAME", "WHY"], [["x", "[bold]why[/bold]"], ["y", None], ["z", 3]])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["NAME", "WHY"], ["x", "[bold]why[/bold]"], ["y"], ["z", "3"]]


def test_json_is_one_document_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": ["[bold]", "x" * 500, "é"]})
    assert json.loads(capsys.readouterr().out) == {"a": ["[bold]", "x" * 500, "é"]}


STATUS = {
    "url": "https://h:1",
    "local_url": "http://127.0.0.1:2",
    "pid": 77,
    "mlflow_url": "http://127.0.0.1:1/mlflow/",
    "limits": "kept by the kernel",
    "gpus": ["0"],
}


def stack_file(home: Home, text: str) -> None:
    """What a stack writes about itself."""
    home.run.mkdir(parents=True)
    home.status_file.write_text(text)
    home.token_file.write_text("pst_secret\n")


def test_a_running_stack_is_found_by_its_home(tmp_path: Path) -> None:
    home = Home(tmp_path)
    stack_file(home, json.dumps(STATUS))
    with lock(home.lock_file):
        assert running_stack(tmp_path) == RunningStack(token="pst_secret", **{**STATUS, "gpus": ("0",)})


def test_what_a_dead_stack_left_behind_is_no_running_stack(tmp_path: Path) -> None:
    home = Home(tmp_path)
    stack_file(home, json.dumps(STATUS))
    with lock(home.lock_file):
        pass
    with pytest.raises(CommandFailed, match="No stack runs on") as failed:
        running_stack(tmp_path)
    assert failed.value.exit_code == NOT_RUNNING


@pytest.mark.parametrize("text", [None, "", "{"], ids=["no file", "empty file", "half a file"])
def test_a_stack_that_is_just_starting_is_not_running_yet(text: str | None, tmp_path: Path) -> None:
    home = Home(tmp_path)
    stack_file(home, text or "")
    if text is None:
        home.status_file.unlink()
    with lock(home.lock_file), pytest.raises(CommandFailed, match="No stack runs on") as failed:
        running_stack(tmp_path)
    assert failed.value.exit_code == NOT_RUNNING


def test_a_home_without_anything_has_no_running_stack(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="No stack runs on"):
        running_stack(tmp_path / "nowhere")


def test_the_home_of_the_command_line_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PENSTOCK_HOME", "/elsewhere")
    assert settings_for(tmp_path).home.path == tmp_path
    assert settings_for(None).home.path == Path("/elsewhere")


def test_a_bad_variable_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_PORT", "many")
    with pytest.raises(CommandFailed, match="PENSTOCK_PORT") as failed:
        settings_for(None)
    assert failed.value.exit_code == USAGE
