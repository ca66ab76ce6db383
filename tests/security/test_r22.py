"""R22: no name leads out of the home folder, wherever a name is taken.

Beside the home lies a canary folder. The names try to reach it, by every way that a name can take. In the end nothing
outside the home has been read, written or named in an answer, and every name that leads somewhere was refused.
"""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from support.raw import RawAnswer, RawClient
from support.report import Report
from support.stack import MANAGEMENT, MODEL, QUERY, ROW, Stack, entity

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
MLFLOW = "/api/2.0/mlflow"
ENDPOINT = "r22"
REFUSED = {400, 404}


@dataclass(frozen=True)
class Canary:
    """A folder beside the home, with a file whose text must come back nowhere."""

    folder: Path
    text: str

    @property
    def file(self) -> Path:
        return self.folder / "secret.txt"

    def names(self) -> dict[str, str]:
        """Names that would lead to it if they were taken for paths, and others that must not pass."""
        return {
            "parent": "../canary/secret.txt",
            "grandparents": "../" * 8 + str(self.file).lstrip("/"),
            "within": "a/../../canary/secret.txt",
            "encoded": "%2e%2e%2fcanary%2fsecret.txt",
            "twice encoded": "%252e%252e%252fcanary",
            "dots": "..",
            "dot": ".",
            "absolute": str(self.file),
            "file URI": f"file://{self.file}",
            "models URI": f"models:/{MODEL}/1",
            "models URI upwards": "models:/../../canary",
            "backslashes": "..\\canary\\secret.txt",
            "NUL": "a\0b",
            "NUL at the end": "../canary/secret.txt\0.json",
            "newline": "a\nb",
            "300 characters": "n" * 300,
            "overlong UTF-8": "\u2025/canary",
        }


