"""Endpoints in files: the body of a create, with the permissions beside it, to and from their canonical form.

What a file says is decoded as the API would decode it and encoded as the API would answer it. So the defaults are the
API's own, and what `GET` tells of an endpoint can be compared with it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pydantic import ValidationError

from penstock.domain.declaration import AUTO_CAPTURE, Section, Sections
from penstock.domain.endpoint import Deployment, EndpointConfig, EntityStatus, JsonObject, check_config
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.names import check_endpoint_name
from penstock.domain.requests import ConfigRequest, EntityRequest
from penstock.domain.served_entity import ModelVersion
from penstock.wire.body import describe
from penstock.wire.endpoint_settings import decode_ai_gateway, decode_tags, decode_telemetry
from penstock.wire.permissions import AccessControlList, AccessControlRequest, decode_grants
from penstock.wire.serving_endpoints import (
    CreateEndpoint,
    EndpointCoreConfigInput,
    ServedEntityInput,
    decode_config,
    encode_auto_capture,
    encode_config,
)

AliasVersions = Mapping[tuple[str, str], str | None]
"""The version that each alias of a model points to now; None if the registry knows no such alias."""

_OF_ALIASES = {"entity_alias", "follow_alias"}
_CONFIG_KEYS = ("served_entities", "served_models", "traffic_config", AUTO_CAPTURE)


class EndpointInFile(CreateEndpoint, EndpointCoreConfigInput):
    """A create as it stands in a file. What belongs into `config` may also stand beside it, and so may permissions."""

    permissions: list[AccessControlRequest] | None = None


@dataclass(frozen=True, slots=True)
class Declared:
    """One endpoint of a file, decoded."""

    name: str
    config: ConfigRequest | None
    others: Sections
    """All sections but the config, in canonical form."""
    document: JsonObject
    """As the API takes it, with the config's keys in `config`."""

    @property
    def aliases(self) -> set[tuple[str, str]]:
        """The aliases that must be looked up before it can be compared."""
        entities = self.config.entities if self.config is not None else ()
        return {(entity.model_name, entity.alias) for entity in entities if entity.alias is not None}

    def sections(self, versions: AliasVersions) -> Sections:
        """All sections that it mentions, in canonical form.

        Raises:
            InvalidParameterValue: entities and routes do not fit together.
        """
        if self.config is None:
            return self.others
        return {Section.CONFIG: _canonical_request(self.name, self.config, versions), **self.others}


def decode_declared(document: JsonObject) -> Declared:
    """An endpoint of a file.

    Raises:
        InvalidParameterValue: a field is missing or holds what it may not; the message begins with its path.
    """
    try:
        body = EndpointInFile.model_validate_json(json.dumps(document))
    except ValidationError as exc:
        raise InvalidParameterValue(describe(exc)) from exc
    check_endpoint_name(body.name)
    given = {key for key in _CONFIG_KEYS if getattr(body, key) is not None}
    if given and body.config is not None:
        raise InvalidParameterValue(f"config: came together with {min(given)} beside it; give one or the other.")
    config = None
    if body.config is not None:
        config = decode_config(body.config, "config.")
    elif given:
        config = decode_config(EndpointCoreConfigInput(**{key: getattr(body, key) for key in given}))
    for path in _keys_in_clear(document, ""):
        raise InvalidParameterValue(
            f"{path}: a key in clear has no place in a file; put it into a secret and refer to it as "
            f"{{{{secrets/<scope>/<key>}}}} in {path.rsplit('.', 1)[-1].removesuffix(_IN_CLEAR)}."
        )
    nested = {key: document[key] for key in given}
    kept = {key: value for key, value in document.items() if key not in _CONFIG_KEYS and value is not None}
    return Declared(body.name, config, _other_sections(body), {**kept, "config": nested} if nested else kept)


_IN_CLEAR = "_plaintext"


