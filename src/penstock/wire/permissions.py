"""Permissions of an endpoint as Databricks writes them in JSON."""

from typing import Annotated, Any

from pydantic import Field, StrictStr

from penstock.domain.access import ADMINS, Grant, GranteeKind, Level
from penstock.domain.endpoint import Endpoint
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.names import check_group_name
from penstock.wire.body import In

DESCRIPTIONS = {
    Level.CAN_VIEW: "Can see the endpoint and its logs",
    Level.CAN_QUERY: "Can see and query the endpoint",
    Level.CAN_MANAGE: "Can see, query, change and delete the endpoint, and change its permissions",
}


class AccessControlRequest(In):
    """One grant: a level, and one of the three kinds of grantee."""

    user_name: StrictStr | None = None
    group_name: StrictStr | None = None
    service_principal_name: StrictStr | None = None
    permission_level: Annotated[Level, Field(strict=False)]


class AccessControlList(In):
    """Body of a change of permissions."""

    access_control_list: list[AccessControlRequest] | None = None


def decode_grants(body: AccessControlList) -> tuple[Grant, ...]:
    """Grants, in the order in which they came.

    Raises:
        InvalidParameterValue: an entry names no grantee, or more than one, or one that cannot be.
    """
    return tuple(
        _decode_grant(entry, f"access_control_list[{index}]")
        for index, entry in enumerate(body.access_control_list or ())
    )


def _decode_grant(entry: AccessControlRequest, at: str) -> Grant:
    named = [(kind, getattr(entry, kind.value)) for kind in GranteeKind if getattr(entry, kind.value)]
    if len(named) != 1:
        raise InvalidParameterValue(f"{at}: got {len(named)} grantees; wanted one of {', '.join(GranteeKind)}.")
    kind, name = named[0]
    check_group_name(f"{at}.{kind.value}", name)
    return Grant(kind, name, entry.permission_level)


def encode_permissions(endpoint: Endpoint) -> dict[str, Any]:
    """`ServingEndpointPermissions`: the direct grants, and what admins inherit."""
    entries = [
        {
            grant.kind.value: grant.name,
            "display_name": grant.name,
            "all_permissions": [{"permission_level": grant.level.value, "inherited": False}],
        }
        for grant in endpoint.grants
    ]
    inherited = {
        "permission_level": Level.CAN_MANAGE.value,
        "inherited": True,
        "inherited_from_object": ["/serving-endpoints/"],
    }
    return {
        "object_id": f"/serving-endpoints/{endpoint.id}",
        "object_type": "serving-endpoint",
        "access_control_list": [*entries, {"group_name": ADMINS, "all_permissions": [inherited]}],
    }


def encode_levels() -> dict[str, Any]:
    """The levels that there are."""
    return {
        "permission_levels": [
            {"permission_level": level.value, "description": text} for level, text in DESCRIPTIONS.items()
        ]
    }