def state_of(folder: Path, home: Path) -> dict[str, str]:
    """All files below a folder but the home's, with digests of what they hold."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if home not in (path, *path.parents) and path != home.parent / f"{home.name}.stderr":
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
    return found


def notes_reading(file: Path) -> bool:
    """Whether this file system keeps the time of the last access, so that reading leaves a trace."""
    make_unread(file)
    file.read_bytes()
    return was_read(file)


def make_unread(file: Path) -> None:
    os.utime(file, (1, file.stat().st_mtime))


def was_read(file: Path) -> bool:
    return file.stat().st_atime != 1


@pytest.fixture(scope="module")
def canary(stack: Stack, raw: RawClient, report: Report) -> Iterator[Canary]:
    """Looked at when all tests have run: untouched and, where the file system tells, unread."""
    folder = stack.home.parent / "canary"
    folder.mkdir()
    canary = Canary(folder, secrets.token_hex(16))
    for name in ("secret.txt", "MLmodel", "conda.yaml"):
        (folder / name).write_text(canary.text)
    before = state_of(stack.home.parent, stack.home)
    tells = notes_reading(canary.file)
    make_unread(canary.file)
    yield canary
    assert not tells or not was_read(canary.file)
    assert state_of(stack.home.parent, stack.home) == before
    for file in stack.home.rglob("*"):
        with contextlib.suppress(OSError):
            assert not file.is_file() or file.is_symlink() or canary.text.encode() not in file.read_bytes(), file
    report.covered.update(names=list(canary.names()), reading_leaves_a_trace_here=tells)


@pytest.fixture(scope="module")
def endpoint(stack: Stack) -> Iterator[dict[str, str]]:
    yield stack.call("POST", MANAGEMENT, {"name": ENDPOINT}).json()
    stack.call("DELETE", f"{MANAGEMENT}/{ENDPOINT}")


def place(report: Report, name: str) -> None:
    """Note in the report where names were tried."""
    places: list[str] = report.covered.setdefault("places", [])  # type: ignore[assignment]
    if name not in places:
        places.append(name)


def check(answer: RawAnswer, canary: Canary, what: str, allowed: set[int] = REFUSED) -> None:
    assert answer.status in allowed, (what, answer.status, answer.body[:300])
    assert canary.text.encode() not in answer.body, what
    assert b"passwd" not in answer.body


IN_BODIES = {
    "endpoint": lambda name: {"name": name},
    "served entity": lambda name: _config(name=name),
    "model": lambda name: _config(entity_name=name),
    "model (older field)": lambda name: {
        "name": "r22-new",
        "config": {"served_models": [{"model_name": name, "model_version": "1", "workload_size": "Small"}]},
    },
    "version": lambda name: _config(entity_version=name),
    "alias": lambda name: _config(entity_version=f"@{name}"),
    "environment variable": lambda name: _config(environment_vars={name: "x"}),
    "route": lambda name: _config(traffic=name),
    "size": lambda name: _config(workload_size=name),
}


def _config(traffic: str | None = None, **fields: object) -> dict[str, object]:
    config: dict[str, object] = {"served_entities": [entity("1", **fields)]}  # type: ignore[arg-type]
    if traffic is not None:
        config["traffic_config"] = {"routes": [{"served_entity_name": traffic, "traffic_percentage": 100}]}
    return {"name": "r22-new", "config": config}


@pytest.mark.parametrize("where", IN_BODIES)
def test_r22_names_in_bodies(stack: Stack, raw: RawClient, canary: Canary, report: Report, where: str) -> None:
    place(report, f"create: {where}")
    for kind, name in canary.names().items():
        check(raw.send("POST", MANAGEMENT, stack.headers, IN_BODIES[where](name)), canary, f"{where}, {kind}")
    assert "r22-new" not in [e["name"] for e in stack.call("GET", MANAGEMENT).json()["endpoints"]]


def test_r22_names_of_principals_groups_and_grants(
    stack: Stack, raw: RawClient, canary: Canary, report: Report, endpoint: dict[str, str]
) -> None:
    grants = f"/api/2.0/permissions/serving-endpoints/{endpoint['id']}"
    for kind, name in canary.names().items():
        tries = {
            "token's user": ("POST", "/api/2.0/penstock/tokens", {"user": name}),
            "group": ("PUT", "/api/2.0/penstock/principals/r22@example.com", {"groups": [name]}),
            **{
                field: ("PATCH", grants, {"access_control_list": [{field: name, "permission_level": "CAN_VIEW"}]})
                for field in ("user_name", "group_name", "service_principal_name")
            },
        }
        for where, (method, path, body) in tries.items():
            place(report, where)
            check(raw.send(method, path, stack.headers, body), canary, f"{where}, {kind}", {400})


def test_r22_keys_of_tags_are_text_and_only_kept(
    stack: Stack, raw: RawClient, canary: Canary, report: Report, endpoint: dict[str, str]
) -> None:
    place(report, "tags")
    for kind, name in canary.names().items():
        body = {"add_tags": [{"key": name, "value": name}]}
        answer = raw.send("PATCH", f"{MANAGEMENT}/{ENDPOINT}/tags", stack.headers, body)
        refused_here = not name.isprintable() or len(name) > 255
        check(answer, canary, f"tag, {kind}", {400} if refused_here else {200})
    kept = stack.call("PATCH", f"{MANAGEMENT}/{ENDPOINT}/tags", {"delete_tags": list(canary.names().values())})
    assert kept.json() == {"tags": []}


def paths(endpoint_id: str, name: str) -> list[tuple[str, str]]:
    """Every route that has a name in its path, with that name there."""
    grants = "/api/2.0/permissions/serving-endpoints"
    return [
        *((method, f"{MANAGEMENT}/{name}") for method in ("GET", "DELETE")),
        *(("GET", f"{MANAGEMENT}/{name}/{what}") for what in ("metrics", "openapi")),
        *(("PUT", f"{MANAGEMENT}/{name}/{what}") for what in ("config", "rate-limits", "ai-gateway")),
        *(("PATCH", f"{MANAGEMENT}/{name}/{what}") for what in ("tags", "notifications", "telemetry-config")),
        *(("POST", f"{MANAGEMENT}/{name}/config:{what}") for what in ("stop", "start")),
        *(("GET", f"{MANAGEMENT}/{name}/served-models/m-1/{what}") for what in ("build-logs", "logs")),
        *(("GET", f"{MANAGEMENT}/{ENDPOINT}/served-models/{name}/{what}") for what in ("build-logs", "logs")),
        *(("GET", f"{MANAGEMENT}/live/served-models/{name}/{what}") for what in ("build-logs", "logs")),
        *((method, f"{grants}/{name}") for method in ("GET", "PUT", "PATCH")),
        ("GET", f"{grants}/{name}/permissionLevels"),
        ("DELETE", f"/api/2.0/penstock/tokens/{name}"),
        ("PUT", f"/api/2.0/penstock/principals/{name}"),
        ("POST", f"{QUERY}/{name}/invocations"),
        ("POST", f"{QUERY}/live/served-models/{name}/invocations"),
        ("GET", f"{QUERY}/models/{name}"),
    ]


def test_r22_names_in_paths(
    stack: Stack, live: str, raw: RawClient, canary: Canary, report: Report, endpoint: dict[str, str]
) -> None:
    body = {"dataframe_records": [ROW], "groups": [], "served_entities": [], "access_control_list": []}
    before = stack.get(live), stack.get(ENDPOINT), stack.call("GET", "/api/2.0/penstock/principals").json()
    for method, path in paths(endpoint["id"], "{name}"):
        place(report, f"{method} {path}")
    for kind, name in canary.names().items():
        # As it is where the line of a request allows it, encoded once, and with its dots encoded too.
        encoded = quote(name.encode(), safe="")
        for form in {quote(name.encode(), safe="/%\\"), encoded, encoded.replace(".", "%2e")}:
            for method, path in paths(endpoint["id"], form):
                sent = None if method in {"GET", "DELETE"} else body
                answer = raw.send(method, path, stack.headers, sent)
                check(answer, canary, f"{method} {path}, {kind}", {400, 404, 405})
    assert (stack.get(live), stack.get(ENDPOINT), stack.call("GET", "/api/2.0/penstock/principals").json()) == before


def test_r22_a_config_version_is_a_number(
    stack: Stack, live: str, raw: RawClient, canary: Canary, report: Report
) -> None:
    place(report, "config_version")
    for kind, name in {
        **canary.names(),
        "huge": "9" * 400,
        "negative": "-1",
        "other digits": "१",
    }.items():
        for what in ("logs", "build-logs"):
            path = f"{MANAGEMENT}/{live}/served-models/m-1/{what}?config_version={quote(name.encode(), safe='')}"
            answer = raw.send("GET", path, stack.headers)
            check(answer, canary, f"config_version, {kind}")


def test_r22_artifacts_stay_below_their_root(stack: Stack, raw: RawClient, canary: Canary, report: Report) -> None:
    place(report, "MLflow: artifacts")
    for kind, name in canary.names().items():
        for form in {quote(name.encode(), safe="/%\\"), quote(name.encode(), safe="").replace(".", "%2e")}:
            for method, path in (
                ("GET", f"{ARTIFACTS}/{form}"),
                ("GET", f"{ARTIFACTS}?path={form}"),
                ("GET", f"{MLFLOW}/artifacts/list?run_id=x&path={form}"),
                ("GET", f"/mlflow/get-artifact?run_uuid=x&path={form}"),
                ("GET", f"/mlflow/model-versions/get-artifact?name={MODEL}&version=1&path={form}"),
            ):
                answer = raw.send(method, path, stack.headers)
                assert canary.text.encode() not in answer.body, (path, kind)
            raw.send("PUT", f"{ARTIFACTS}/{form}", stack.headers, b"written by R22")


def test_r22_an_experiment_has_no_place_of_its_own(
    stack: Stack, raw: RawClient, canary: Canary, report: Report
) -> None:
    """Else `upload-artifact` would write to any folder of the machine, as this server's user."""
    place(report, "MLflow: artifact_location")
    for location in (str(canary.folder), f"file://{canary.folder}", "../../canary", "mlflow-artifacts:/../../canary"):
        body = {"name": f"r22 {location}", "artifact_location": location}
        for root in (MLFLOW, "/ajax-api/2.0/mlflow"):
            answer = raw.send("POST", f"{root}/experiments/create", stack.headers, body)
            check(answer, canary, location, {400})
    made = raw.send("POST", f"{MLFLOW}/experiments/create", stack.headers, {"name": "r22", "artifact_location": ""})
    assert made.status == 200
    run = raw.send(
        "POST", f"{MLFLOW}/runs/create", stack.headers, {"experiment_id": made.json()["experiment_id"], "start_time": 1}
    ).json()["run"]["info"]
    for name in canary.names().values():
        path = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run['run_id']}&path={quote(name.encode(), safe='')}"
        answer = raw.send("POST", path, stack.headers, b"written by R22")
        assert canary.text.encode() not in answer.body


