"""Dynamic values in what tasks are given."""

import pytest

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.jobs.references import Context, check_references, resolved

CONTEXT = Context(
    job_id=7,
    job_name="nightly",
    run_id=21,
    trigger="PERIODIC",
    started_at_ms=1_767_323_045_000,  # 2026-01-02T03:04:05Z
    due_at_ms=1_767_322_800_000,
    task_key="b",
    task_run_id=23,
    execution_count=1,
    parameters={"day": "friday", "odd-name": "{{job.id}}"},
    tasks={"a": {"result_state": "success", "run_id": "22", "execution_count": "1"}},
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{job.parameters.day}}!", "friday!"),
        ("{{ job.parameters.`odd-name` }}", "{{job.id}}"),
        ("{{job.id}}-{{job.run_id}}-{{task.run_id}}-{{task.name}}", "7-21-23-b"),
        ("{{job.start_time.iso_date}} {{job.start_time.hour}} {{job.trigger.time.minute}}", "2026-01-02 3 0"),
        ("{{job.start_time.is_weekday}} {{job.trigger.type}}", "true periodic"),
        ("{{tasks.a.result_state}} {{tasks.`a`.run_id}}", "success 22"),
        ("{{start_date}} {{job_id}} {{parent_run_id}} {{task_retry_count}}", "2026-01-02 7 21 1"),
        ("{{my.value}} {{job.id} {x}", "{{my.value}} {{job.id} {x}"),
    ],
)
def test_p6_5_references_are_replaced_once(text: str, expected: str) -> None:
    assert resolved(text, CONTEXT) == expected


@pytest.mark.parametrize(
    "reference",
    [
        "job.naem",
        "job.parameters.nope",
        "tasks.nope.result_state",
        "tasks.a.values.x",
        "task.colour",
        "job.start_time.x",
    ],
)
def test_p6_5_references_that_stand_for_nothing_are_refused_by_name(reference: str) -> None:
    with pytest.raises(InvalidParameterValue) as refusal:
        check_references("tasks[0]", [f"x {{{{{reference}}}}}"], {"day"}, {"a"})
    assert reference in str(refusal.value)
    assert "tasks[0]" in str(refusal.value)


def test_p6_5_references_that_stand_for_something_or_are_text() -> None:
    check_references("t", ["{{job.parameters.day}} {{tasks.a.run_id}} {{secrets/a/b}} {{x}}"], {"day"}, {"a"})
