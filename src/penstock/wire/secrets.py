"""Secrets as Databricks writes them in JSON. A value comes in and never goes out; errors do not show it either."""

import base64
import binascii
from collections.abc import Iterable
from typing import Any

from pydantic import ConfigDict, SecretStr, StrictStr

from penstock.domain.errors import InvalidParameterValue, NotSupported
from penstock.domain.secrets import SecretEntry, SecretScope
from penstock.wire.body import In

_OUR_BACKEND = "DATABRICKS"
_KEY_VAULT = "AZURE_KEYVAULT"
_EVERYBODY = "users"


class CreateScope(In):
    """Body of a scope's creation."""

    scope: StrictStr
    initial_manage_principal: StrictStr | None = None
    scope_backend_type: StrictStr | None = None
    backend_azure_keyvault: dict[str, Any] | None = None


class DeleteScope(In):
    """Body of a scope's deletion."""

    scope: StrictStr


class PutSecret(In):
    """Body of a put: one of the two values, the second in base64."""

    model_config = ConfigDict(hide_input_in_errors=True)

    scope: StrictStr
    key: StrictStr
    string_value: SecretStr | None = None
    bytes_value: SecretStr | None = None


class DeleteSecret(In):
    """Body of a secret's deletion."""

    scope: StrictStr
    key: StrictStr


def decode_is_shared(body: CreateScope) -> bool:
    """Whether everybody is to manage the scope.

    Raises:
        NotSupported: a backend that is not to be had here.
        InvalidParameterValue: an unknown backend, or a principal that is not `users`.
    """
    if body.scope_backend_type == _KEY_VAULT or body.backend_azure_keyvault is not None:
        raise NotSupported(f"scope_backend_type: '{_KEY_VAULT}' is not to be had here; wanted '{_OUR_BACKEND}'.")
    if body.scope_backend_type not in (None, _OUR_BACKEND):
        raise InvalidParameterValue(f"scope_backend_type: got '{body.scope_backend_type}'; wanted '{_OUR_BACKEND}'.")
    if body.initial_manage_principal not in (None, _EVERYBODY):
        raise InvalidParameterValue(
            f"initial_manage_principal: got '{body.initial_manage_principal}'; wanted '{_EVERYBODY}', or none."
        )
    return body.initial_manage_principal == _EVERYBODY


def decode_value(body: PutSecret) -> tuple[str, bytes]:
    """The field that came, and the value in it.

    Raises:
        InvalidParameterValue: none came, or both; or what is no base64.
    """
    if (body.string_value is None) == (body.bytes_value is None):
        came = "none" if body.string_value is None else "both"
        raise InvalidParameterValue(f"string_value, bytes_value: got {came}; wanted exactly one.")
    if body.string_value is not None:
        return "string_value", body.string_value.get_secret_value().encode()
    try:
        return "bytes_value", base64.b64decode((body.bytes_value or SecretStr("")).get_secret_value(), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidParameterValue("bytes_value: got what is no base64.") from None


def encode_scopes(scopes: Iterable[SecretScope]) -> dict[str, Any]:
    """`ListScopesResponse`."""
    return {"scopes": [{"name": scope.name, "backend_type": _OUR_BACKEND} for scope in scopes]}


def encode_entries(entries: Iterable[SecretEntry]) -> dict[str, Any]:
    """`ListSecretsResponse`: keys and times."""
    return {"secrets": [{"key": entry.key, "last_updated_timestamp": entry.updated_at_ms} for entry in entries]}
