"""`penstock apply` and `penstock export`: endpoints as files declare them."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.applying import Outcome, awaited, carry_out, permissions_path, why_refused
from penstock.cli.documents import written
from penstock.cli.endpoint_files import BadFiles, DeclaredInFile, read_endpoint_files
from penstock.cli.endpoints import TimeoutOption, WaitOption
from penstock.cli.session import (
    FAILED,
    REFUSED,
    TIMED_OUT,
    USAGE,
    CommandFailed,
    HomeOption,
    JsonOption,
    api_of,
    command,
    print_json,
    stderr,
    stdout,
)
from penstock.client.api import ApiClient, ApiError, endpoint_path
from penstock.domain.declaration import Deed, Difference, Plan, plan_endpoint
from penstock.domain.endpoint import JsonObject
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.secrets import reference_in
from penstock.wire.declared import as_declared, sections_of

_CHANGES_PENDING = 2
_NOT_FOUND = 404
_NOT_KNOWN = (400, 404)
"""What MLflow answers for an alias, or a model, that there is not."""
_PENDING = {Deed.CREATE: _CHANGES_PENDING, Deed.CHANGE: _CHANGES_PENDING, Deed.KEEP: 0, Deed.REFUSE: REFUSED}
_SIGNS = {Deed.CREATE: "+", Deed.CHANGE: "~", Deed.KEEP: "=", Deed.REFUSE: "!"}


@command
def apply(
    file: Annotated[
        list[Path],
        typer.Option("--file", "-f", help="A YAML or JSON file, or a folder of them; - is stdin.", show_default=False),
    ],
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be done; exit code 2 if anything.")] = False,
    wait: WaitOption = True,
    timeout: TimeoutOption = 1200,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make endpoints as files declare them. What the files do not mention is left alone."""
    try:
        read = read_endpoint_files(file)
    except BadFiles as exc:
        raise CommandFailed(str(exc), USAGE) from exc
    for remark in read.remarks:
        stderr.print(f"Note: {remark}", markup=False, soft_wrap=True)
    api = api_of(home)
    seen = {each.endpoint.name: _endpoint(api, each.endpoint.name) for each in read.endpoints}
    plans = _plans(api, read.endpoints, seen)
    if not as_json:
        for each in plans:
            _print_plan(each)
        stdout.print(_summary(plans), soft_wrap=True)
    if plan:
        _end(plans, {}, as_json)
        return
    outcomes = {
        each.name: carry_out(api, each, declared.endpoint, seen[each.name])
        for each, declared in zip(plans, read.endpoints, strict=True)
    }
    if wait:
        outcomes = awaited(api, plans, outcomes, seen, time.monotonic() + timeout)
    _end(plans, outcomes, as_json)


