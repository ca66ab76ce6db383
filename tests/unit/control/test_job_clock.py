"""When schedules want runs: against a slow look at every minute, and on days on which clocks change."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.job_clock import check_schedule, due_between, due_times, next_due_ms
from penstock.domain.errors import InvalidParameterValue
from penstock.domain.jobs.job import Schedule

BERLIN = "Europe/Berlin"


def times(expression: str, zone: str, after: str, count: int, *, cron: bool = False) -> list[str]:
    """Due times after a time on the wall, as times on the wall with their offsets."""
    schedule = Schedule(zone, cron=expression) if cron else Schedule(zone, expression)
    start_ms = int(datetime.fromisoformat(after).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)
    found = islice(due_times(schedule, start_ms), count)
    return [datetime.fromtimestamp(ms / 1000, ZoneInfo(zone)).isoformat(timespec="minutes") for ms in found]


def test_p6_5_a_time_that_is_left_out_comes_at_the_end_of_the_gap_once() -> None:
    assert times("0 30 2 * * ?", BERLIN, "2026-03-28T12:00", 2) == ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]
    quarters = times("0 0/15 2 * * ?", BERLIN, "2026-03-28T12:00", 3)
    assert quarters == ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00", "2026-03-30T02:15+02:00"]
    assert times("30 2 * * *", BERLIN, "2026-03-28T12:00", 1, cron=True) == ["2026-03-29T03:00+02:00"]


def test_p6_5_a_time_that_comes_twice_counts_the_first_time() -> None:
    assert times("0 30 2 * * ?", BERLIN, "2026-10-24T12:00", 2) == ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]
    second_half_past = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # between the two
    after = next_due_ms(Schedule(BERLIN, "0 30 2 * * ?"), int(second_half_past.timestamp() * 1000))
    assert datetime.fromtimestamp((after or 0) / 1000, UTC) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_p6_5_where_hours_are_not_named_the_time_that_passes_counts() -> None:
    assert times("0 0 * * * ?", BERLIN, "2026-10-25T00:30", 4) == [
        *("2026-10-25T01:00+02:00", "2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"),
    ]
    assert times("0 0 * * * ?", BERLIN, "2026-03-29T00:30", 2) == ["2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00"]


def test_p6_5_days_of_months_and_years() -> None:
    assert times("0 0 12 ? * 6#3", "UTC", "2026-01-01T00:00", 2) == ["2026-01-16T12:00+00:00", "2026-02-20T12:00+00:00"]
    assert times("0 0 12 L * ?", "UTC", "2028-02-01T00:00", 2) == ["2028-02-29T12:00+00:00", "2028-03-31T12:00+00:00"]
    assert times("0 0 12 29 2 ?", "UTC", "2026-01-01T00:00", 1) == ["2028-02-29T12:00+00:00"]
    assert times("0 0 12 1 1 ? 2030,2040", "UTC", "2026-01-01T00:00", 9) == [
        "2030-01-01T12:00+00:00",
        "2040-01-01T12:00+00:00",
    ]
    assert times("0 6 1 * mon", "UTC", "2026-01-02T00:00", 2, cron=True) == [
        "2026-01-05T06:00+00:00",  # either kind of day will do
        "2026-01-12T06:00+00:00",
    ]


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        (Schedule("UTC", "0 0 12 31 2 ?"), "never comes"),
        (Schedule("UTC", "0 0 12 1 1 ? 2020"), "never comes"),
        (Schedule("Mars/Olympus", "0 0 12 * * ?"), "timezone_id: got 'Mars/Olympus'"),
        (Schedule("../etc/passwd", "0 0 12 * * ?"), "timezone_id"),
        (Schedule("", "0 0 12 * * ?"), "timezone_id"),
    ],
)
def test_p6_5_schedules_that_cannot_be_followed_are_refused(schedule: Schedule, told: str) -> None:
    with pytest.raises(InvalidParameterValue, match=told):
        check_schedule(schedule, 1_790_000_000_000)


def test_p6_5_what_was_missed_is_counted() -> None:
    hourly = Schedule("UTC", "0 0 * * * ?")
    hour_ms = 3_600_000
    assert due_between(hourly, 10 * hour_ms, 12 * hour_ms, 10) == ([10 * hour_ms, 11 * hour_ms, 12 * hour_ms], 0)
    found, more = due_between(hourly, 0, 24 * hour_ms, 10)
    assert (len(found), more) == (10, 15)
    assert due_between(hourly, 1, 0, 10) == ([], 0)


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> tuple[str, set[int]]:
    """A field of numbers, and what it stands for."""
    kind = draw(st.sampled_from(["*", "one", "list", "range", "step"]))
    first, last = sorted(draw(st.tuples(st.integers(low, high), st.integers(low, high))))
    step = draw(st.integers(1, max(1, high - low)))
    match kind:
        case "*":
            return "*", set(range(low, high + 1))
        case "one":
            return str(first), {first}
        case "list":
            return f"{last},{first}", {first, last}
        case "range":
            return f"{first}-{last}", set(range(first, last + 1))
        case _:
            return f"{first}/{step}", set(range(first, high + 1, step))


@given(
    fields(0, 59),
    fields(0, 23),
    fields(1, 31),
    fields(1, 12),
    fields(1, 7),
    st.booleans(),
    st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - hypothesis wants them so
)
@settings(max_examples=60, deadline=None)
def test_p6_5_due_times_are_those_minutes_that_an_expression_names(
    minutes: tuple[str, set[int]],
    hours: tuple[str, set[int]],
    days: tuple[str, set[int]],
    months: tuple[str, set[int]],
    weekdays: tuple[str, set[int]],
    is_by_month: bool,
    start: datetime,
) -> None:
    day, weekday = (days[0], "?") if is_by_month else ("?", weekdays[0])
    schedule = Schedule("UTC", f"0 {minutes[0]} {hours[0]} {day} {months[0]} {weekday}")
    at = start.replace(second=0, microsecond=0, tzinfo=UTC)

    def is_named(moment: datetime) -> bool:
        is_day = moment.day in days[1] if is_by_month else moment.isoweekday() % 7 + 1 in weekdays[1]
        return is_day and moment.month in months[1] and moment.hour in hours[1] and moment.minute in minutes[1]

    span = [at + timedelta(minutes=count) for count in range(1, 1000)]
    wanted = [moment for moment in span if is_named(moment)]
    last_ms = int(span[-1].timestamp() * 1000)
    found = []
    for moment_ms in due_times(schedule, int(at.timestamp() * 1000)):
        if moment_ms > last_ms:
            break
        found.append(datetime.fromtimestamp(moment_ms / 1000, UTC))
    assert found == wanted
