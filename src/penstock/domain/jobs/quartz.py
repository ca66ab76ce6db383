"""Quartz expressions as Databricks writes them, and plain cron, as one thing: sets of seconds, minutes, hours and days.

Quartz has a field of seconds in front and may have one of years at the end, counts weekdays from Sunday as 1, wants `?`
in one of the two fields of days, and knows `L`, `#` and ranges that wrap around. What it can say and this cannot (`W`
beside a number, `L-3`, `C`) is refused by name.
"""

import re
from dataclasses import dataclass

from penstock.domain.errors import InvalidParameterValue

FIRST_YEAR, LAST_YEAR = 1970, 2099
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_NTH = re.compile(r"([0-9A-Z]+)#([1-5])")
_LAST_OF = re.compile(r"([0-9A-Z]+)L")
_QUARTZ_FIELDS = (6, 7)
_CRON_FIELDS = 5


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        """The value of one item.

        Raises:
            ValueError: it is none of this field.
        """
        if text in self.names:
            return self.names.index(text) + self.low
        if not (text.isascii() and text.isdigit() and self.low <= int(text) <= self.high):
            raise ValueError(text)
        return int(text)


_SECONDS, _MINUTES, _HOURS = _Field("seconds", 0, 59), _Field("minutes", 0, 59), _Field("hours", 0, 23)
_DAYS, _MONTHS_OF_YEAR = _Field("day of month", 1, 31), _Field("month", 1, 12, _MONTHS)
_QUARTZ_WEEKDAYS = _Field("day of week", 1, 7, _WEEKDAYS)
_CRON_WEEKDAYS = _Field("day of week", 0, 7, _WEEKDAYS)
_YEARS = _Field("year", FIRST_YEAR, LAST_YEAR)


@dataclass(frozen=True, slots=True)
class Times:
    """When something is to happen, by the clock on the wall."""

    fields: str
    """Seconds, minutes, hours, days, months and weekdays from Sunday as 0, as cron writes them: `*` or lists."""
    years: frozenset[int] | None = None
    """None for all."""
    is_by_the_clock: bool = True
    """Whether hours are named. If they are not, what counts is the time that passes: nothing is special about a day
    on which clocks change."""


def parse_quartz(expression: str) -> Times:
    """What a Quartz expression says.

    Raises:
        InvalidParameterValue: it is none, or says what cannot be said here; the message names the part.
    """
    parts = expression.upper().split()
    if len(parts) not in _QUARTZ_FIELDS:
        raise InvalidParameterValue(
            f"quartz_cron_expression: got '{expression[:100]}' with {len(parts)} field(s); wanted 6 or 7: seconds, "
            "minutes, hours, day of month, month, day of week and, if it matters, year."
        )
    seconds, minutes, hours, days, months, weekdays, *years = parts
    if (days == "?") == (weekdays == "?"):
        raise InvalidParameterValue(
            f"quartz_cron_expression: got '{expression[:100]}'; wanted '?' for one of day of month and day of week."
        )
    try:
        fields = (
            _plain(_SECONDS, seconds),
            _plain(_MINUTES, minutes),
            _plain(_HOURS, hours),
            "*" if days == "?" else _quartz_days(days),
            _plain(_MONTHS_OF_YEAR, months),
            "*" if weekdays == "?" else _quartz_weekdays(weekdays),
        )
        known_years = None if not years or years[0] == "*" else frozenset(_numbers(_YEARS, years[0]))
    except _Unsayable as exc:
        raise InvalidParameterValue(f"quartz_cron_expression: {exc}") from None
    return Times(" ".join(fields), known_years, is_by_the_clock=not hours.startswith("*"))


