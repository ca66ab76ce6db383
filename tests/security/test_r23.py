"""R23: what is secret comes out nowhere: no answer, no log, no metric, no page, no table, no command line.

Forty random strings go in as tokens that are made, tokens that are guessed, tokens put where none belongs, and values
of environment variables, through ordinary use, mistakes, crashes, pages and metrics. Then everything that came out, and
every file of the home folder, is searched for them. A kind of secret says where it may stand.
"""

import base64
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from support.raw import RawClient
from support.report import Report
from support.stack import MANAGEMENT, QUERY, ROW, Stack, entity, penstock, wait_for

ENDPOINT = "r23"
TOKENS = "/api/2.0/penstock/tokens"
SECRETS = "/api/2.0/secrets"
EACH = 10


@dataclass
class Canaries:
    """Secrets by kind, and everything that came out while they were used."""

    made: dict[str, str] = field(default_factory=dict)
    """Tokens, by id. May stand in the answer to their creation only."""
    guessed: list[str] = field(default_factory=list)
    """Tokens that never were; may stand nowhere."""
    misplaced: list[str] = field(default_factory=list)
    """Tokens in URLs, cookies and passwords; may stand nowhere."""
    environment: list[str] = field(default_factory=list)
    """Values of `environment_vars`. May stand in the endpoint's document, for those who may see it, and in the
    database that keeps it."""
    sealed: list[str] = field(default_factory=list)
    """Secrets of secret scopes, where the stack has them; may stand nowhere, sealed files included."""
    outputs: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def all(self) -> list[str]:
        return [*self.made.values(), *self.guessed, *self.misplaced, *self.environment, *self.sealed]


def random_secret() -> str:
    return secrets.token_hex(20)


@pytest.fixture(scope="module")
def canaries(stack: Stack, raw: RawClient, report: Report) -> Iterator[Canaries]:
    """The secrets, put in and led through everything."""
    used = Canaries()

    def send(method: str, target: str, headers: dict[str, str] | None = None, body: object = None) -> int:
        answer = raw.send(method, target, stack.headers if headers is None else headers, body)
        used.outputs.append((f"{method} {target.partition('?')[0]}", json.dumps(answer.headers).encode() + answer.body))
        return answer.status

    for _ in range(EACH):
        made = stack.call("POST", TOKENS, {"user": f"{ENDPOINT}@example.com", "comment": "r23"}).json()
        used.made[made["id"]] = made["token"]
    used.guessed = [f"pst_{random_secret()}" for _ in range(EACH)]
    used.misplaced = [random_secret() for _ in range(EACH)]
    used.environment = [random_secret() for _ in range(EACH)]
    variables = {f"PASSWORD_{index}": value for index, value in enumerate(used.environment[:5])}
    seal(stack, used, variables)
    served = entity(name="r23-entity", environment_vars=variables)
    stack.call("POST", MANAGEMENT, {"name": ENDPOINT, "config": {"served_entities": [served]}})
    stack.wait_ready(ENDPOINT)
    for exercise in (_use_tokens, _misplace, _name_environment_wrongly, _query, _look_around):
        exercise(stack, used, send)
    wait_for(lambda: stack.get(ENDPOINT)["state"]["config_update"] != "IN_PROGRESS", "the update's end")
    _use_the_command_line(stack, used)
    yield used
    stack.call("DELETE", f"{MANAGEMENT}/{ENDPOINT}")
    for token_id in used.made:
        stack.call("DELETE", f"{TOKENS}/{token_id}")
    report.covered.update(
        canaries=len(used.all),
        tokens_made=len(used.made),
        tokens_guessed=len(used.guessed),
        misplaced=len(used.misplaced),
        values_of_environment_variables=len(used.environment),
        secrets_of_scopes=len(used.sealed),
        outputs=len(used.outputs),
    )


Send = Callable[..., int]


def seal(stack: Stack, used: Canaries, variables: dict[str, str]) -> None:
    """Secrets of a scope join as soon as the stack has the routes for them."""
    paths = stack.call("GET", "/api/2.0/penstock/openapi.json").json()["paths"]
    if f"{SECRETS}/put" not in paths:
        return
    assert stack.call("POST", f"{SECRETS}/scopes/create", {"scope": ENDPOINT}).status_code == 200
    for index in range(5):
        used.sealed.append(random_secret())
        body = {"scope": ENDPOINT, "key": f"k{index}", "string_value": used.sealed[-1]}
        assert stack.call("POST", f"{SECRETS}/put", body).status_code == 200
        variables[f"SEALED_{index}"] = f"{{{{secrets/{ENDPOINT}/k{index}}}}}"


