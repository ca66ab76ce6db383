"""Environments on disk: built once, held while used, removed when nobody does."""

import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from penstock.domain.environment import KEEP_UNUSED_S
from penstock.runtime.environments import Environment, Environments

spawn = multiprocessing.get_context("spawn")


@pytest.fixture
def environments(tmp_path: Path) -> Environments:
    return Environments(tmp_path)


def build(environment: Environment) -> None:
    """Put what is looked for."""
    environment.python.parent.mkdir(parents=True)
    environment.python.touch()
    environment.complete({"requirements": []})


def build_slowly(folder: Path, begun: Event, go_on: Event, held: Event) -> None:
    """In a process of its own: build when told to, then hold until killed."""
    environment = Environment(folder)

    def slow(_lock: int) -> None:
        environment.folder.mkdir()
        begun.set()
        go_on.wait()
        build(environment)

    environment.hold(slow)
    held.set()
    time.sleep(600)


def used_long_ago(environment: Environment, model: str) -> None:
    environment.note_use(model)
    os.utime(environment.folder / "used-by" / model, (1, 1))


def test_it_is_built_once(environments: Environments) -> None:
    environment = environments.of("k")
    built = []

    def count(_lock: int) -> None:
        built.append(1)
        build(environment)

    environment.hold(count)
    environment.hold(count)
    assert built == [1]
    assert [found.key for found in environments] == ["k"]


def test_a_build_that_fails_leaves_nothing(environments: Environments, tmp_path: Path) -> None:
    environment = environments.of("k")

    def fail(_lock: int) -> None:
        environment.folder.mkdir()
        raise ValueError("no space")

    with pytest.raises(ValueError, match="no space"):
        environment.hold(fail)
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_not_there_cannot_be_held_without_a_builder(environments: Environments) -> None:
    with pytest.raises(FileNotFoundError, match="not whole"):
        environments.of("k").hold()


def test_what_a_killed_builder_left_is_built_anew_by_who_waited(environments: Environments) -> None:
    environment = environments.of("k")
    begun, go_on, held = spawn.Event(), spawn.Event(), spawn.Event()
    builder = spawn.Process(target=build_slowly, args=(environment.folder, begun, go_on, held))
    builder.start()
    assert begun.wait(60)
    assert not environment.is_whole

    def kill() -> None:
        assert builder.pid is not None
        os.kill(builder.pid, signal.SIGKILL)

    environment.hold(lambda _lock: build(environment), on_wait=kill)
    builder.join(60)
    assert environment.is_whole
    assert not held.is_set()


def test_one_in_use_is_never_removed(environments: Environments) -> None:
    environment = environments.of("k")
    begun, go_on, held = spawn.Event(), spawn.Event(), spawn.Event()
    user = spawn.Process(target=build_slowly, args=(environment.folder, begun, go_on, held))
    user.start()
    go_on.set()
    assert held.wait(60)
    used_long_ago(environment, "m")
    assert environments.sweep(set()) == ()
    assert environment.is_whole
    user.kill()
    user.join(60)
    environments.cache.mkdir()
    assert environments.sweep({"m"}) == ()
    assert environments.sweep(set(), now_s=KEEP_UNUSED_S) == ()
    assert environments.sweep(set()) == ("k",)
    assert list(environments) == []
    assert not environments.cache.exists()


def test_the_cache_stays_while_something_is_built(environments: Environments) -> None:
    environment = environments.of("k")
    environment.folder.mkdir()
    environments.cache.mkdir()
    with environments.using_cache():
        assert environments.sweep(set()) == ("k",)
        assert environments.cache.exists()


def test_a_start_removes_what_is_not_whole(environments: Environments, tmp_path: Path) -> None:
    build(environments.of("whole"))
    environments.of("half").folder.mkdir()
    build(environments.of("moved"))
    environments.of("moved").python.unlink()
    (tmp_path / "left.lock").touch()
    environments.remove_unfinished()
    assert [found.key for found in environments] == ["whole"]
    assert not (tmp_path / "left.lock").exists()


def test_variables_lead_to_the_environment_and_not_back_to_ours(environments: Environments) -> None:
    ours = {"PATH": "/bin", "PYTHONPATH": "/ours", "PYTHONHOME": "/ours", "VIRTUAL_ENV": "/ours", "X": "1"}
    environment = environments.of("k")
    bin_folder = str(environment.folder / "bin")
    assert environment.variables(ours, ()) == {
        "PATH": f"{bin_folder}:/bin",
        "VIRTUAL_ENV": str(environment.folder),
        "X": "1",
    }
    assert environment.variables(ours, ["PYTHONPATH"])["PYTHONPATH"] == "/ours"
    assert environment.variables({}, ())["PATH"] == bin_folder


def test_this_process_runs_in_none_of_them(environments: Environments) -> None:
    assert environments.current() is None
