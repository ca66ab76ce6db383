"""When a schedule next wants a run: what its expression says of the clock on the wall, as instants.

Where hours are named, the clock on the wall counts. A time that is left out when clocks are put forward comes at the
end of the gap, once for all that fall into it; a time that comes twice when they are put back counts the first time.
Where hours are not named (`*`, every so many), the time that passes counts, and such days are like any other.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.jobs.job import Schedule
from penstock.domain.jobs.quartz import LAST_YEAR, Times, parse_cron, parse_quartz

_MINUTE = timedelta(minutes=1)
_MAX_COUNTED = 1000


def check_schedule(schedule: Schedule, now_ms: int) -> None:
    """Check that a schedule can be followed, and ever wants a run.

    Raises:
        InvalidParameterValue: naming the field.
    """
    if next_due_ms(schedule, now_ms) is None:
        raise InvalidParameterValue(f"schedule: '{schedule.quartz or schedule.cron}' never comes.")


def next_due_ms(schedule: Schedule, after_ms: int) -> int | None:
    """The first moment after another at which a schedule wants a run, paused or not; None if it never will.

    Raises:
        InvalidParameterValue: the expression or the time zone is none.
    """
    return next(due_times(schedule, after_ms), None)


def due_times(schedule: Schedule, after_ms: int) -> Iterator[int]:
    """All moments after another at which a schedule wants a run; raises as `next_due_ms` does."""
    times = parse_quartz(schedule.quartz) if schedule.quartz else parse_cron(schedule.cron)
    zone = _zone(schedule.timezone)
    after = datetime.fromtimestamp(after_ms / 1000, UTC)
    try:
        for moment in _moments(times, zone, after):
            yield round(moment.timestamp() * 1000)
    except CronSimError:  # a day that no month has
        return


def due_between(schedule: Schedule, first_ms: int, until_ms: int, most: int) -> tuple[list[int], int]:
    """The moments from one to another, and how many there are beyond `most`; a thousand are counted, no more."""
    found = []
    for moment in islice(due_times(schedule, first_ms - 1), _MAX_COUNTED):
        if moment > until_ms:
            break
        found.append(moment)
    return found[:most], max(0, len(found) - most)


def _moments(times: Times, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Instants, in order and each once."""
    local = after.astimezone(zone)
    last = after
    while local.year <= LAST_YEAR:
        walls = CronSim(times.fields, local.replace(tzinfo=None) if times.is_by_the_clock else local)
        for wall in walls:
            if times.years is not None and wall.year not in times.years:
                break
            moment = _instant(wall, zone) if times.is_by_the_clock else wall.astimezone(UTC)
            if moment > last:
                last = moment
                yield moment
        else:
            return
        year = min((year for year in times.years or () if year > wall.year), default=None)
        if year is None:
            return
        local = datetime(year, 1, 1, tzinfo=zone) - timedelta(seconds=1)


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant of a time on the wall: the first of two, and the end of the gap for one that there is not."""
    moment = wall.replace(tzinfo=zone, fold=0)
    while moment.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wall:
        wall = (wall + _MINUTE).replace(second=0)
        moment = wall.replace(tzinfo=zone, fold=0)
    return moment.astimezone(UTC)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidParameterValue(
            f"schedule.timezone_id: got '{name[:100]}'; wanted a name such as 'Europe/Berlin' or 'UTC'."
        ) from None
