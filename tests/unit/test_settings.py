"""Settings from the environment: defaults, values, and refusals that name the variable."""

from pathlib import Path

import pytest

from penstock.domain.limits import Limits, Machine
from penstock.settings import BadSetting, Home, Settings, read_settings, tracking_authorization


def test_an_empty_environment_gives_the_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read_settings({}, Machine(4))
    assert settings == Settings(Home(tmp_path / ".penstock"), "127.0.0.1", 8080, limits=Limits(cores=4))


def test_empty_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    names = (
        "HOME",
        "HOST",
        "PORT",
        "HOLD_TIMEOUT_S",
        "ALIAS_POLL_S",
        "DEPLOY_TIMEOUT_S",
        "REQUEST_TIMEOUT_S",
        "QUEUE_SIZE",
    )
    assert read_settings({f"PENSTOCK_{name}": "" for name in names}, Machine(4)) == read_settings({}, Machine(4))


def test_every_variable_is_read() -> None:
    settings = read_settings(
        {
            "PENSTOCK_HOME": "/srv/penstock",
            "PENSTOCK_HOST": "0.0.0.0",
            "PENSTOCK_PORT": "0",
            "PENSTOCK_HOLD_TIMEOUT_S": "0.5",
            "PENSTOCK_IDLE_TIMEOUT_S": "1",
            "PENSTOCK_SPOOL_MAX_MB": "2",
            "PENSTOCK_ALIAS_POLL_S": "3",
            "PENSTOCK_DEPLOY_TIMEOUT_S": "60",
            "PENSTOCK_REQUEST_TIMEOUT_S": "0.1",
            "PENSTOCK_QUEUE_SIZE": "0",
            "PENSTOCK_MEMORY_LIMIT_MB": "64",
            "PENSTOCK_PROCESS_LIMIT": "16",
            "PENSTOCK_FILE_LIMIT": "1000000",
            "PENSTOCK_JOB_TASKS": "2",
            "PENSTOCK_JOB_MEMORY_MB": "64",
            "PENSTOCK_JOB_PROCESS_LIMIT": "16",
            "PENSTOCK_WORKSPACE": "/srv/files",
            "CUDA_VISIBLE_DEVICES": "1",
            "PENSTOCK_SOMETHING_ELSE": "x",
        },
        Machine(8, memory_mb=2000, gpus=2),
    )
    limits = Limits(
        cores=8,
        deploy_timeout_s=60,
        request_timeout_s=0.1,
        queue_size=0,
        memory_mb=2000,
        replica_memory_mb=1488,
        memory_limit_mb=64,
        process_limit=16,
        file_limit=1000000,
        gpus=1,
    )
    assert settings == Settings(
        Home(Path("/srv/penstock")),
        "0.0.0.0",
        0,
        hold_timeout_s=0.5,
        idle_timeout_s=1,
        spool_max_mb=2,
        alias_poll_s=3,
        job_tasks=2,
        job_memory_mb=64,
        job_process_limit=16,
        workspace=Path("/srv/files"),
        limits=limits,
        devices=("1",),
    )


@pytest.mark.parametrize("given", ["home", "./home", "../x/home"])
def test_a_relative_home_is_made_absolute(given: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    path = read_settings({"PENSTOCK_HOME": given}, Machine(1)).home.path
    assert path.is_absolute()
    assert path.resolve() == (tmp_path / given).resolve()


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("PENSTOCK_PORT", "http", "0 to 65535"),
        ("PENSTOCK_PORT", "65536", "0 to 65535"),
        ("PENSTOCK_PORT", "-1", "0 to 65535"),
        ("PENSTOCK_PORT", "80.5", "0 to 65535"),
        ("PENSTOCK_HOLD_TIMEOUT_S", "3601", "0 to 3600"),
        ("PENSTOCK_IDLE_TIMEOUT_S", "0.5", "1 to 86400"),
        ("PENSTOCK_SPOOL_MAX_MB", "0", "1 to 16777216"),
        ("PENSTOCK_DEPLOY_TIMEOUT_S", "0", "1 to 86400"),
        ("PENSTOCK_MEMORY_LIMIT_MB", "0", "64 to 16777216"),
        ("PENSTOCK_PROCESS_LIMIT", "15", "16 to 1000000"),
        ("PENSTOCK_FILE_LIMIT", "many", "64 to 1000000"),
        ("PENSTOCK_REQUEST_TIMEOUT_S", "0", "0.1 to 3600"),
        ("PENSTOCK_REQUEST_TIMEOUT_S", "nan", "0.1 to 3600"),
        ("PENSTOCK_REQUEST_TIMEOUT_S", "inf", "0.1 to 3600"),
        ("PENSTOCK_QUEUE_SIZE", "0.9", "0 to 1000000"),
        ("PENSTOCK_QUEUE_SIZE", "-1", "0 to 1000000"),
    ],
)
def test_a_bad_value_is_refused_by_variable(name: str, value: str, wanted: str) -> None:
    with pytest.raises(BadSetting) as refused:
        read_settings({name: value}, Machine(1))
    message = str(refused.value)
    assert message.startswith(f"{name}: got '{value}'; wanted a ")
    assert f"from {wanted}" in message


def test_no_file_of_a_home_lies_outside_it_and_no_two_are_the_same() -> None:
    home = Home(Path("/srv/penstock"))
    names = [name for name in dir(Home) if not name.startswith("_") and name != "path"]
    paths = [getattr(home, name) for name in names]
    assert len(set(paths)) == len(paths) >= 10
    assert all(path.is_relative_to(home.path) for path in paths)


@pytest.mark.parametrize(
    ("environment", "header"),
    [
        ({}, None),
        ({"MLFLOW_TRACKING_TOKEN": "t"}, "Bearer t"),
        ({"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "é:x"}, "Basic YW5uOsOpOng="),
        ({"MLFLOW_TRACKING_USERNAME": "ann"}, "Basic YW5uOg=="),
        ({"MLFLOW_TRACKING_PASSWORD": "x"}, None),
        ({"MLFLOW_TRACKING_TOKEN": "", "MLFLOW_TRACKING_USERNAME": ""}, None),
    ],
)
def test_a_tracking_server_is_shown_what_mlflow_s_own_client_would_show(
    environment: dict[str, str], header: str | None
) -> None:
    assert tracking_authorization(environment) == header


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("", ()),
        (" , ", ()),
        ("*", ("*",)),
        ("https://app.example.com", ("https://app.example.com",)),
        (" http://localhost:3000 , http://[::1]:80", ("http://localhost:3000", "http://[::1]:80")),
    ],
)
def test_origins_are_a_list(value: str, origins: tuple[str, ...]) -> None:
    assert read_settings({"PENSTOCK_CORS_ORIGINS": value}, Machine(1)).cors_origins == origins


@pytest.mark.parametrize(
    "origin",
    [
        "app.example.com",
        "https://app.example.com/",
        "HTTPS://app.example.com",
        "null",
        "https://*.example.com",
        "*,http://h",
    ],
)
def test_what_no_browser_sends_as_an_origin_is_refused(origin: str) -> None:
    with pytest.raises(BadSetting, match=r"PENSTOCK_CORS_ORIGINS: got '.+'; wanted origins"):
        read_settings({"PENSTOCK_CORS_ORIGINS": origin}, Machine(1))
