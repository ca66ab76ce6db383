"""TLS: clients that trust the certificate reach everything; our own processes need not know it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
import requests

from support.certificates import Authority
from support.stack import MANAGEMENT, ROW, Stack, clean_environment, entity, penstock, register_echo, start_stack

APP = "https://app.example.com"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack under TLS, open to the network, that lets the pages of one other origin in."""
    certificate, key = authority.issue("localhost")
    options = ("--host", "0.0.0.0", "--tls-cert", str(certificate), "--tls-key", str(key))
    home = tmp_path_factory.mktemp("tls") / "home"
    running = start_stack(home, *options, env={"PENSTOCK_CORS_ORIGINS": APP})
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def trusting(authority: Authority, secure: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process trusts the authority, and MLflow in it uses the stack."""
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca_file))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", secure.token)
    mlflow.set_tracking_uri(secure.url)
    mlflow.set_registry_uri(secure.url)
    yield
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


@pytest.mark.usefixtures("trusting")
def test_a_model_is_logged_served_and_queried_over_tls(secure: Stack) -> None:
    assert secure.url.startswith("https://localhost:")  # the name that the certificate is for
    assert register_echo("1") == "1"
    body = {"name": "over-tls", "config": {"served_entities": [entity()]}}
    assert secure.call("POST", MANAGEMENT, body).status_code == 200
    secure.wait_ready("over-tls")
    answer = secure.workspace().serving_endpoints.query("over-tls", dataframe_records=[ROW])
    assert answer.predictions[0]["version"] == "1"
    document = secure.call("GET", f"{MANAGEMENT}/over-tls/openapi").json()
    assert document["servers"][0]["url"].startswith(secure.url)
    by_command = penstock("endpoints", "query", "over-tls", "-d", json.dumps({"inputs": [ROW]}), home=secure.home)
    assert by_command.returncode == 0, by_command.stderr


@pytest.mark.usefixtures("trusting")
def test_bodies_of_any_size_pass(secure: Stack, tmp_path: Path) -> None:
    blob = tmp_path / "blob.bin"
    blob.write_bytes(bytes(range(256)) * (48 << 10))
    mlflow.set_experiment("tests")
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(blob))
    fetched = mlflow.artifacts.download_artifacts(
        run_id=run.info.run_id, artifact_path="blob.bin", dst_path=str(tmp_path / "out")
    )
    assert Path(fetched).read_bytes() == blob.read_bytes()


def test_a_client_that_does_not_know_the_authority_is_not_served(secure: Stack) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{secure.url}/health", timeout=10)
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(f"{secure.url.replace('https', 'http')}/health", timeout=10)


@pytest.mark.usefixtures("trusting")
def test_the_session_s_cookie_never_leaves_tls(secure: Stack) -> None:
    link = penstock("login", home=secure.home).stdout.strip()
    assert link.startswith(f"{secure.url}/login?code=")
    with requests.Session() as browser:
        answer = browser.get(link, allow_redirects=False, timeout=30)
        assert answer.status_code == 303
        name, *attributes = answer.headers["set-cookie"].split("; ")
        assert name.startswith("__Host-penstock_session=")
        assert "Secure" in attributes
        assert browser.get(secure.url + MANAGEMENT, timeout=30).status_code == 200


def test_commands_tell_the_address_for_clients(secure: Stack) -> None:
    variables = json.loads(penstock("env", "--json", home=secure.home).stdout)
    assert variables["DATABRICKS_HOST"] == variables["MLFLOW_TRACKING_URI"] == secure.url
    assert json.loads(penstock("status", "--json", home=secure.home).stdout)["url"] == secure.url
    checks = json.loads(penstock("doctor", "--json", home=secure.home).stdout)
    assert next(check for check in checks if check["check"] == "stack")["result"] == "ok"


@pytest.mark.usefixtures("trusting")
def test_pages_of_an_allowed_origin_may_call(secure: Stack) -> None:
    preflight = {
        "Origin": APP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    path = "/api/2.0/mlflow/experiments/search"
    answer = requests.options(secure.url + path, headers=preflight, timeout=30)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-allow-headers"] == "authorization"
    foreign = requests.options(secure.url + path, headers={**preflight, "Origin": "https://evil.test"}, timeout=30)
    assert foreign.status_code == 401
    assert "access-control-allow-origin" not in foreign.headers
    for method, target, status in (
        ("POST", path, 200),  # MLflow itself would refuse the origin
        ("GET", MANAGEMENT, 200),
        ("GET", f"{MANAGEMENT}/nope", 404),
        ("POST", "/serving-endpoints/nope/invocations", 404),
    ):
        answer = secure.call(method, target, {"max_results": 1}, headers={"Origin": APP})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, APP), target
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("command", ["up", "quickstart"])
def test_what_cannot_be_served_with_is_refused_before_anything_starts(
    authority: Authority, tmp_path: Path, command: str
) -> None:
    certificate, key = authority.issue("localhost", name="good")
    expired, its_key = authority.issue("localhost", name="expired", days=-1)
    for options, fragment in (
        (["--tls-cert", str(certificate)], "without --tls-key"),
        (["--tls-key", str(key)], "without --tls-cert"),
        (["--tls-cert", str(expired), "--tls-key", str(its_key)], "valid now"),
        (["--tls-cert", str(certificate), "--tls-key", str(its_key)], "is not the key"),
    ):
        result = subprocess.run(
            [sys.executable, "-m", "penstock", command, "--port", "0", "--home", str(tmp_path / "home"), *options],
            capture_output=True,
            text=True,
            timeout=60,
            env=clean_environment(),
        )
        assert result.returncode == 2, result.stderr
        assert fragment in result.stderr
        assert "Traceback" not in result.stderr
    assert not (tmp_path / "home").exists()


def test_under_tls_nothing_is_said_of_clear_text(secure: Stack) -> None:
    said = (secure.home.parent / "home.stderr").read_text()
    assert "Starting Penstock" in said
    assert "Warning" not in said
