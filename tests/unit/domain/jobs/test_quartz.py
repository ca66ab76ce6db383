"""Quartz and cron expressions: what they say, and what is refused by name."""

import pytest

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.jobs.quartz import Times, parse_cron, parse_quartz


@pytest.mark.parametrize(
    ("expression", "fields"),
    [
        ("0 0 12 * * ?", "0 0 12 * * *"),
        ("0 15 10 ? * *", "0 15 10 * * *"),
        ("0 0/5 14,18 * * ?", "0 0,5,10,15,20,25,30,35,40,45,50,55 14,18 * * *"),
        ("0 10,44 14 ? 3 WED", "0 10,44 14 * 3 3"),
        ("0 15 10 ? * MON-FRI", "0 15 10 * * 1,2,3,4,5"),
        ("0 15 10 ? * 2-6", "0 15 10 * * 1,2,3,4,5"),
        ("0 15 10 L * ?", "0 15 10 L * *"),
        ("0 15 10 LW * ?", "0 15 10 LW * *"),
        ("0 15 10 ? * 6L", "0 15 10 * * 5L"),
        ("0 15 10 ? * FRIL", "0 15 10 * * 5L"),
        ("0 15 10 ? * 6#3", "0 15 10 * * 5#3"),
        ("0 15 10 ? * SAT#1,SUN", "0 15 10 * * 6#1,0"),
        ("0 15 10 ? * L", "0 15 10 * * 6"),
        ("0 0 22-2 ? NOV-FEB FRI-MON", "0 0 0,1,2,22,23 * 1,2,11,12 0,1,5,6"),
        ("*/20 * * * * ?", "*/20 * * * * *"),
        ("0 0 0 ? * 1/2", "0 0 0 * * 0,2,4,6"),
        ("0 0 0 1/10 jan ?", "0 0 0 1,11,21,31 1 *"),
    ],
)
def test_p6_5_a_quartz_expression_is_said_as_sets(expression: str, fields: str) -> None:
    assert parse_quartz(expression).fields == fields


def test_p6_5_years_are_kept_beside() -> None:
    assert parse_quartz("0 0 12 1 1 ? 2030-2032,2040/30").years == frozenset({2030, 2031, 2032, 2040, 2070})
    assert parse_quartz("0 0 12 1 1 ? *").years is None


def test_p6_5_whether_the_clock_on_the_wall_counts() -> None:
    assert parse_quartz("0 0 2 * * ?").is_by_the_clock
    assert not parse_quartz("0 0 * * * ?").is_by_the_clock
    assert not parse_quartz("0 0 */6 * * ?").is_by_the_clock


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("0 0 12 * *", "5 field(s)"),
        ("", "0 field(s)"),
        ("0 0 12 * * ? * *", "8 field(s)"),
        ("0 0 12 * * *", "'?'"),
        ("0 0 12 ? * ?", "'?'"),
        ("60 0 12 * * ?", "seconds: got '60'"),
        ("0 0 24 * * ?", "hours: got '24'"),
        ("0 0 12 0 * ?", "day of month: got '0'"),
        ("0 0 12 32 * ?", "day of month: got '32'"),
        ("0 0 12 15W * ?", "'15W' cannot be said"),
        ("0 0 12 L-3 * ?", "'L-3' cannot be said"),
        ("0 0 12 L,5 * ?", "'L' cannot be said"),
        ("0 0 12 ? * 0", "day of week: got '0'"),
        ("0 0 12 ? * 8", "day of week: got '8'"),
        ("0 0 12 ? * 6#6", "day of week: got '6#6'"),
        ("0 0 12 ? * XL", "day of week: got 'X'"),
        ("0 0 12 ? * 2C", "calendar"),
        ("0 0 12 ? FOO MON", "month: got 'FOO'"),
        ("0 0/0 12 ? * MON", "minutes: got '0/0'"),
        ("0 0 12 1 1 ? 1969", "year: got '1969'"),
        ("0 0 12 1 1 ? 2030-2020", "year: got '2030-2020'"),
        ("0 ² 12 1 1 ?", "minutes: got '²'"),
        ("0 1-2-3 12 1 1 ?", "minutes: got '1-2-3'"),
    ],
)
def test_p6_5_what_cannot_be_said_is_refused_by_name(expression: str, told: str) -> None:
    with pytest.raises(InvalidParameterValue) as refusal:
        parse_quartz(expression)
    assert "quartz_cron_expression" in str(refusal.value)
    assert told in str(refusal.value)


def test_p6_5_plain_cron() -> None:
    assert parse_cron("*/15 6 * * 1-5") == Times("0 */15 6 * * 1,2,3,4,5")
    assert parse_cron("0 0 l * sun") == Times("0 0 0 L * 0")
    for wrong in ("0 6 * *", "0 0 6 * * ?", "0 25 * * *", "0 6 ? * *"):
        with pytest.raises(InvalidParameterValue, match="penstock_cron_expression"):
            parse_cron(wrong)
