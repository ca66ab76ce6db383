"""`penstock bench` against a running stack: what it counts, what it compares with, and what it says to bad input."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.stack import QUERY, ROW, Stack, entity, penstock

Create = Callable[..., dict[str, Any]]
GIVEN = ("--row", json.dumps(ROW), "--no-compare")


def bench(stack: Stack, *arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
    return penstock("bench", *arguments, home=stack.home, stdin=stdin)


def measured(stack: Stack, *arguments: str, stdin: str | None = None) -> dict[str, Any]:
    result = bench(stack, *arguments, "--json", stdin=stdin)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_p4_6_an_endpoint_by_its_name_beside_its_model_alone(stack: Stack, live: str) -> None:
    """Nothing is given but the name: the body is made of the signature, the model found in the registry."""
    told = measured(stack, live, "-c", "4", "-n", "60")
    assert (told["requests"], told["failed"], told["statuses"], told["failures"]) == (60, 0, {"200": 60}, {})
    assert told["connections"] == 4
    latency = told["latency_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
    assert sum(bar["count"] for bar in told["histogram"]) == 60
    assert told["requests_per_s"] > 0
    assert set(told["cpu_us_per_request"]) == {"total", "gateways", "replicas", "others"}
    assert told["cpu_us_per_request"]["replicas"] > 0
    assert told["generator"]["cpu_us_per_request"] > 0
    assert told["model"] == "models:/m/1"
    assert told["predict"]["calls"] >= 3
    assert told["predict"]["latency_ms"]["p50"] > 0
    assert told["predict_note"] is None


def test_p4_6_an_address_for_people(stack: Stack, live: str) -> None:
    """The token is the stack's, because the address is; several processes send, for a while."""
    url = f"{stack.url}{QUERY}/{live}/served-models/m-1/invocations"
    result = bench(stack, url, *GIVEN, "-d", "0.5", "-c", "4", "--processes", "2")
    assert result.returncode == 0, result.stderr
    said = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if line[:1].isalpha())
    assert said["url"] == url
    assert said["failed"] == "none"
    assert said["load"].startswith("4 at once")
    assert "2 processes" in said["generator"]
    assert "--no-compare" in said["predict"]
    assert "█" in result.stdout


def test_p4_6_a_body_as_it_is(stack: Stack, live: str, tmp_path: Path) -> None:
    body = json.dumps({"dataframe_records": [ROW, ROW]})
    (tmp_path / "body.json").write_text(body)
    for file, stdin in ((str(tmp_path / "body.json"), None), ("-", body)):
        told = measured(stack, f"endpoints:/{live}", "--body", file, "--no-compare", "-n", "3", "-c", "1", stdin=stdin)
        assert (told["requests"], told["body_bytes"]) == (3, len(body))


def test_p4_6_what_is_wrong_is_said_once_with_its_exit_code(stack: Stack, live: str) -> None:
    for arguments, code, told in (
        (["nowhere", *GIVEN], 4, "nowhere"),
        ([live, *GIVEN, "--token", "wrong"], 5, "UNAUTHENTICATED"),
        ([live, "--row", '{"x": "many"}', "--no-compare"], 5, "BAD_REQUEST"),
        ([f"{stack.url}/health", "--no-compare"], 2, "--body"),
        (["http://127.0.0.1:9/x", *GIVEN], 3, "127.0.0.1:9"),
        ([live, "--model", "models:/nothing/1"], 4, "nothing"),
    ):
        result = bench(stack, *arguments)
        assert result.returncode == code, (arguments, result.stderr)
        assert told in result.stderr
        assert "Traceback" not in result.stderr
        assert result.stdout == ""


def test_p4_6_failures_are_counted_told_and_decide_the_exit_code(stack: Stack, create: Create) -> None:
    create("crowded", entity(environment_vars={"PENSTOCK_QUEUE_SIZE": "1"}))
    result = bench(stack, "crowded", *GIVEN, "-c", "64", "-n", "400", "--json")
    assert result.returncode == 7, result.stderr
    told = json.loads(result.stdout)
    assert told["requests"] == 400
    assert set(told["statuses"]) == {"200", "429"}
    assert told["failed"] == told["statuses"]["429"] > 0
    assert sum(bar["count"] for bar in told["histogram"]) == told["statuses"]["200"]
