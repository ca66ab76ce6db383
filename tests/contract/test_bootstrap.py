"""What clients do before their first call, and error texts. Test names bear the numbers of the checklist."""

import re
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import requests
from databricks.sdk import WorkspaceClient

from support.stack import Stack

SDK_RETRY_TRIGGERS = (
    "Unexpected error",
    "Please try again later or try a faster operation.",
    "RPC token bucket limit has been exceeded",
    "ClusterNotReadyException",
    "Unknown worker environment",
    "does not have any associated worker environments",
    "There is no worker environment with id",
    "UnknownWorkerEnvironmentException",
)
SOURCES = Path(__file__).parents[2] / "src"


def test_c84_the_well_known_document_needs_no_token_and_is_quick(stack: Stack) -> None:
    best_s = 1.0
    for _ in range(5):
        started = time.perf_counter()
        answer = requests.get(f"{stack.url}/.well-known/databricks-config", timeout=5)
        best_s = min(best_s, time.perf_counter() - started)
        assert answer.status_code == 200
        assert answer.json()["oidc_endpoint"] == ""
    assert best_s < 0.1


def test_c85_the_sdk_makes_exactly_that_request(stack: Stack) -> None:
    seen: list[str] = []

    class Recorder(BaseHTTPRequestHandler):
        """Passes the one GET on to the stack and notes it."""

        def do_GET(self) -> None:
            seen.append(self.path)
            answer = requests.get(
                stack.url + self.path, headers={"Authorization": self.headers.get("Authorization", "")}, timeout=5
            )
            self.send_response(answer.status_code)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Recorder) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        workspace = WorkspaceClient(host=f"http://127.0.0.1:{server.server_port}", token=stack.token)
        assert seen == ["/.well-known/databricks-config"]
        assert workspace.config.auth_type == "pat"
        server.shutdown()


def test_health_needs_no_token(stack: Stack) -> None:
    answer = requests.get(f"{stack.url}/health", timeout=5)
    assert (answer.status_code, answer.json()) == (200, {"status": "healthy"})


def test_c90_no_message_of_ours_triggers_a_retry() -> None:
    for source in SOURCES.rglob("*.py"):
        text = re.sub(r'"\s*\n?\s*f?"', "", source.read_text())
        for phrase in SDK_RETRY_TRIGGERS:
            assert phrase not in text, f"{source}: {phrase}"


def test_c90_a_models_own_message_triggers_no_retry_either(stack: Stack, live: str) -> None:
    column = "Unexpected error"
    answer = stack.ask(live, {"dataframe_split": {"columns": [column], "data": [[1]], column: 1}})
    assert answer.status_code == 400
    assert not any(phrase in answer.json()["message"] for phrase in SDK_RETRY_TRIGGERS)
