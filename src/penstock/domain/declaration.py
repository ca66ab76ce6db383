"""Endpoints as a file declares them, and what is to be done so that a stack is as they say.

An endpoint is compared section by section. What a file does not mention is left alone, and so are the endpoints that it
does not name. Both sides come in one canonical form: defaults filled in, and what has no order, or an order that means
nothing, keyed by name. Equal therefore means that nothing is to be done.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from penstock.domain.endpoint import JsonObject


class Section(StrEnum):
    """A part of an endpoint that is declared and changed as a whole. The words are the contract's."""

    TELEMETRY = "telemetry_config"
    CONFIG = "config"
    TAGS = "tags"
    NOTIFICATIONS = "email_notifications"
    RATE_LIMITS = "rate_limits"
    AI_GATEWAY = "ai_gateway"
    PERMISSIONS = "permissions"
    DESCRIPTION = "description"
    ROUTE_OPTIMIZED = "route_optimized"
    BUDGET_POLICY = "budget_policy_id"


FIXED = frozenset({Section.DESCRIPTION, Section.ROUTE_OPTIMIZED, Section.BUDGET_POLICY})
"""The contract gives these to an endpoint when it is created, and has no call that changes them."""

Sections = Mapping[Section, object]
"""Sections in canonical form."""

AUTO_CAPTURE = "auto_capture_config"
"""What a config may leave out, as it stays then."""
ABSENT = None
"""Stands for what is not there on one side of a difference."""


class Deed(StrEnum):
    """What is to be done with an endpoint."""

    CREATE = "create"
    CHANGE = "change"
    KEEP = "keep"
    REFUSE = "refuse"
    """It would have to be another endpoint: a section of `FIXED` differs."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not as declared."""

    path: str
    before: object
    after: object


@dataclass(frozen=True, slots=True)
class Change:
    """A section that is to be changed, and what differs in it."""

    section: Section
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done with one endpoint; changes come in the order in which they are made."""

    name: str
    deed: Deed
    changes: tuple[Change, ...] = ()


def plan_endpoint(name: str, wanted: Sections, seen: Sections | None) -> Plan:
    """Compare what is wanted with what is there, None if there is no such endpoint.

    Telemetry comes before the config: it cannot be changed while an update is in progress.
    """
    if seen is None:
        changes = tuple(Change(section, tuple(_differences(section, ABSENT, wanted[section]))) for section in wanted)
        return Plan(name, Deed.CREATE, changes)
    seen = _as_far_as_mentioned(wanted, seen)
    changes = tuple(
        Change(section, tuple(_differences(section, seen.get(section), wanted[section])))
        for section in Section
        if section in wanted and wanted[section] != seen.get(section)
    )
    fixed = tuple(change for change in changes if change.section in FIXED)
    if fixed:
        return Plan(name, Deed.REFUSE, fixed)
    return Plan(name, Deed.CHANGE if changes else Deed.KEEP, changes)


def _as_far_as_mentioned(wanted: Sections, seen: Sections) -> Sections:
    """What is there, without what a config keeps that does not mention it."""
    new, old = _fields(wanted.get(Section.CONFIG)), _fields(seen.get(Section.CONFIG))
    if not new or not old or AUTO_CAPTURE in new:
        return seen
    return {**seen, Section.CONFIG: {key: value for key, value in old.items() if key != AUTO_CAPTURE}}


def _differences(path: str, before: object, after: object) -> Iterator[Difference]:
    if before == after:
        return
    old, new = _fields(before), _fields(after)
    if old is None or new is None or not (old or new):
        yield Difference(path, before, after)
        return
    for key in dict.fromkeys((*old, *new)):
        yield from _differences(f"{path}.{key}", old.get(key), new.get(key))


def _fields(value: object) -> JsonObject | None:
    """What is inside a value that can be compared piece by piece; nothing is inside of what is not there."""
    if value is ABSENT:
        return {}
    return value if isinstance(value, dict) else None
