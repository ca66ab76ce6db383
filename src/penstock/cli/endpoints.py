"""`penstock endpoints`: list, get, create, update, delete, query, logs, stop and start."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.model_check import brief
from penstock.cli.session import (
    FAILED,
    TIMED_OUT,
    USAGE,
    CommandFailed,
    HomeOption,
    JsonOption,
    api_of,
    command,
    print_json,
    print_table,
    stderr,
)
from penstock.client.api import ApiClient, endpoint_path

app = typer.Typer(no_args_is_help=True, help="Serving endpoints.")

Name = Annotated[str, typer.Argument(help="Name of the endpoint.", show_default=False)]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="MODEL/VERSION or MODEL@ALIAS, with =PERCENT for a share of traffic; may be given several times.",
        show_default=False,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="A JSON file with the config, as the API takes it; - is stdin."),
]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the update has ended.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", help="Seconds to wait.")]
FollowOption = Annotated[bool, typer.Option("--follow", help="Follow the aliases of --model when they are moved.")]


@app.command("list")
@command
def list_endpoints(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List endpoints."""
    endpoints = api_of(home).call("GET", "/api/2.0/serving-endpoints")["endpoints"]
    if as_json:
        print_json(endpoints)
        return
    print_table(
        ("NAME", "READY", "UPDATE", "ENTITIES"),
        [
            (
                e["name"],
                e["state"]["ready"],
                e["state"]["config_update"],
                ", ".join(s["name"] for s in e.get("config", {}).get("served_entities", [])),
            )
            for e in endpoints
        ],
    )