def _keys_in_clear(value: object, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            at = f"{path}.{key}" if path else str(key)
            if str(key).endswith(_IN_CLEAR) and inner is not None and "external_model" in path:
                yield at
            yield from _keys_in_clear(inner, at)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _keys_in_clear(inner, f"{path}[{index}]")


def _other_sections(body: EndpointInFile) -> Sections:
    sections: dict[Section, object] = {}
    if body.telemetry_config is not None:
        sections[Section.TELEMETRY] = decode_telemetry(body.telemetry_config)
    if body.tags is not None:
        sections[Section.TAGS] = _by_key(decode_tags(body.tags))
    if body.email_notifications is not None:
        sections[Section.NOTIFICATIONS] = body.email_notifications.document()
    if body.rate_limits is not None:
        sections[Section.RATE_LIMITS] = [limit.document() for limit in body.rate_limits]
    if body.ai_gateway is not None:
        sections[Section.AI_GATEWAY] = decode_ai_gateway(body.ai_gateway, body.name, {})
    if body.permissions is not None:
        try:
            grants = decode_grants(AccessControlList(access_control_list=body.permissions))
        except InvalidParameterValue as exc:
            raise InvalidParameterValue(str(exc).replace("access_control_list", "permissions", 1)) from None
        sections[Section.PERMISSIONS] = {grant.identity: grant.level.value for grant in grants}
    if body.description is not None:
        sections[Section.DESCRIPTION] = body.description
    if body.route_optimized is not None:
        sections[Section.ROUTE_OPTIMIZED] = body.route_optimized
    if body.budget_policy_id is not None:
        sections[Section.BUDGET_POLICY] = body.budget_policy_id
    return sections


def _by_key(tags: Mapping[str, str | None]) -> JsonObject:
    """A tag without a value is not the same as no tag."""
    return {key: {} if value is None else {"value": value} for key, value in tags.items()}


def _canonical_request(name: str, request: ConfigRequest, versions: AliasVersions) -> JsonObject:
    entities = [entity.resolved("", _version_of(entity, versions), "", 0) for entity in request.entities]
    routes = check_config(entities, request.routes_for(entities))
    config = EndpointConfig(0, tuple(entities), routes)
    capture = request.auto_capture and replace(request.auto_capture, prefix=request.auto_capture.prefix or name)
    encoded = encode_config(config, lambda _, __: EntityStatus(Deployment.CREATING))
    return _canonical_config({**encoded, **encode_auto_capture(capture, None)})


def _version_of(entity: EntityRequest, versions: AliasVersions) -> ModelVersion | None:
    if entity.external is not None:
        return None
    if entity.alias is None:
        return ModelVersion(entity.model_name, entity.version or "")
    # An alias that the registry does not know stays as it is: it differs from every version, and the API says why.
    return ModelVersion(entity.model_name, versions.get((entity.model_name, entity.alias)) or entity.alias)


def _canonical_config(config: JsonObject) -> JsonObject:
    return {
        "served_entities": {entity["name"]: _as_put(entity) for entity in config["served_entities"]},
        "traffic_config": {
            route["served_entity_name"]: route["traffic_percentage"] for route in config["traffic_config"]["routes"]
        },
        **_capture_of(config),
    }


def _capture_of(config: JsonObject) -> JsonObject:
    """Its `auto_capture_config`, if it has one, without how that stands."""
    capture = config.get(AUTO_CAPTURE)
    return {} if capture is None else {AUTO_CAPTURE: {key: capture[key] for key in capture if key != "state"}}


def _as_put(entity: JsonObject) -> JsonObject:
    """What `GET` tells of a served entity, as a config would ask for it.

    An alias that is followed counts itself, not the version of the moment; one that was looked up once does not count.
    """
    fields = ServedEntityInput.model_fields.keys() - _OF_ALIASES
    asked = {key: value for key, value in entity.items() if key in fields}
    if entity.get("follow_alias"):
        asked |= {"entity_version": f"@{entity['entity_alias']}", "follow_alias": True}
    return asked


def sections_of(endpoint: JsonObject, grants: JsonObject) -> Sections:
    """All sections of an endpoint that is there, in canonical form.

    Args:
        endpoint: what `GET` tells of it.
        grants: what `GET` tells of its permissions.
    """
    config = endpoint.get("config")
    if endpoint["state"]["config_update"] == "IN_PROGRESS":
        config = endpoint["pending_config"]
    tags = {tag["key"]: tag.get("value") for tag in endpoint.get("tags", [])}
    sections: dict[Section, object] = {
        Section.TAGS: _by_key(tags),
        Section.NOTIFICATIONS: endpoint.get(Section.NOTIFICATIONS, {}),
        Section.RATE_LIMITS: endpoint.get(Section.RATE_LIMITS, []),
        Section.AI_GATEWAY: endpoint.get(Section.AI_GATEWAY, {}),
        Section.TELEMETRY: endpoint.get(Section.TELEMETRY, {}),
        Section.DESCRIPTION: endpoint.get(Section.DESCRIPTION, ""),
        Section.ROUTE_OPTIMIZED: endpoint.get(Section.ROUTE_OPTIMIZED, False),
        Section.BUDGET_POLICY: endpoint.get(Section.BUDGET_POLICY),
        Section.PERMISSIONS: {_identity(grant): grant["permission_level"] for grant in _direct_grants(grants)},
    }
    return sections if config is None else {Section.CONFIG: _canonical_config(config), **sections}


def as_declared(endpoint: JsonObject, grants: JsonObject) -> JsonObject:
    """An endpoint that is there, as a file would declare it: what is at its default is left out.

    The config of an endpoint with a key that came in clear is left out too: nobody is told such a key, and without it
    the config would be refused. The arguments are those of `sections_of`.
    """
    document: JsonObject = {"name": endpoint["name"]}
    config = endpoint.get("config")
    if config is None or endpoint["state"]["config_update"] == "IN_PROGRESS":
        config = endpoint.get("pending_config")
    if config is not None:
        asked = {
            "served_entities": [_as_put(entity) for entity in config["served_entities"]],
            "traffic_config": {
                "routes": [
                    {key: route[key] for key in ("served_entity_name", "traffic_percentage")}
                    for route in config["traffic_config"]["routes"]
                ]
            },
            **_capture_of(config),
        }
        if _is_complete(asked):
            document["config"] = asked
    kept = [section.value for section in Section if section not in {Section.CONFIG, Section.PERMISSIONS}]
    document.update({key: endpoint[key] for key in kept if endpoint.get(key)})
    document["permissions"] = [dict(grant) for grant in _direct_grants(grants)]
    return document


def _is_complete(config: JsonObject) -> bool:
    try:
        decode_config(EndpointCoreConfigInput.model_validate_json(json.dumps(config)))
    except InvalidParameterValue:
        return False
    return True


def _direct_grants(grants: JsonObject) -> Iterator[dict[str, str]]:
    for entry in grants.get("access_control_list", []):
        for permission in entry["all_permissions"]:
            if not permission["inherited"]:
                grantee = {key: entry[key] for key in entry if key.endswith("_name") and key != "display_name"}
                yield {**grantee, "permission_level": permission["permission_level"]}


def _identity(grant: Mapping[str, str]) -> str:
    return next(f"{key}:{value}" for key, value in grant.items() if key != "permission_level")
