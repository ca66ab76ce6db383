"""R19 in small: the grammar of `bench/fuzz.py`, with a seed that is fixed and one that is new every time."""

import asyncio
import json
import secrets
import time
from collections.abc import Iterator

import pytest

from support.fuzzing.campaign import Campaign, lives, prepare
from support.fuzzing.cases import Grammar, Target
from support.stack import MANAGEMENT, Stack

CASES = 3000
BUDGET_S = 25.0


@pytest.fixture(scope="module")
def target(stack: Stack) -> Iterator[Target]:
    target = prepare(stack)
    yield target
    for name in (*target.endpoints, target.scratch):
        stack.call("DELETE", f"{MANAGEMENT}/{name}")


@pytest.mark.parametrize("seed", [20261122, None], ids=["fixed", "new"])
def test_r19_no_input_crashes_hangs_or_causes_a_5xx(stack: Stack, target: Target, seed: int | None) -> None:
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    print(f"seed {seed}: python bench/fuzz.py --seed {seed} --only CASE sends one case again")
    before = lives(stack)
    campaign = Campaign(stack, Grammar(target, seed))
    asyncio.run(campaign.run(0, CASES, deadline=time.monotonic() + BUDGET_S))
    outcome = campaign.outcome
    assert not outcome.faults, json.dumps([finding.document() for finding in outcome.findings], indent=2)
    assert lives(stack) == before
    assert outcome.sent > CASES // 5
    assert {"query", "management", "http", "mlflow"} <= outcome.statuses.keys()
    assert outcome.statuses["query"][200] > 0
    assert outcome.statuses["query"][400] > outcome.sent // 10
