"""Carries out what is planned for endpoints that files declare, and waits until their updates have ended."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from penstock.cli.endpoints import wait_until_updated
from penstock.cli.session import FAILED, REFUSED, TIMED_OUT, CommandFailed
from penstock.client.api import ApiClient, ApiError, endpoint_path
from penstock.domain.declaration import Deed, Plan, Section
from penstock.domain.endpoint import JsonObject
from penstock.wire.declared import Declared

_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one endpoint."""

    result: str
    message: str = ""
    exit_code: int = 0


def carry_out(api: ApiClient, plan: Plan, declared: Declared, there: JsonObject | None) -> Outcome:
    """Make the changes of one endpoint, up to the first that is refused."""
    if plan.deed is Deed.KEEP:
        return Outcome("unchanged")
    if plan.deed is Deed.REFUSE:
        return Outcome("refused", why_refused(plan), REFUSED)
    document = declared.document
    try:
        if there is None:
            body = {key: value for key, value in document.items() if key != Section.PERMISSIONS}
            there = api.call("POST", "/api/2.0/serving-endpoints", body)
            if Section.PERMISSIONS in document:
                _set_permissions(api, there, document)
        else:
            for change in plan.changes:
                _make(api, change.section, document, there)
    except ApiError as exc:
        result, code = ("conflict", REFUSED) if exc.status == _CONFLICT else ("failed", FAILED)
        return Outcome(result, f"{exc.error_code}: {exc}", code)
    return Outcome("created" if plan.deed is Deed.CREATE else "changed")


def _make(api: ApiClient, section: Section, document: JsonObject, there: JsonObject) -> None:
    value = document[section]
    match section:
        case Section.CONFIG:
            method, rest, body = "PUT", "config", value
        case Section.TAGS:
            kept = {tag["key"] for tag in value}
            gone = [tag["key"] for tag in there["tags"] if tag["key"] not in kept]
            method, rest, body = "PATCH", "tags", {"add_tags": value, "delete_tags": gone}
        case Section.NOTIFICATIONS:
            method, rest, body = "PATCH", "notifications", {section: value}
        case Section.RATE_LIMITS:
            method, rest, body = "PUT", "rate-limits", {section: value}
        case Section.AI_GATEWAY:
            method, rest, body = "PUT", "ai-gateway", value
        case Section.TELEMETRY:
            method, rest, body = "PATCH", "telemetry-config", {section: value}
        case Section.PERMISSIONS:
            _set_permissions(api, there, document)
            return
        case _:
            return
    api.call(method, endpoint_path(there["name"], f"/{rest}"), body)


def _set_permissions(api: ApiClient, there: JsonObject, document: JsonObject) -> None:
    api.call("PUT", permissions_path(there), {"access_control_list": document[Section.PERMISSIONS]})


def awaited(
    api: ApiClient,
    plans: Iterable[Plan],
    outcomes: Mapping[str, Outcome],
    seen: Mapping[str, JsonObject | None],
    deadline: float,
) -> dict[str, Outcome]:
    """The outcomes once every update has ended, those that were on their way before included."""
    ended = dict(outcomes)
    for plan in plans:
        there = seen[plan.name]
        was_updating = there is not None and there["state"]["config_update"] == "IN_PROGRESS"
        begins = plan.deed is Deed.CREATE or any(change.section is Section.CONFIG for change in plan.changes)
        if ended[plan.name].exit_code == 0 and (begins or was_updating):
            try:
                wait_until_updated(api, plan.name, max(0.0, deadline - time.monotonic()))
            except CommandFailed as exc:
                result = "timed-out" if exc.exit_code == TIMED_OUT else "failed"
                ended[plan.name] = Outcome(result, str(exc), exc.exit_code)
            except ApiError as exc:
                ended[plan.name] = Outcome("failed", f"{exc.error_code}: {exc}", FAILED)
    return ended


def why_refused(plan: Plan) -> str:
    """What to say of an endpoint that would have to be another one."""
    fields = " and ".join(change.section.value for change in plan.changes)
    return f"{fields} cannot be changed once an endpoint exists; delete the endpoint, or declare what it has."


def permissions_path(endpoint: JsonObject) -> str:
    """Where the grants on an endpoint are."""
    return f"/api/2.0/permissions/serving-endpoints/{quote(endpoint['id'], safe='')}"