def test_r22_models_come_from_runs_and_from_nowhere_else(
    stack: Stack, raw: RawClient, canary: Canary, report: Report
) -> None:
    place(report, "MLflow: source of a model version")
    raw.send("POST", f"{MLFLOW}/registered-models/create", stack.headers, {"name": "r22"})
    for source in (
        *(str(canary.folder), f"file://{canary.folder}", f"FILE://{canary.folder}", "models:/../../canary"),
        *("mlflow-artifacts:/../../canary", "mlflow-artifacts:/%2e%2e/canary", "runs:/x/../../canary", "../../canary"),
    ):
        body = {"name": "r22", "source": source}
        answer = raw.send("POST", f"{MLFLOW}/model-versions/create", stack.headers, body)
        check(answer, canary, source)
        assert "source" in answer.json()["message"]


def test_r22_symbolic_links_among_artifacts_are_not_followed(
    stack: Stack, raw: RawClient, canary: Canary, report: Report
) -> None:
    place(report, "MLflow: symbolic links")
    folder = stack.home / "mlflow" / "artifacts" / "r22"
    folder.mkdir(parents=True)
    links = {"file": canary.file, "folder": canary.folder, "upwards": Path("../../../../canary"), "root": Path("/")}
    for name, target in links.items():
        (folder / name).symlink_to(target)
    try:
        # MLflow deletes through a linked folder, which only processes of the same user can lay there: docs/security.md.
        for path in ("file", "folder/secret.txt", "upwards/secret.txt", f"root{canary.file}"):
            for method, body in (("GET", None), ("PUT", b"written by R22")):
                answer = raw.send(method, f"{ARTIFACTS}/r22/{path}", stack.headers, body)
                check(answer, canary, f"{method} {path}", {400, 403, 404})
        for path in ("folder", "upwards", "root"):
            check(raw.send("GET", f"{ARTIFACTS}?path=r22/{path}", stack.headers), canary, path)
    finally:
        for name in links:
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()
