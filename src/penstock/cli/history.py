"""`penstock endpoints`: events, history, diff and rollback."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from penstock.cli.endpoints import Name, TimeoutOption, WaitOption, app, show, wait_until_updated
from penstock.cli.session import HomeOption, JsonOption, api_of, command, print_json, print_table, stderr
from penstock.client.api import endpoint_path

LimitOption = Annotated[int, typer.Option("--limit", min=1, max=1000, help="So many, the newest.")]


@app.command()
@command
def events(name: Name, limit: LimitOption = 100, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what happened to an endpoint, and why."""
    found = api_of(home).call("GET", endpoint_path(name, "/events"), query={"limit": limit})["events"]
    if as_json:
        print_json(found)
        return
    print_table(
        ("TIME (UTC)", "EVENT", "CONFIG", "ENTITY", "REASON"),
        [(_time(e["at_ms"]), e["kind"], e["config_version"], e["entity"], e["reason"]) for e in reversed(found)],
    )


@app.command()
@command
def history(name: Name, limit: LimitOption = 100, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the versions of an endpoint's config: who, when, what changed, how it ended."""
    found = api_of(home).call("GET", endpoint_path(name, "/history"), query={"limit": limit})["versions"]
    if as_json:
        print_json(found)
        return
    print_table(
        ("CONFIG", "TIME (UTC)", "AUTHOR", "OUTCOME", "WHAT"),
        [
            (
                f"{v['config_version']}{' *' if v['is_active'] else ''}",
                _time(v["started_at_ms"]),
                v["author"],
                v["outcome"],
                "\n".join(_story(v)),
            )
            for v in reversed(found)
        ],
    )


@app.command()
@command
def diff(
    name: Name,
    first: Annotated[int | None, typer.Argument(metavar="FROM", help="By default the one before TO.")] = None,
    second: Annotated[int | None, typer.Argument(metavar="TO", help="By default the newest version.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two versions of an endpoint's config."""
    query = {key: value for key, value in {"from": first, "to": second}.items() if value is not None}
    found = api_of(home).call("GET", endpoint_path(name, "/history/diff"), query=query)
    if as_json:
        print_json(found)
        return
    stderr.print(f"{name}: config version {found['from']} to {found['to']}")
    for change in found["changes"]:
        print(_line(change))
    if not found["changes"]:
        stderr.print("No difference.")


@app.command()
@command
def rollback(
    name: Name,
    version: Annotated[
        int | None, typer.Argument(help="The config version to bring back; by default the last that served before.")
    ] = None,
    wait: WaitOption = True,
    timeout: TimeoutOption = 1200,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring an earlier config back, as a new version."""
    api = api_of(home)
    body = {} if version is None else {"config_version": version}
    endpoint = api.call("POST", endpoint_path(name, "/config:rollback"), body)
    show(wait_until_updated(api, name, timeout) if wait else endpoint, as_json)


def _story(version: dict[str, Any]) -> list[str]:
    """What there is to say of a version, a line each."""
    changes = version["changes"]
    return [
        *([version["reason"]] if version["reason"] else []),
        *([_line(change) for change in changes] if changes is not None else ["(the version before is not kept)"]),
        *(f"{entity} failed: {cause}" for entity, cause in version["failures"].items()),
    ]


def _line(change: dict[str, Any]) -> str:
    field, before, after = change["field"], change["before"], change["after"]
    if before is None:
        return f"+ {field}: {after}"
    if after is None:
        return f"- {field}: {before}"
    return f"~ {field}: {before} -> {after}"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