@app.command()
@command
def get(name: Name, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show one endpoint."""
    show(api_of(home).call("GET", endpoint_path(name)), as_json)


@app.command()
@command
def create(
    name: Name,
    model: ModelOption = None,
    config: ConfigOption = None,
    follow: FollowOption = False,
    wait: WaitOption = True,
    timeout: TimeoutOption = 1200,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an endpoint; without --model and --config it has no config yet."""
    body: dict[str, Any] = {"name": name}
    if model is not None or config is not None:
        body["config"] = _config(model, config, follow)
    api = api_of(home)
    endpoint = api.call("POST", "/api/2.0/serving-endpoints", body)
    show(wait_until_updated(api, name, timeout) if wait else endpoint, as_json)


@app.command()
@command
def update(
    name: Name,
    model: ModelOption = None,
    config: ConfigOption = None,
    follow: FollowOption = False,
    wait: WaitOption = True,
    timeout: TimeoutOption = 1200,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give an endpoint a new config; the old one serves until the new one is ready."""
    api = api_of(home)
    endpoint = api.call("PUT", endpoint_path(name, "/config"), _config(model, config, follow))
    show(wait_until_updated(api, name, timeout) if wait else endpoint, as_json)


@app.command()
@command
def delete(name: Name, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Delete an endpoint."""
    api_of(home).call("DELETE", endpoint_path(name))
    if as_json:
        print_json({"deleted": name})
    else:
        stderr.print(f"Deleted {name}.")


@app.command()
@command
def query(
    name: Name,
    data: Annotated[str, typer.Option("--data", "-d", help="The body; @FILE reads a file, @- standard input.")],
    entity: Annotated[str | None, typer.Option("--entity", help="Ask this served entity, past the split.")] = None,
    content_type: Annotated[str, typer.Option("--content-type")] = "application/json",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send one request and print the answer."""
    response = api_of(home).query(name, _read_data(data), entity, content_type)
    print(response.text)
    if not as_json:
        stderr.print(f"answered by {response.headers.get('served-model-name')}", style="dim")


@app.command()
@command
def logs(
    name: Name,
    entity: Annotated[str | None, typer.Option("--entity", help="Served entity; not needed if there is one.")] = None,
    build: Annotated[bool, typer.Option("--build", help="The build log in place of the service log.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what an entity's replicas printed."""
    api = api_of(home)
    if entity is None:
        endpoint = api.call("GET", endpoint_path(name))
        config = endpoint.get("pending_config") or endpoint.get("config") or {}
        names = [e["name"] for e in config.get("served_entities", [])]
        if len(names) != 1:
            raise CommandFailed(f"Choose one with --entity: {', '.join(names) or 'there is none'}.", USAGE)
        entity = names[0]
    kind = "build-logs" if build else "logs"
    document = api.call("GET", endpoint_path(name, f"/served-models/{entity}/{kind}"))
    if as_json:
        print_json(document)
    else:
        print(document["logs"], end="")


@app.command()
@command
def stop(name: Name, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Stop an endpoint: release its replicas, keep its config."""
    show(api_of(home).call("POST", endpoint_path(name, "/config:stop")), as_json)


@app.command()
@command
def start(
    name: Name,
    wait: WaitOption = True,
    timeout: TimeoutOption = 1200,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start a stopped endpoint."""
    api = api_of(home)
    endpoint = api.call("POST", endpoint_path(name, "/config:start"))
    show(wait_until_updated(api, name, timeout) if wait else endpoint, as_json)


def _config(models: list[str] | None, file: Path | None, follows: bool) -> dict[str, Any]:
    if (models is None) == (file is None):
        raise CommandFailed("Give the config with --model or with --config, one of the two.", USAGE)
    if follows and not any("@" in text for text in models or ()):
        raise CommandFailed("--follow: there is no --model MODEL@ALIAS to follow.", USAGE)
    if file is not None:
        try:
            text = sys.stdin.read() if str(file) == "-" else file.read_text()
            document = json.loads(text)
        except (OSError, ValueError) as exc:
            raise CommandFailed(f"--config {file}: {exc}", USAGE) from exc
        if not isinstance(document, dict):
            raise CommandFailed(f"--config {file}: wanted a JSON object.", USAGE)
        return document
    entities, routes = [], []
    for index, text in enumerate(models or []):
        spec, _, share = text.partition("=")
        alias = "@" in spec
        model_name, _, version = spec.rpartition("@" if alias else "/")
        if not model_name or not version or (share and not share.isdigit()):
            raise CommandFailed(f"--model: got '{text}'; wanted MODEL/VERSION or MODEL@ALIAS, with =PERCENT.", USAGE)
        entity: dict[str, Any] = {
            "entity_name": model_name,
            "entity_version": f"@{version}" if alias else version,
        }
        if alias and follows:
            entity["follow_alias"] = True
        if alias or len(models or []) > 1:
            entity["name"] = f"{model_name.rsplit('.', 1)[-1]}-{version}"
        entities.append(entity)
        if share:
            routes.append({"served_entity_name": entity.get("name", str(index)), "traffic_percentage": int(share)})
    document = {"served_entities": entities}
    if routes and len(entities) > 1:
        document["traffic_config"] = {"routes": routes}
    return document


def _read_data(data: str) -> bytes:
    if not data.startswith("@"):
        return data.encode()
    try:
        return sys.stdin.buffer.read() if data == "@-" else Path(data[1:]).read_bytes()
    except OSError as exc:
        raise CommandFailed(f"--data {data}: {exc.strerror}", USAGE) from exc


def wait_until_updated(api: ApiClient, name: str, timeout_s: float) -> dict[str, Any]:
    """The endpoint once its update has ended well; what it waits for is told on standard error.

    Raises:
        CommandFailed: the update failed, or has not ended in time.
    """
    deadline = time.monotonic() + timeout_s
    told = ""
    while True:
        endpoint: dict[str, Any] = api.call("GET", endpoint_path(name))
        if endpoint["state"]["config_update"] == "NOT_UPDATING":
            return endpoint
        if endpoint["state"]["config_update"] != "IN_PROGRESS":
            failed = [
                f"{e['name']}: {e['state']['deployment_state_message']}"
                for e in endpoint["pending_config"]["served_entities"]
                if e["state"]["deployment"] == "DEPLOYMENT_FAILED"
            ]
            raise CommandFailed("The update failed. " + " ".join(failed), FAILED)
        waits = " ".join(_waits(endpoint))
        if waits != told:
            stderr.print(waits, style="dim")
            told = waits
        if time.monotonic() > deadline:
            raise CommandFailed(f"The update is still in progress after {timeout_s:g} s.", TIMED_OUT)
        time.sleep(0.2)


def _waits(endpoint: dict[str, Any]) -> list[str]:
    entities = endpoint.get("pending_config", {}).get("served_entities", [])
    return [
        f"{e['name']}: {e['state']['deployment_state_message']}"
        for e in entities
        if e.get("follow_alias") and "entity_version" not in e
    ]


def show(endpoint: dict[str, Any], as_json: bool) -> None:
    """Print an endpoint: its state, and the entities of its configs."""
    if as_json:
        print_json(endpoint)
        return
    state = endpoint["state"]
    stderr.print(f"{endpoint['name']}: {state['ready']}, {state['config_update']}, {state['suspend']}")
    rows = []
    for label in ("config", "pending_config"):
        config = endpoint.get(label) or {}
        shares = {
            r["served_entity_name"]: r["traffic_percentage"] for r in config.get("traffic_config", {}).get("routes", [])
        }
        rows += [
            (
                f"{label} {config['config_version']}",
                e["name"],
                _model_of(e),
                f"{shares.get(e['name'], 0)} %",
                e["state"]["deployment"],
                brief(e["state"]["check"]) if "check" in e["state"] else "",
                e["state"]["deployment_state_message"],
            )
            for e in config.get("served_entities", [])
        ]
    print_table(("CONFIG", "ENTITY", "MODEL", "TRAFFIC", "STATE", "CHECK", "MESSAGE"), rows)


def _model_of(entity: dict[str, Any]) -> str:
    if "entity_name" not in entity:
        return str(entity.get("external_model", {}).get("name", ""))
    version = f"/{entity['entity_version']}" if "entity_version" in entity else ""
    alias = f"@{entity['entity_alias']}" if entity.get("follow_alias") else ""
    return f"{entity['entity_name']}{version}{alias}"
