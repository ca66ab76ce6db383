"""R20: queries that are answered together: no answer is swapped, and a poisoned row fails alone."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import aiohttp
import mlflow
import pandas as pd
import pytest
from mlflow.models import infer_signature

from support.fault_report import FaultReport
from support.stack import MANAGEMENT, QUERY, SUPPORT, Stack, registry_of

MODEL = "tagged"
CLIENTS = 64
POISON_SHARE = 0.01
MAX_ROWS = 3


@pytest.fixture(scope="module")
def tagged(arena: Stack) -> str:
    """The model's name in the registry."""
    with registry_of(arena), mlflow.start_run():
        data = pd.DataFrame({"tag": [1], "is_poison": [False]})
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(SUPPORT / "tagged_model.py"),
            signature=infer_signature(data),
            registered_model_name=MODEL,
            pip_requirements=["mlflow"],
        )
    return MODEL


def _entity(limit: int) -> dict[str, Any]:
    variables = {"PENSTOCK_BATCH_LIMIT": str(limit)}
    return {"name": "tagged", "entity_name": MODEL, "entity_version": "1", "environment_vars": variables}


def test_r20_answers_of_a_batch_are_not_swapped_and_poison_fails_alone(
    arena: Stack, tagged: str, serve: Callable[..., str], fault: FaultReport
) -> None:
    """Tagged rows, one to three a request, from many clients at once; batches of random sizes."""
    chance = random.Random(20)
    limits = [1, 64, *(chance.randint(2, 1024) for _ in range(fault.length(1, 18)))]
    requests = fault.length(3000, 100_000) // len(limits)
    endpoint = serve("tagged", _entity(limits[0]))
    seen: Counter[str] = Counter()
    largest = 0
    for number, limit in enumerate(limits):
        if number:
            update = {"served_entities": [_entity(limit)]}
            assert arena.call("PUT", f"{MANAGEMENT}/{endpoint}/config", update).status_code == 200
            arena.wait_ready(endpoint)
        counts, rows = asyncio.run(_ask(arena, endpoint, requests, chance))
        seen += counts
        largest = max(largest, rows)
        assert rows <= limit * MAX_ROWS
        assert limit > 1 or rows <= MAX_ROWS
    fault.count(seen.total())
    fault.note(poison=seen["poison failed"], batch_limits=len(limits), largest_batch_rows=largest)
    assert set(seen) == {"right", "poison failed"}, seen
    assert largest > MAX_ROWS, "requests were answered together"


async def _ask(stack: Stack, endpoint: str, requests: int, chance: random.Random) -> tuple[Counter[str], int]:
    """What came of so many requests, and the most rows that the model was asked at once."""
    tags = itertools.count(1)
    left = iter(range(requests))
    seen: Counter[str] = Counter()
    largest = 0
    url = f"{stack.url}{QUERY}/{endpoint}/invocations"

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal largest
        for _ in left:
            mine = [next(tags) for _ in range(chance.randint(1, MAX_ROWS))]
            is_poison = chance.random() < POISON_SHARE
            poisoned = chance.randrange(len(mine)) if is_poison else None
            records = [{"tag": tag, "is_poison": at == poisoned} for at, tag in enumerate(mine)]
            async with session.post(url, json={"dataframe_records": records}) as response:
                answer = await response.json()
            if is_poison:
                seen["poison failed" if response.status == 400 else "poison answered"] += 1
                continue
            if response.status != 200:
                seen[f"failed: {response.status} {answer}"] += 1
                continue
            predictions = answer["predictions"]
            largest = max(largest, *(one["rows"] for one in predictions))
            seen["right" if [one["tag"] for one in predictions] == [2 * tag for tag in mine] else "swapped"] += 1

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=stack.headers, connector=connector) as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
    return seen, largest
