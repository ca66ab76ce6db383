"""What is told of a management call in `system.access.audit`, under the names of Databricks' public documentation.

Of a body only fields are told that are named here: everything else may be a secret, or hold one.
"""

import re
from collections.abc import Mapping

from pydantic import BaseModel

from penstock.domain.audit import MAX_VALUE_LENGTH

UNTOLD = frozenset({"stack_metrics", "export_metrics"})
"""Operations that are asked all the time and change nothing."""

_SERVING = "serverlessRealTimeInference"
_ACTIONS = {
    "create_endpoint": (_SERVING, "createServingEndpoint"),
    "delete_endpoint": (_SERVING, "deleteServingEndpoint"),
    "get_endpoint": (_SERVING, "getServingEndpoint"),
    "list_endpoints": (_SERVING, "listServingEndpoints"),
    "update_config": (_SERVING, "updateServingEndpoint"),
    "stop_endpoint": (_SERVING, "disable"),
    "start_endpoint": (_SERVING, "enable"),
    "endpoint_openapi": (_SERVING, "getQuerySchemaPreview"),
    "put_rate_limits": (_SERVING, "updateInferenceEndpointRateLimits"),
    "set_permissions": (_SERVING, "changeInferenceEndpointAcl"),
    "update_permissions": (_SERVING, "changeInferenceEndpointAcl"),
    "create_scope": ("secrets", "createScope"),
    "delete_scope": ("secrets", "deleteScope"),
    "list_scopes": ("secrets", "listScopes"),
    "put_secret": ("secrets", "putSecret"),
    "delete_secret": ("secrets", "deleteSecret"),
    "get_secret": ("secrets", "getSecret"),
    "list_secrets": ("secrets", "listSecrets"),
    "create_token": ("accounts", "generateDbToken"),
    "revoke_token": ("accounts", "revokeDbToken"),
    "create_job": ("jobs", "create"),
    "reset_job": ("jobs", "reset"),
    "update_job": ("jobs", "update"),
    "delete_job": ("jobs", "delete"),
    "run_now": ("jobs", "runNow"),
    "submit_run": ("jobs", "submitRun"),
    "cancel_run": ("jobs", "cancel"),
    "cancel_all_runs": ("jobs", "cancelAllRuns"),
    "delete_run": ("jobs", "deleteRun"),
    "list_tokens": ("accounts", "listDbTokens"),
    "log_in": ("accounts", "login"),
    "show_login": ("accounts", "login"),
    "log_out": ("accounts", "logout"),
}
"""Services and actions by the name of the operation that does them."""
_SERVICES = (
    ("/api/2.0/serving-endpoints", _SERVING),
    ("/api/2.0/permissions", _SERVING),
    ("/api/2.0/secrets", "secrets"),
    ("/api/2.2/jobs", "jobs"),
    ("/api/2.1/jobs", "jobs"),
)
_TOLD = frozenset(
    {
        *("name", "endpoint_id", "served_model", "config_version", "from", "to", "limit", "resolution"),
        *("scope", "key", "initial_manage_principal"),
        *(
            "user",
            "token_id",
            "groups",
            "table",
            "job_id",
            "run_id",
            "run_name",
            "table_name",
            "catalog_name",
            "schema_name",
            "full_name",
        ),
    }
)


def action_of(operation: str, path: str) -> tuple[str, str]:
    """Service and action of an operation; those that the documentation does not name get names of the same form."""
    known = _ACTIONS.get(operation)
    if known is not None:
        return known
    service = next((service for prefix, service in _SERVICES if path.startswith(prefix)), "penstock")
    return service, re.sub(r"_([a-z])", lambda match: match[1].upper(), operation)


def params_of(*sources: Mapping[str, object], body: object = None) -> dict[str, str]:
    """What is told of a call's parameters.

    Args:
        sources: parameters of the path and the query.
        body: as it was decoded, if it was.
    """
    found = {name: value for source in sources for name, value in source.items() if name in _TOLD}
    if isinstance(body, BaseModel):
        fields = type(body).model_fields
        found |= {name: getattr(body, name) for name in fields if name in _TOLD}
        models = _models(getattr(body, "config", None) or body)
        if models:
            found["served_entities"] = models
        found["fields"] = ", ".join(sorted(body.model_fields_set))
    return {name: _text(value)[:MAX_VALUE_LENGTH] for name, value in found.items() if value is not None}


def _models(config: object) -> str:
    """The models of a config, each with its version."""
    entities = getattr(config, "served_entities", None) or getattr(config, "served_models", None) or ()
    told = []
    for entity in entities:
        name = getattr(entity, "entity_name", None) or getattr(entity, "model_name", None)
        version = getattr(entity, "entity_version", None) or getattr(entity, "model_version", None)
        told.append("/".join(str(part) for part in (name, version) if part is not None))
    return ", ".join(told)


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