def _use_tokens(stack: Stack, used: Canaries, send: Send) -> None:
    """Good ones, revoked ones and guessed ones, at routes of every kind."""
    for token_id, token in list(used.made.items()):
        headers = {"Authorization": f"Bearer {token}"}
        for method, path in (
            ("GET", "/api/2.0/preview/scim/v2/Me"),
            ("GET", TOKENS),
            ("GET", f"{MANAGEMENT}/{ENDPOINT}"),
        ):
            send(method, path, headers)
        send("POST", f"{QUERY}/{ENDPOINT}/invocations", headers, {"dataframe_records": [ROW]})
        send("DELETE", f"{TOKENS}/{token_id}")
        send("GET", TOKENS, headers)
    for token in used.guessed:
        for scheme in ("Bearer ", "bearer ", "Basic ", ""):
            send("GET", MANAGEMENT, {"Authorization": scheme + token})
        send("POST", f"{QUERY}/{ENDPOINT}/invocations", {"Authorization": f"Bearer {token}"}, {"inputs": 1})


def _misplace(stack: Stack, used: Canaries, send: Send) -> None:
    """Where no token belongs: the URL, a cookie, another header, the password of Basic."""
    for word in used.misplaced:
        basic = base64.b64encode(f"token:{word}".encode()).decode()
        for path in (MANAGEMENT, f"{QUERY}/{ENDPOINT}/invocations", "/mlflow/", "/api/2.0/mlflow/experiments/search"):
            send("GET", f"{path}?token={word}&access_token={word}", {})
            send("GET", f"{path}?token={word}")
            send("GET", path, {"Authorization": f"Basic {basic}"})
            send("GET", path, {"Cookie": f"session={word}", "X-Api-Key": word, "Proxy-Authorization": f"Bearer {word}"})
            send("GET", path, {**stack.headers, "Cookie": f"session={word}", "X-Api-Key": word})


def _name_environment_wrongly(stack: Stack, used: Canaries, send: Send) -> None:
    """Requests that are refused for something else, or for the value's own type, with values in them."""
    for index, value in enumerate(used.environment[5:]):
        bad: list[dict[str, object]] = [
            {"environment_vars": {"A": [value]}},
            {"environment_vars": {"A": {"b": value}}},
            {"environment_vars": [value]},
            {"environment_vars": {"0 BAD": value}},
            {"environment_vars": {"A": value + "\0"}},
            {"environment_vars": {"A": value}, "entity_version": "99"},
            {"environment_vars": {"A": value}, "workload_size": 1},
        ]
        for fields in bad:
            config = {"served_entities": [{**entity(), **fields}]}
            assert send("POST", MANAGEMENT, None, {"name": f"r23-{index}", "config": config}) in {400, 404}
            assert send("PUT", f"{MANAGEMENT}/{ENDPOINT}/config", None, config) in {400, 404}
        listed = {"name": f"r23-{index}", "config": {"served_entities": [[{"environment_vars": {"A": value}}]]}}
        assert send("POST", MANAGEMENT, None, listed) == 400
        broken = json.dumps(config).encode()[:-1]
        assert send("PUT", f"{MANAGEMENT}/{ENDPOINT}/config", None, broken) == 400


def _query(stack: Stack, used: Canaries, send: Send) -> None:
    """Answers, refusals, a model that raises and one that dies with the request."""
    path = f"{QUERY}/{ENDPOINT}/invocations"
    for text in ("hello", "raise", "mlflow-raise", "die"):
        send("POST", path, None, {"dataframe_records": [{**ROW, "s": text}]})
    for body in (b"{", b'{"inputs": [[1]]}', b'{"dataframe_records": [{"x": "a"}]}'):
        send("POST", path, None, body)
    stack.wait_ready(ENDPOINT)


