"""What of an endpoint's predictions is logged, and where."""

from dataclasses import dataclass
from enum import StrEnum

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.table_name import TableName, check_name_part

SYSTEM_CATALOG = "system"
PAYLOAD_SUFFIX = "_payload"


class TableStatus(StrEnum):
    """How an inference table stands."""

    PENDING = "PENDING"
    """Nothing has been logged yet."""
    READY = "READY"
    DEGRADED = "DEGRADED"
    """It does not take rows; they are kept apart until it does."""


@dataclass(frozen=True, slots=True)
class AutoCapture:
    """The older form of an inference table, declared with a config; it holds for the endpoint from then on."""

    catalog: str
    schema: str
    prefix: str
    enabled: bool = True

    @property
    def table(self) -> str:
        """The bare name of the table."""
        return f"{self.prefix}{PAYLOAD_SUFFIX}"


def next_auto_capture(before: AutoCapture | None, wanted: AutoCapture | None) -> AutoCapture | None:
    """What holds after a config was given that says `wanted`; one that says nothing changes nothing.

    Raises:
        InvalidParameterValue: it would be moved, or turned on again.
    """
    if before is None or wanted is None:
        return wanted or before
    if (wanted.catalog, wanted.schema, wanted.prefix) != (before.catalog, before.schema, before.prefix):
        at = f"{before.catalog}.{before.schema}.{before.table}"
        raise InvalidParameterValue(f"auto_capture_config: the table is {at} and cannot be moved once it is set.")
    if wanted.enabled and not before.enabled:
        raise InvalidParameterValue("auto_capture_config.enabled: once it is turned off it cannot be turned on again.")
    return wanted


def payload_table(catalog: str, schema: str, prefix: str, at: str) -> TableName:
    """The table of requests for a prefix.

    Raises:
        InvalidParameterValue: a part is no name of a table, or the catalog is ours; `at` is where they stand.
    """
    name = TableName(
        check_name_part(catalog, f"{at}.catalog_name"),
        check_name_part(schema, f"{at}.schema_name"),
        check_name_part(f"{prefix}{PAYLOAD_SUFFIX}", f"{at}.table_name_prefix"),
    )
    if name.catalog == SYSTEM_CATALOG:
        raise InvalidParameterValue(f"{at}.catalog_name: got '{catalog}', which holds our own tables; wanted another.")
    return name


@dataclass(frozen=True, slots=True)
class InferenceLog:
    """What of one endpoint's predictions is logged."""

    payload: str = ""
    """The AI Gateway's table, `catalog.schema.table`; empty if there is none."""
    legacy: str = ""
    """The table of the config's `auto_capture_config`; empty if there is none."""
    fraction: float = 1.0
    """The share of predictions that become rows of those tables."""
    tracks_usage: bool = False
    """Whether each prediction becomes a row of the usage table."""

    @property
    def tables(self) -> tuple[str, ...]:
        """Those that there are."""
        return tuple(filter(None, (self.payload, self.legacy)))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is logged."""
        return not self.tracks_usage and (not self.tables or not self.fraction)


NOTHING_LOGGED = InferenceLog()
