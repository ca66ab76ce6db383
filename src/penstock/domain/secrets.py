"""Secrets: values that reach the environment of a served entity and that nobody reads back.

A secret lies in a scope under a key. A variable whose value is exactly `{{secrets/<scope>/<key>}}` refers to it. When a
config is accepted, the entity takes the secret's sealed value along, so that changing or deleting the secret later
changes nothing that runs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.domain.access import Principal
from penstock.domain.errors import InvalidParameterValue

MAX_NAME_LENGTH = 128
MAX_VALUE_BYTES = 128 << 10
MAX_SCOPES = 1000
MAX_SECRETS_OF_A_SCOPE = 1000
MAX_VARIABLE_BYTES = 128 << 10
"""Linux starts no process with a longer variable: its name, `=`, value and closing NUL together."""
MAX_SECRETS_OF_AN_ENTITY_BYTES = 1 << 20
"""Linux starts no process whose arguments and environment are over a quarter of its stack limit, mostly 2 MiB."""

_NAME = re.compile(r"[A-Za-z0-9_@.-]{1,128}")
_REFERENCE = re.compile(r"\{\{secrets/([A-Za-z0-9_@.-]{1,128})/([A-Za-z0-9_@.-]{1,128})\}\}")
_REFERENCE_BEGINS = "{{secrets/"
_MAX_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Plaintext:
    """A secret's value in clear. It does not show itself when it is printed or logged."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret's value as it is stored: encrypted."""

    version: str
    """Random, new with every put: tells whether two sealed values come from the same one."""
    ciphertext: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a secret lies."""

    scope: str
    key: str

    def __str__(self) -> str:
        return f"{_REFERENCE_BEGINS}{self.scope}/{self.key}}}}}"


@dataclass(frozen=True, slots=True)
class SecretScope:
    """A named set of secrets."""

    name: str
    creator: str
    is_shared: bool
    """Whether everybody may manage and use it, not only its creator and admins."""
    created_at_ms: int = 0

    def may_be_used_by(self, principal: Principal) -> bool:
        """Whether a principal may manage the scope and refer to its secrets."""
        return self.is_shared or principal.is_admin or principal.name == self.creator


@dataclass(frozen=True, slots=True)
class SecretEntry:
    """A secret as it is listed: without its value."""

    key: str
    updated_at_ms: int


def check_secret_name(field_name: str, name: str) -> None:
    """Raise InvalidParameterValue unless `name` may name a scope or a key."""
    if not _NAME.fullmatch(name):
        shown = repr(name if len(name) <= MAX_NAME_LENGTH else name[:MAX_NAME_LENGTH] + "…")
        raise InvalidParameterValue(
            f"{field_name}: got {shown}; wanted 1 to {MAX_NAME_LENGTH} letters, digits, '-', '_', '@' and '.'."
        )


def check_secret_value(field_name: str, value: bytes) -> None:
    """Raise InvalidParameterValue if a value is too long; the message does not show it."""
    if len(value) > MAX_VALUE_BYTES:
        raise InvalidParameterValue(f"{field_name}: got {len(value)} bytes; wanted at most {MAX_VALUE_BYTES}.")


def reference_in(field_name: str, value: str) -> Reference | None:
    """The reference that a variable's value is; None if it is a plain value.

    Raises:
        InvalidParameterValue: it begins like a reference and is none.
    """
    match = _REFERENCE.fullmatch(value)
    if match is not None:
        return Reference(match[1], match[2])
    if value.startswith(_REFERENCE_BEGINS):
        shown = value if len(value) <= _MAX_SHOWN else value[:_MAX_SHOWN] + "…"
        raise InvalidParameterValue(
            f"{field_name}: got '{shown}'; wanted {{{{secrets/<scope>/<key>}}}}, with letters, digits, '-', '_', '@' "
            "and '.' in both names and nothing around it."
        )
    return None


def variable_text(field_name: str, reference: Reference, value: bytes) -> str:
    """A secret's value as an environment variable holds it; `field_name` ends in the variable's name.

    Raises:
        InvalidParameterValue: no variable can hold it. The message does not show it.
    """
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InvalidParameterValue(
            f"{field_name}: the value of the secret '{reference}' is not UTF-8 text without NUL characters, "
            "so no environment variable can hold it."
        )
    name = field_name.rsplit(".", 1)[-1]
    if len(name) + len(value) + 2 > MAX_VARIABLE_BYTES:
        raise InvalidParameterValue(
            f"{field_name}: the value of the secret '{reference}' has {len(value)} bytes; an environment variable of "
            f"this name holds at most {MAX_VARIABLE_BYTES - len(name) - 2}."
        )
    return text


def check_entity_secrets(field_name: str, values: Mapping[str, str]) -> None:
    """Raise InvalidParameterValue if the secrets of one entity, by variable, are too much for a process."""
    size = sum(len(value.encode()) for value in values.values())
    if size > MAX_SECRETS_OF_AN_ENTITY_BYTES:
        raise InvalidParameterValue(
            f"{field_name}: the values of its secrets have {size} bytes together; "
            f"wanted at most {MAX_SECRETS_OF_AN_ENTITY_BYTES}."
        )
