"""What `penstock bench` asks: an address, with which token, and which model is said to answer there."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from penstock.cli.session import USAGE, CommandFailed, RunningStack, running_stack
from penstock.client.api import ApiClient, ApiError, Unreachable, endpoint_path
from penstock.client.load.target import BadUrl, Target, target_of
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.secrets import reference_in

_SCHEME = "endpoints:/"
_INVOCATIONS = re.compile(r"/serving-endpoints/(?P<endpoint>[^/]+)(/served-models/(?P<entity>[^/]+))?/invocations")


@dataclass(frozen=True, slots=True)
class Asked:
    """Where requests go."""

    url: str
    target: Target
    token: str | None
    stack: RunningStack | None
    """The stack on this machine that answers there, if one does."""
    endpoint: str | None
    entity: str | None
    """The served entity that the address names, past the split."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The model behind an endpoint that gets most of its requests."""

    uri: str
    variables: dict[str, str]
    """Its `environment_vars`, without those that are secrets."""


def find_asked(where: str, token: str | None, home: Path | None) -> Asked:
    """What an address or the name of an endpoint means.

    Raises:
        CommandFailed: it is no address, or a name and no stack runs on the home.
    """
    if where.startswith(("http://", "https://")):
        stack = _stack_or_none(home)
        url = where
    else:
        name = where.removeprefix(_SCHEME)
        if not name or "/" in name or ":" in name:
            raise CommandFailed(
                f"URL: got '{where}'; wanted http://HOST:PORT/PATH, endpoints:/NAME, or the name of an endpoint.", USAGE
            )
        stack = running_stack(home)
        url = f"{stack.local_url}/serving-endpoints/{quote(name, safe='')}/invocations"
    try:
        target = target_of(url)
        if stack is not None and not (target.is_at(stack.url) or target.is_at(stack.local_url)):
            stack = None
    except BadUrl as exc:
        raise CommandFailed(f"URL: {exc}.", USAGE) from exc
    found = _INVOCATIONS.fullmatch(target.path)
    endpoint, entity = (found["endpoint"], found["entity"]) if found else (None, None)
    return Asked(
        url,
        target,
        token or (stack.token if stack is not None else _token_of_environment(target, os.environ)),
        stack,
        None if endpoint is None else unquote(endpoint),
        None if entity is None else unquote(entity),
    )


def served_model(asked: Asked) -> ServedModel | None:
    """The model that answers, as the stack on this machine tells it; None if there is no such stack or model."""
    if asked.stack is None or asked.endpoint is None or asked.token is None:
        return None
    try:
        config = ApiClient(asked.stack.local_url, asked.token).call("GET", endpoint_path(asked.endpoint)).get("config")
    except (ApiError, Unreachable):
        return None  # the first request will say it better
    entity = busiest_entity(config or {}, asked.entity)
    if entity is None or "entity_name" not in entity or "entity_version" not in entity:
        return None
    variables = {name: str(value) for name, value in (entity.get("environment_vars") or {}).items()}
    plain = {name: value for name, value in variables.items() if not _is_secret(name, value)}
    return ServedModel(f"models:/{entity['entity_name']}/{entity['entity_version']}", plain)


def busiest_entity(config: Mapping[str, Any], named: str | None) -> dict[str, Any] | None:
    """The served entity of this name, or the one that the split sends most requests to."""
    entities: Sequence[dict[str, Any]] = config.get("served_entities", [])
    shares = {
        route["served_entity_name"]: route["traffic_percentage"]
        for route in config.get("traffic_config", {}).get("routes", [])
    }
    wanted = [entity for entity in entities if named in (None, entity["name"])]
    return max(wanted, key=lambda entity: shares.get(entity["name"], 0), default=None)


def _stack_or_none(home: Path | None) -> RunningStack | None:
    try:
        return running_stack(home)
    except CommandFailed:
        return None


def _token_of_environment(target: Target, environment: Mapping[str, str]) -> str | None:
    """`DATABRICKS_TOKEN`, for the host that it is meant for and no other."""
    host = environment.get("DATABRICKS_HOST", "")
    try:
        is_meant = target.is_at(host if "://" in host else f"https://{host}")
    except BadUrl:
        return None
    return environment.get("DATABRICKS_TOKEN") if is_meant else None


def _is_secret(name: str, value: str) -> bool:
    try:
        return reference_in(name, value) is not None
    except InvalidParameterValue:
        return True
