"""Arguments of `penstock batch` that are more than a word."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from penstock.cli.session import USAGE, CommandFailed


def pairs(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    """`NAME=VALUE`, several times.

    Raises:
        CommandFailed: one is none.
    """
    found = {}
    for text in texts or ():
        name, separator, value = text.partition("=")
        if not (separator and name and value):
            raise CommandFailed(f"{option}: got '{text}'; wanted NAME=VALUE.", USAGE)
        if name in found:
            raise CommandFailed(f"{option}: got '{name}' twice.", USAGE)
        found[name] = value
    return found


def values(option: str, texts: Sequence[str] | None) -> dict[str, Any]:
    """The same with values in JSON; what is none is taken as text.

    Raises:
        CommandFailed: as `pairs` does.
    """
    return {name: _value(text) for name, text in pairs(option, texts).items()}


def instant(option: str, text: str | None) -> datetime | None:
    """A time with its zone.

    Raises:
        CommandFailed: it is none.
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise CommandFailed(f"{option}: got '{text}'; wanted a time with its zone, 2026-01-31T12:00:00Z.", USAGE)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