def _look_around(stack: Stack, used: Canaries, send: Send) -> None:
    """Logs, metrics, processes, tables, pages."""
    endpoint_id = stack.get(ENDPOINT)["id"]
    for path in (
        *(f"{MANAGEMENT}/{ENDPOINT}/served-models/r23-entity/{what}" for what in ("logs", "build-logs")),
        *(f"{MANAGEMENT}/{ENDPOINT}/{what}" for what in ("metrics", "openapi")),
        *(MANAGEMENT, TOKENS, "/api/2.0/penstock/ps", "/api/2.0/penstock/models", "/api/2.0/penstock/principals"),
        *("/mlflow/", "/api/2.0/penstock/openapi.json", f"/api/2.0/permissions/serving-endpoints/{endpoint_id}"),
        *("/api/2.0/mlflow/registered-models/search", "/health", "/.well-known/databricks-config", "/nowhere"),
        *(f"{SECRETS}/list?scope={ENDPOINT}", f"{SECRETS}/scopes/list", f"{SECRETS}/get?scope={ENDPOINT}&key=k0"),
    ):
        send("GET", path)
    send("POST", "/api/2.0/mlflow/experiments/search", None, {"max_results": 100})


def _use_the_command_line(stack: Stack, used: Canaries) -> None:
    """What our own commands print; `penstock env` prints the first token on purpose."""
    for command in ("status", "ps", "endpoints list", "tokens list", "doctor"):
        done = penstock(*command.split(), "--json", home=stack.home)
        used.outputs.append((f"penstock {command}", (done.stdout + done.stderr).encode()))


def forms_of(secret: str) -> list[bytes]:
    """The ways in which a secret could be written down."""
    plain = secret.encode()
    return [plain, base64.b64encode(plain).rstrip(b"="), quote(secret, safe="").encode(), plain.hex().encode()]


def found_in(text: bytes, words: list[str]) -> list[str]:
    return [word for word in words if any(form in text for form in forms_of(word))]


def files_of(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """Every file of the home folder, and what the stack itself printed."""
    for file in [*stack.home.rglob("*"), stack.home.parent / f"{stack.home.name}.stderr"]:
        if file.is_file():
            yield str(file.relative_to(stack.home.parent)), file.read_bytes()


def test_there_are_forty_canaries(canaries: Canaries) -> None:
    assert len(canaries.all) == len(set(canaries.all)) >= 40


def test_the_search_finds_what_is_there(stack: Stack, canaries: Canaries) -> None:
    """The values of environment variables do stand where they may: else the search would prove nothing."""
    document = stack.call("GET", f"{MANAGEMENT}/{ENDPOINT}").content
    assert len(found_in(document, canaries.environment)) == 5
    kept = b"".join(text for name, text in files_of(stack) if "penstock.db" in name)
    assert len(found_in(kept, canaries.environment)) == 5


def test_r23_no_output_tells_a_secret(canaries: Canaries) -> None:
    told = {}
    for what, text in canaries.outputs:
        words = canaries.all
        if what == f"GET {MANAGEMENT}/{ENDPOINT}":  # the endpoint's document
            words = [word for word in words if word not in canaries.environment]
        if found := found_in(text, words):
            told[what] = found
    assert not told


def test_r23_no_file_holds_a_secret(stack: Stack, canaries: Canaries) -> None:
    told = {}
    for name, text in files_of(stack):
        keeps_environment = Path(name).name.startswith("penstock.db")
        words = [word for word in canaries.all if not (keeps_environment and word in canaries.environment)]
        if found := found_in(text, words):
            told[name] = found
    assert not told


def test_r23_the_first_token_stands_in_its_file_only(stack: Stack) -> None:
    holders = [name for name, text in files_of(stack) if found_in(text, [stack.token])]
    assert holders == [f"{stack.home.name}/token"]
    assert (stack.home / "token").stat().st_mode & 0o077 == 0


def test_r23_no_command_line_and_no_other_process_holds_a_secret(stack: Stack, canaries: Canaries) -> None:
    """Environments belong to replicas alone, and only to those of the endpoint."""
    own = {process["pid"] for process in stack.ps("replica", ENDPOINT)}
    for process in psutil.Process(stack.pid).children(recursive=True):
        arguments = " ".join(process.cmdline()).encode()
        assert not found_in(arguments, [*canaries.all, stack.token]), process
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
        if process.pid not in own and not own & {parent.pid for parent in process.parents()}:
            assert not found_in(environment, canaries.all), process
