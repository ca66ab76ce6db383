"""Which names an endpoint, a served entity, an environment variable, a principal and a group may bear."""

import re

from penstock.domain.errors import InvalidParameterValue

MAX_NAME_LENGTH = 63
MAX_PRINCIPAL_LENGTH = 256
MAX_VARIABLE_LENGTH = 255
RESERVED_ENDPOINT_NAMES = frozenset({"chat", "completions", "embeddings", "responses", "models", "pt"})
"""Names that stand for a route under `/serving-endpoints` or `/api/2.0/serving-endpoints`."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")
_ENTITY_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_PATH_CHARACTERS = frozenset("/\\%")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_endpoint_name(name: str) -> None:
    """Raise InvalidParameterValue unless `name` may name an endpoint."""
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        raise InvalidParameterValue(
            f"name: got {_shown(name)}; wanted 1 to {MAX_NAME_LENGTH} letters, digits, '-' and '_', "
            "beginning and ending with a letter or digit."
        )
    if name.startswith("databricks-"):
        raise InvalidParameterValue(f"name: got '{name}'; the prefix 'databricks-' is reserved.")
    if name in RESERVED_ENDPOINT_NAMES:
        raise InvalidParameterValue(f"name: got '{name}', which is the name of a route; choose another.")


def check_served_entity_name(field: str, name: str) -> None:
    """Raise InvalidParameterValue unless `name` may name a served entity."""
    if not _ENTITY_NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        raise InvalidParameterValue(
            f"{field}: got {_shown(name)}; wanted 1 to {MAX_NAME_LENGTH} letters, digits, '-', '_' and '.', "
            "beginning and ending with a letter, digit or '_'."
        )


def check_environment_variable(field: str, name: str, value: str) -> None:
    """Raise InvalidParameterValue unless the pair may stand in a process's environment."""
    if not _VARIABLE.fullmatch(name) or len(name) > MAX_VARIABLE_LENGTH:
        raise InvalidParameterValue(
            f"{field}: got the name {_shown(name)}; wanted 1 to {MAX_VARIABLE_LENGTH} letters, digits and '_', "
            "not beginning with a digit."
        )
    if "\0" in value:
        raise InvalidParameterValue(f"{field}.{name}: the value holds a NUL character.")


def check_group_name(field: str, name: str) -> None:
    """Raise InvalidParameterValue unless `name` may name a group: text for people, no path."""
    is_text = 0 < len(name) <= MAX_PRINCIPAL_LENGTH and name.isprintable() and bool(name.strip(" ."))
    if not is_text or not _PATH_CHARACTERS.isdisjoint(name):
        raise InvalidParameterValue(
            f"{field}: got {_shown(name)}; wanted a name of 1 to {MAX_PRINCIPAL_LENGTH} printable characters "
            "without '/', '\\' and '%'."
        )


def check_principal_name(field: str, name: str) -> None:
    """Raise InvalidParameterValue unless `name` may name a principal; it travels in a header and in a path."""
    check_group_name(field, name)
    if not name.isascii():
        raise InvalidParameterValue(f"{field}: got {_shown(name)}; wanted ASCII characters only.")


def default_entity_name(model_name: str, version: str) -> str:
    """`main.default.m` version 1 -> `m-1`: the last dotted part, a dash, the version, or the alias that is followed."""
    return f"{model_name.rsplit('.', 1)[-1]}-{version}"


def _shown(name: str) -> str:
    return repr(name if len(name) <= MAX_NAME_LENGTH else name[:MAX_NAME_LENGTH] + "…")
