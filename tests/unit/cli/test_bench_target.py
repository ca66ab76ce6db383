"""Whom `penstock bench` asks."""

from pathlib import Path
from typing import Any

import pytest

from penstock.cli.bench_target import busiest_entity, find_asked
from penstock.cli.session import CommandFailed


@pytest.mark.parametrize(
    ("where", "code", "told"),
    [
        ("lr", 3, "No stack runs"),
        ("endpoints:/lr", 3, "No stack runs"),
        ("ftp://host/x", 2, "endpoints:/NAME"),
        ("endpoints:/", 2, "endpoints:/NAME"),
        ("http://host:1000000/x", 2, "URL"),
    ],
)
def test_what_cannot_be_asked(tmp_path: Path, where: str, code: int, told: str) -> None:
    with pytest.raises(CommandFailed, match=told) as failed:
        find_asked(where, None, tmp_path)
    assert failed.value.exit_code == code


def test_an_address_names_an_endpoint_and_perhaps_an_entity(tmp_path: Path) -> None:
    asked = find_asked("http://h/serving-endpoints/a%20b/served-models/m-1/invocations", None, tmp_path)
    assert (asked.endpoint, asked.entity, asked.stack) == ("a b", "m-1", None)
    assert find_asked("http://h/invocations", None, tmp_path).endpoint is None


def test_the_token_of_the_environment_goes_to_its_own_host_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", "https://mine.example")
    monkeypatch.setenv("DATABRICKS_TOKEN", "secret")
    assert find_asked("https://mine.example/x", None, tmp_path).token == "secret"
    assert find_asked("https://other.example/x", None, tmp_path).token is None
    assert find_asked("http://mine.example/x", None, tmp_path).token is None
    assert find_asked("https://other.example/x", "given", tmp_path).token == "given"


CONFIG: dict[str, Any] = {
    "served_entities": [{"name": "a"}, {"name": "b"}],
    "traffic_config": {
        "routes": [
            {"served_entity_name": "a", "traffic_percentage": 10},
            {"served_entity_name": "b", "traffic_percentage": 90},
        ]
    },
}


@pytest.mark.parametrize(("named", "found"), [(None, {"name": "b"}), ("a", {"name": "a"}), ("c", None)])
def test_the_entity_with_most_traffic_or_the_one_that_is_named(named: str | None, found: dict[str, Any] | None) -> None:
    assert busiest_entity(CONFIG, named) == found
    assert busiest_entity({}, named) is None
