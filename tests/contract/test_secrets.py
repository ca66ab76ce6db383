"""Secrets: managed by the official SDK and the command line, seen by the served entity and by nobody else."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound, PermissionDenied, ResourceAlreadyExists
from databricks.sdk.service.serving import EndpointCoreConfigInput, ServedEntityInput
from databricks.sdk.service.workspace import ScopeBackendType

from support.stack import MANAGEMENT, MODEL, ROW, Stack, entity, penstock, refused, wait_for

Create = Callable[..., dict[str, Any]]
SECRETS = "/api/2.0/secrets"
ENV = {"dataframe_records": [{**ROW, "s": "env"}]}


def environment(stack: Stack, endpoint: str) -> dict[str, str]:
    """What the model sees in its environment."""
    answer = stack.ask(endpoint, ENV)
    assert answer.status_code == 200, answer.text
    seen: dict[str, str] = answer.json()["predictions"][0]["env"]
    return seen


def pids(stack: Stack, endpoint: str) -> set[int]:
    return {p["pid"] for p in stack.ps("replica", endpoint)}


def files(home: Path) -> Iterator[Path]:
    return (file for file in home.rglob("*") if file.is_file() and not file.is_symlink())


def assert_nowhere(stack: Stack, endpoint: str, *values: str) -> None:
    """No file of the home holds a value, in clear or in base64; neither arguments of processes nor routes tell it."""
    forms = [form for value in values for form in (value.encode(), base64.b64encode(value.encode())[:-4])]
    for file in files(stack.home):
        content = file.read_bytes()
        assert not [form for form in forms if form in content], file
    root = psutil.Process(stack.pid)
    for process in (root, *root.children(recursive=True)):
        assert not [value for value in values if value in " ".join(process.cmdline())]
    own = f"{MANAGEMENT}/{endpoint}"
    (served, *_) = stack.get(endpoint)["config"]["served_entities"]
    logs = [f"{own}/served-models/{served['name']}/{kind}" for kind in ("build-logs", "logs")]
    routes = [MANAGEMENT, own, *logs, f"{own}/metrics", f"{own}/openapi", "/metrics", "/api/2.0/penstock/ps"]
    for route in routes:
        answer = stack.call("GET", route)
        assert not [value for value in values if value in answer.text], route


@pytest.fixture
def scope(stack: Stack) -> Iterator[str]:
    secrets = stack.workspace().secrets
    secrets.create_scope("team-a")
    yield "team-a"
    stack.call("POST", f"{SECRETS}/scopes/delete", {"scope": "team-a"})


@pytest.fixture
def bob(stack: Stack) -> Iterator[WorkspaceClient]:
    token = stack.call("POST", "/api/2.0/penstock/tokens", {"user": "bob@example.com"}).json()
    yield WorkspaceClient(host=stack.url, token=token["token"])
    stack.call("DELETE", f"/api/2.0/penstock/tokens/{token['id']}")


def test_c36_the_worker_sees_the_value_and_get_shows_the_reference(stack: Stack, scope: str, create: Create) -> None:
    workspace = stack.workspace()
    workspace.secrets.put_secret(scope, "openai.key", string_value="s3cr3t-ü-1")
    workspace.secrets.put_secret(scope, "raw@key", bytes_value=base64.b64encode(b"s3cr3t-bytes").decode())
    variables = {
        "OPENAI_API_KEY": "{{secrets/team-a/openai.key}}",
        "RAW": "{{secrets/team-a/raw@key}}",
        "PLAIN": "Bearer {{secrets/team-a/openai.key}}",
    }
    served = ServedEntityInput(
        entity_name=MODEL, entity_version="1", workload_size="Small", environment_vars=dict(variables)
    )
    config = EndpointCoreConfigInput(name="vault", served_entities=[served])
    try:
        created = workspace.serving_endpoints.create_and_wait("vault", config=config)
        seen = environment(stack, "vault")
        assert seen["OPENAI_API_KEY"] == "s3cr3t-ü-1"
        assert seen["RAW"] == "s3cr3t-bytes"
        assert seen["PLAIN"] == variables["PLAIN"]  # only a value that is exactly a reference is one
        for answer in (created, workspace.serving_endpoints.get("vault")):
            assert answer.config.served_entities[0].environment_vars == variables

        before = pids(stack, "vault")
        workspace.secrets.put_secret(scope, "openai.key", string_value="s3cr3t-2")
        assert environment(stack, "vault")["OPENAI_API_KEY"] == "s3cr3t-ü-1"
        assert pids(stack, "vault") == before
        workspace.serving_endpoints.update_config_and_wait("vault", served_entities=[served])
        assert environment(stack, "vault")["OPENAI_API_KEY"] == "s3cr3t-2"
        wait_for(lambda: before.isdisjoint(pids(stack, "vault")), "the replica with the old value to be gone")

        before = pids(stack, "vault")
        workspace.serving_endpoints.update_config_and_wait("vault", served_entities=[served])
        assert pids(stack, "vault") == before  # the same values: nothing was started

        workspace.secrets.delete_secret(scope, "openai.key")
        stack.call("POST", f"{MANAGEMENT}/vault/config:stop")
        wait_for(lambda: not pids(stack, "vault"), "the replica to be gone")
        stack.call("POST", f"{MANAGEMENT}/vault/config:start")
        stack.wait_ready("vault")
        assert environment(stack, "vault")["OPENAI_API_KEY"] == "s3cr3t-2"
        assert_nowhere(stack, "vault", "s3cr3t-ü-1", "s3cr3t-2", "s3cr3t-bytes")
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/vault")


@pytest.mark.parametrize(
    ("name", "value", "fragments"),
    [
        ("K", "{{secrets/nowhere/k}}", ["'{{secrets/nowhere/k}}' does not exist"]),
        ("K", "{{secrets/team-a/nothing}}", ["'{{secrets/team-a/nothing}}' does not exist"]),
        ("K", "{{secrets/team-a}}", ["'{{secrets/team-a}}'", "{{secrets/<scope>/<key>}}"]),
        ("K", "{{secrets/team-a/k}} ", ["wanted {{secrets/<scope>/<key>}}"]),
        ("K", "{{secrets/team-a/binary}}", ["'{{secrets/team-a/binary}}'", "UTF-8"]),
        ("K", "{{secrets/team-a/nul}}", ["'{{secrets/team-a/nul}}'", "NUL"]),
        ("K", "{{secrets/team-a/long}}", ["'{{secrets/team-a/long}}'", "131072 bytes", "131069"]),
        ("PENSTOCK_QUEUE_SIZE", "{{secrets/team-a/k}}", ["PENSTOCK_QUEUE_SIZE", "wanted a number"]),
    ],
)
def test_c36_a_reference_that_cannot_be_used_is_named(
    stack: Stack, scope: str, live: str, name: str, value: str, fragments: list[str]
) -> None:
    secrets = stack.workspace().secrets
    secrets.put_secret(scope, "k", string_value="7")
    secrets.put_secret(scope, "binary", bytes_value=base64.b64encode(b"\xff\xfe").decode())
    secrets.put_secret(scope, "nul", string_value="a\0b")
    secrets.put_secret(scope, "long", string_value="x" * (128 << 10))
    served = {"served_entities": [entity("1", environment_vars={name: value})]}
    before = stack.get(live)
    for method, path, body, field in (
        ("POST", MANAGEMENT, {"name": "no", "config": served}, "config.served_entities[0].environment_vars"),
        ("PUT", f"{MANAGEMENT}/{live}/config", served, "served_entities[0].environment_vars"),
    ):
        answer = stack.call(method, path, body)
        refused(answer, 400, "INVALID_PARAMETER_VALUE", f"{field}.{name}: ", *fragments)
        assert "xxxx" not in answer.text
    assert stack.call("GET", f"{MANAGEMENT}/no").status_code == 404
    assert stack.get(live) == before


def test_c36_a_scope_of_somebody_else_is_refused(stack: Stack, scope: str, bob: WorkspaceClient) -> None:
    stack.workspace().secrets.put_secret(scope, "k", string_value="v")
    for forbidden in (
        lambda: bob.secrets.put_secret(scope, "k", string_value="mine"),
        lambda: bob.secrets.list_secrets(scope),
        lambda: bob.secrets.delete_secret(scope, "k"),
        lambda: bob.secrets.delete_scope(scope),
        lambda: bob.api_client.do("POST", "/api/2.0/penstock/secrets/rotate"),
    ):
        with pytest.raises(PermissionDenied, match="'bob@"):
            forbidden()
    assert list(bob.secrets.list_scopes()) == []
    reference = {"K": "{{secrets/team-a/k}}"}
    config = {"served_entities": [entity("1", environment_vars=reference)]}
    answer = stack.call("POST", MANAGEMENT, {"name": "bobs", "config": config}, headers=bob.config.authenticate())
    refused(answer, 400, "INVALID_PARAMETER_VALUE", "environment_vars.K", "bob@example.com", "{{secrets/team-a/k}}")

    bob.secrets.create_scope("bobs")
    stack.workspace().secrets.create_scope("for-all", initial_manage_principal="users")
    try:
        assert [s.name for s in bob.secrets.list_scopes()] == ["bobs", "for-all"]
        bob.secrets.put_secret("for-all", "k", string_value="v")
        assert {"bobs", "for-all", scope} <= {s.name for s in stack.workspace().secrets.list_scopes()}
    finally:
        bob.secrets.delete_scope("bobs")
        bob.secrets.delete_scope("for-all")


def test_scopes_and_secrets_by_the_sdk(stack: Stack, scope: str) -> None:
    secrets = stack.workspace().secrets
    assert [(s.name, s.backend_type) for s in secrets.list_scopes()] == [("team-a", ScopeBackendType.DATABRICKS)]
    assert list(secrets.list_secrets(scope)) == []
    with pytest.raises(ResourceAlreadyExists, match="team-a"):
        secrets.create_scope(scope)
    secrets.put_secret(scope, "b", string_value="1")
    secrets.put_secret(scope, "a", string_value="")
    (first, second) = secrets.list_secrets(scope)
    assert (first.key, second.key) == ("a", "b")
    assert second.last_updated_timestamp > 1_700_000_000_000
    secrets.delete_secret(scope, "a")
    assert [s.key for s in secrets.list_secrets(scope)] == ["b"]
    for missing in (
        lambda: secrets.delete_secret(scope, "a"),
        lambda: secrets.put_secret("nowhere", "a", string_value="1"),
        lambda: secrets.list_secrets("nowhere"),
        lambda: secrets.delete_scope("nowhere"),
    ):
        with pytest.raises(NotFound):
            missing()
    secrets.delete_scope(scope)
    assert list(secrets.list_scopes()) == []
    secrets.create_scope(scope)
    assert list(secrets.list_secrets(scope)) == []  # what the scope held went with it


@pytest.mark.parametrize(
    ("path", "body", "fragment"),
    [
        ("scopes/create", {}, "scope: missing"),
        ("scopes/create", {"scope": ""}, "scope: got ''"),
        ("scopes/create", {"scope": "a/b"}, "'a/b'"),
        ("scopes/create", {"scope": "x" * 129}, "128"),
        ("scopes/create", {"scope": "x", "initial_manage_principal": "bob"}, "initial_manage_principal: got 'bob'"),
        ("scopes/create", {"scope": "x", "scope_backend_type": "VAULT"}, "scope_backend_type: got 'VAULT'"),
        ("put", {"scope": "team-a", "key": "{}", "string_value": "canary"}, "key: got '{}'"),
        ("put", {"scope": "team-a", "key": "k"}, "got none"),
        ("put", {"scope": "team-a", "key": "k", "string_value": "canary", "bytes_value": "canary"}, "got both"),
        ("put", {"scope": "team-a", "key": "k", "bytes_value": "no base64: canary"}, "bytes_value"),
        ("put", {"scope": "team-a", "key": "k", "bytes_value": "canaryü"}, "bytes_value"),
        ("put", {"scope": "team-a", "key": "k", "string_value": ["canary"]}, "string_value"),
        (
            "put",
            {"scope": "team-a", "key": "k", "string_value": "canary" * 22000},
            "132000 bytes; wanted at most 131072",
        ),
        ("put", ["canary"], "The body"),
    ],
)
def test_bad_fields_are_named_and_values_never_shown(
    stack: Stack, scope: str, path: str, body: object, fragment: str
) -> None:
    answer = stack.call("POST", f"{SECRETS}/{path}", body)
    refused(answer, 400, "INVALID_PARAMETER_VALUE", fragment)
    assert "canary" not in answer.text
    assert stack.call("GET", f"{SECRETS}/list?scope={scope}").json() == {"secrets": []}


def test_what_is_not_to_be_had_answers_501(stack: Stack, scope: str) -> None:
    stack.workspace().secrets.put_secret(scope, "k", string_value="canary-501")
    key_vault = {"scope": "az", "scope_backend_type": "AZURE_KEYVAULT", "backend_azure_keyvault": {"dns_name": "x"}}
    for method, path, body in (
        ("GET", f"get?scope={scope}&key=k", None),
        ("GET", f"acls/list?scope={scope}", None),
        ("GET", f"acls/get?scope={scope}&principal=bob", None),
        ("POST", "acls/put", {"scope": scope, "principal": "bob", "permission": "READ"}),
        ("POST", "acls/delete", {"scope": scope, "principal": "bob"}),
        ("POST", "scopes/create", key_vault),
    ):
        answer = stack.call(method, f"{SECRETS}/{path}", body)
        refused(answer, 501, "NOT_IMPLEMENTED")
        assert "canary" not in answer.text


def test_a_rotation_disturbs_nothing_that_runs(stack: Stack, scope: str, create: Create) -> None:
    secrets = stack.workspace().secrets
    secrets.put_secret(scope, "k", string_value="before-rotation")
    served = entity("1", environment_vars={"K": "{{secrets/team-a/k}}"})
    create("turning", served)
    key_file = stack.home / "secrets.key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    (old_key,) = key_file.read_text().split()
    before = pids(stack, "turning")
    assert stack.call("POST", "/api/2.0/penstock/secrets/rotate").json() == {"values": 3}  # the secret, and its copies
    (new_key,) = key_file.read_text().split()
    assert new_key != old_key
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert not [file for file in files(stack.home) if old_key.encode() in file.read_bytes()]
    stack.call("PUT", f"{MANAGEMENT}/turning/config", {"served_entities": [served]})
    assert stack.wait_ready("turning")["config"]["config_version"] == 2
    assert pids(stack, "turning") == before  # the value is the same, so is the replica
    two = {**served, "entity_version": "2"}
    stack.call("PUT", f"{MANAGEMENT}/turning/config", {"served_entities": [two]})
    stack.wait_ready("turning")
    assert environment(stack, "turning")["K"] == "before-rotation"


def test_the_command_line_shows_no_value(stack: Stack, create: Create) -> None:
    def run(*arguments: str, stdin: str | None = None) -> Any:
        result = penstock("secrets", *arguments, "--json", home=stack.home, stdin=stdin)
        assert result.returncode == 0, result.stderr
        assert "canary-cli" not in result.stdout + result.stderr
        return json.loads(result.stdout)

    assert run("scopes", "--create", "cli", "--shared") == {"created": "cli"}
    try:
        assert run("scopes") == [{"name": "cli", "backend_type": "DATABRICKS"}]
        assert run("put", "cli", "k", stdin="canary-cli\n") == {"scope": "cli", "key": "k"}
        assert run("put", "cli", "two", "--value", "canary-cli-2\n") == {"scope": "cli", "key": "two"}
        assert [secret["key"] for secret in run("list", "cli")] == ["k", "two"]
        create("by-cli", entity("1", environment_vars={"A": "{{secrets/cli/k}}", "B": "{{secrets/cli/two}}"}))
        seen = environment(stack, "by-cli")
        assert (seen["A"], seen["B"]) == ("canary-cli", "canary-cli-2\n")  # a newline is taken from a pipe's end only
        shown = penstock("secrets", "list", "cli", home=stack.home)
        assert "KEY" in shown.stdout
        assert run("rotate") == {"values": 6}
        assert run("delete", "cli", "k") == {"deleted": "k", "scope": "cli"}
        assert penstock("secrets", "delete", "cli", "k", home=stack.home).returncode == 4
        assert penstock("secrets", "scopes", "--shared", home=stack.home).returncode == 2
        assert_nowhere(stack, "by-cli", "canary-cli")
    finally:
        assert run("scopes", "--delete", "cli") == {"deleted": "cli"}