def parse_cron(expression: str) -> Times:
    """What a plain cron expression of five fields says; if both kinds of days are named, either will do.

    Raises:
        InvalidParameterValue: it is none; the message names the part.
    """
    parts = expression.upper().split()
    if len(parts) != _CRON_FIELDS:
        raise InvalidParameterValue(
            f"penstock_cron_expression: got '{expression[:100]}' with {len(parts)} field(s); wanted 5: minutes, hours, "
            "day of month, month and day of week."
        )
    minutes, hours, days, months, weekdays = parts
    try:
        fields = (
            "0",
            _plain(_MINUTES, minutes),
            _plain(_HOURS, hours),
            "L" if days == "L" else _plain(_DAYS, days),
            _plain(_MONTHS_OF_YEAR, months),
            _plain(_CRON_WEEKDAYS, weekdays),
        )
    except _Unsayable as exc:
        raise InvalidParameterValue(f"penstock_cron_expression: {exc}") from None
    return Times(" ".join(fields), is_by_the_clock=not hours.startswith("*"))


class _Unsayable(Exception):
    """A part of an expression that is none, or that cannot be said here."""


def _quartz_days(text: str) -> str:
    if text in {"L", "LW"}:
        return text
    for item in text.split(","):
        if item.endswith(("W", "C")) or item.startswith("L-") or item == "L":
            raise _Unsayable(
                f"day of month: '{item}' cannot be said here; wanted numbers, ranges, steps, or 'L' or 'LW' alone."
            )
    return _plain(_DAYS, text)


def _quartz_weekdays(text: str) -> str:
    if "C" in text:
        raise _Unsayable(f"day of week: '{text[:100]}' refers to a calendar, which cannot be said here.")
    if text == "L":
        return str(_weekday("SAT"))
    items = []
    for item in text.split(","):
        if (nth := _NTH.fullmatch(item)) is not None:
            items.append(f"{_weekday(nth[1])}#{nth[2]}")
        elif (last := _LAST_OF.fullmatch(item)) is not None:
            items.append(f"{_weekday(last[1])}L")
        elif item == "*":
            return "*"
        else:
            items += [str(number - 1) for number in sorted(_numbers(_QUARTZ_WEEKDAYS, item))]
    return ",".join(dict.fromkeys(items))


def _weekday(text: str) -> int:
    """From Sunday as 0."""
    try:
        return _QUARTZ_WEEKDAYS.number(text) - 1
    except ValueError:
        raise _Unsayable(_wanted(_QUARTZ_WEEKDAYS, text)) from None


def _plain(field: _Field, text: str) -> str:
    """One field as cron writes it. A star in front is kept: cron goes by it where both kinds of days are named."""
    numbers = sorted(_numbers(field, text))
    return text if text.startswith("*") and "," not in text else ",".join(map(str, numbers))


def _numbers(field: _Field, text: str) -> set[int]:
    """All values that items stand for: numbers, names, ranges that may wrap around, steps."""
    found: set[int] = set()
    for item in text.split(","):
        span, slash, step_text = item.partition("/")
        try:
            step = _step(step_text) if slash else 1
            values = _span(field, span, is_open=bool(slash))
        except ValueError:
            raise _Unsayable(_wanted(field, item)) from None
        found.update(values[::step])
    return found


def _step(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ValueError(text)
    return int(text)


def _span(field: _Field, text: str, *, is_open: bool) -> list[int]:
    if text == "*" or (text == "" and is_open):
        return list(range(field.low, field.high + 1))
    first, dash, last = text.partition("-")
    low = field.number(first)
    if not dash:
        return list(range(low, field.high + 1)) if is_open else [low]
    high = field.number(last)
    if low <= high:
        return list(range(low, high + 1))
    if field is _YEARS:
        raise ValueError(text)
    return [*range(low, field.high + 1), *range(field.low, high + 1)]


def _wanted(field: _Field, item: str) -> str:
    names = f" or {field.names[0]} to {field.names[-1]}" if field.names else ""
    return (
        f"{field.name}: got '{item[:100]}'; wanted numbers from {field.low} to {field.high}{names}, ranges and steps."
    )