@command
def export(
    names: Annotated[list[str] | None, typer.Argument(help="Names of endpoints; all of them if none is given.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print endpoints as a file for 'penstock apply' declares them."""
    api = api_of(home)
    listed = names or [each["name"] for each in api.call("GET", "/api/2.0/serving-endpoints")["endpoints"]]
    documents = []
    for name in listed:
        endpoint = api.call("GET", endpoint_path(name))
        document = as_declared(endpoint, _grants(api, endpoint))
        if "config" not in document and (endpoint.get("config") or endpoint.get("pending_config")):
            stderr.print(
                f"Note: {name}: its config is left out, because a key of its external model came in clear, and nobody "
                "is told it. Put the key into a secret and refer to it.",
                markup=False,
                soft_wrap=True,
            )
        documents.append(document)
    if as_json:
        print_json({"endpoints": documents})
    else:
        print(written({"endpoints": documents}), end="")


def _endpoint(api: ApiClient, name: str) -> JsonObject | None:
    """What `GET` tells of an endpoint and of its permissions; None if there is none of that name."""
    try:
        endpoint: JsonObject = api.call("GET", endpoint_path(name))
    except ApiError as exc:
        if exc.status == _NOT_FOUND:
            return None
        raise
    return {**endpoint, "grants": _grants(api, endpoint)}


def _grants(api: ApiClient, endpoint: JsonObject) -> JsonObject:
    document: JsonObject = api.call("GET", permissions_path(endpoint))
    return document


def _plans(
    api: ApiClient, declared: Sequence[DeclaredInFile], seen: Mapping[str, JsonObject | None]
) -> tuple[Plan, ...]:
    """What is to be done with each endpoint.

    Raises:
        CommandFailed: something is wrong that shows only once aliases are known.
    """
    aliases = {alias for each in declared for alias in each.endpoint.aliases}
    versions = {alias: _version_of(api, *alias) for alias in aliases}
    plans, problems = [], []
    for each in declared:
        there = seen[each.endpoint.name]
        try:
            wanted = each.endpoint.sections(versions)
        except InvalidParameterValue as exc:
            problems.append(each.located.told(str(exc)))
            continue
        plans.append(
            plan_endpoint(each.endpoint.name, wanted, None if there is None else sections_of(there, there["grants"]))
        )
    if problems:
        raise CommandFailed("\n".join(problems), USAGE)
    return tuple(plans)


def _version_of(api: ApiClient, model: str, alias: str) -> str | None:
    query = {"name": model, "alias": alias}
    try:
        return str(api.call("GET", "/api/2.0/mlflow/registered-models/alias", query=query)["model_version"]["version"])
    except ApiError as exc:
        if exc.status in _NOT_KNOWN:
            return None
        raise


def _end(plans: Sequence[Plan], outcomes: Mapping[str, Outcome], as_json: bool) -> None:
    """Tell what became of each endpoint, and exit with the code that says how the worst one fared."""
    if as_json:
        print_json({"endpoints": [_as_json(plan, outcomes.get(plan.name)) for plan in plans]})
    else:
        for name, outcome in outcomes.items():
            if outcome.result != "unchanged":
                told = f"{name}: {outcome.result}" + (f": {outcome.message}" if outcome.message else "")
                stderr.print(told, markup=False, soft_wrap=True)
    codes = {outcome.exit_code for outcome in outcomes.values()}
    if not outcomes:
        codes = {_PENDING[plan.deed] for plan in plans}
    for code in (FAILED, REFUSED, TIMED_OUT, _CHANGES_PENDING):
        if code in codes:
            sys.exit(code)


def _as_json(plan: Plan, outcome: Outcome | None) -> dict[str, Any]:
    changes = [
        {
            "field": each.path,
            "before": _told(each.path, each.before),
            "after": _told(each.path, each.after),
        }
        for change in plan.changes
        for each in change.differences
    ]
    document = {"name": plan.name, "action": plan.deed.value, "changes": changes}
    return document if outcome is None else {**document, "result": outcome.result, "message": outcome.message}


def _print_plan(plan: Plan) -> None:
    what = {Deed.KEEP: "is as declared", Deed.REFUSE: why_refused(plan)}.get(plan.deed, plan.deed.value)
    lines = [f"{_SIGNS[plan.deed]} {plan.name}: {what}"]
    lines += [f"    {_line(each)}" for change in plan.changes for each in change.differences]
    stdout.print("\n".join(lines), markup=False, soft_wrap=True)


def _line(difference: Difference) -> str:
    before, after = (
        "-" if value is None else json.dumps(_told(difference.path, value), ensure_ascii=False)
        for value in (difference.before, difference.after)
    )
    return f"{difference.path}: {after}" if difference.before is None else f"{difference.path}: {before} -> {after}"


def _told(path: str, value: object) -> object:
    """A value as it is shown: variables may hold passwords, so only references to secrets are shown of them."""
    if value is None or ".environment_vars." not in path:
        return value
    return value if isinstance(value, str) and reference_in(path, value) is not None else "(not shown)"


def _summary(plans: Sequence[Plan]) -> str:
    count = {deed: sum(plan.deed is deed for plan in plans) for deed in Deed}
    refused = f", {count[Deed.REFUSE]} refused" if count[Deed.REFUSE] else ""
    return f"{count[Deed.CREATE]} to create, {count[Deed.CHANGE]} to change, {count[Deed.KEEP]} as declared{refused}."
