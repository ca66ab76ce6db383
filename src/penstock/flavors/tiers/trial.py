"""The proof of a quicker way: the same probes go the slow way and that way, and every bit must agree.

What the slow way refuses, the other must refuse too, or hand back. How many probes there are depends on what the slow
way costs, so that a big forest does not make a deployment wait for a minute.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from penstock.flavors.outputs import part_of, row_count
from penstock.flavors.tiers.probes import Probes, Row
from penstock.flavors.tiers.sameness import deviation, is_same
from penstock.flavors.tiers.ways import Predict

_BUDGET_S = 0.06
"""For requests of one row that go the slow way."""
_FEWEST, _MOST = 8, 40
_SIZES = (2, 3, 17)
_SLOW_S = 0.1
"""A model that takes longer for a row is asked a short trial; one that takes longer for 17 rows, not for hundreds."""
_TOGETHER = 48


@dataclass(frozen=True, slots=True)
class Refused:
    """The slow way raised an error."""


@dataclass(slots=True)
class Trial:
    """A model's slow way, and what it gives for the probes; each is asked once, when it is first needed."""

    probes: Probes
    slow: Predict
    is_brief: bool = False
    """Whether an earlier replica has made the full trial already."""
    clock: Callable[[], float] = time.perf_counter
    _expected: list[tuple[Any, Any]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows were tried."""
        return sum(read.rows for read, _ in self._expected)

    def objection(self, predict: Predict, tolerance: float = 0.0) -> str:
        """Why a way is not as good as the slow one; empty if it is, on all probes.

        Not a bit may differ, unless a tolerance says how far apart numbers may be.
        """
        answered = {1: 0, 2: 0}
        for read, expected in self._each_expected():
            try:
                got = predict((read,))
            except Exception as exc:  # noqa: BLE001 - whatever a model's library raises
                if not isinstance(expected, Refused):
                    return f"it raised {type(exc).__name__} for a probe that the slow way answers"
                continue
            if isinstance(expected, Refused):
                return "it answered a probe that the slow way refuses"
            if not is_same(got, expected) and not deviation(got, expected) <= tolerance > 0:
                return f"it differs from the slow way by {deviation(got, expected):.3g} on {read.rows} probe rows"
            answered[min(read.rows, 2)] += 1
        if not all(answered.values()):
            return "the slow way answers no probe"
        return ""

    def _each_expected(self) -> Iterator[tuple[Any, Any]]:
        """The inputs with what the slow way gives for them."""
        if not self._expected:
            self._expected.extend(self._ask_all())
        return iter(self._expected)

    def _ask_all(self) -> Iterator[tuple[Any, Any]]:
        plain = self.probes.plain
        yield from self._ask([plain[:1]])  # the first call imports what it needs, and is not a measure
        started_s = self.clock()
        yield from self._ask([plain[1:2]])
        cost_s = max(self.clock() - started_s, 1e-6)
        is_brief = self.is_brief or cost_s > _SLOW_S
        count = 3 if is_brief else max(_FEWEST, min(_MOST, int(_BUDGET_S / cost_s)))
        yield from self._ask([[row] for row in (*self.probes.edges, *plain[2:])[:count]])
        started_s = self.clock()
        yield from self._ask([plain[:size] for size in _SIZES])
        if not is_brief:
            is_slow = self.clock() - started_s > _SLOW_S
            yield from self._ask([plain[: 2 * _TOGETHER] if is_slow else plain])

    def _ask(self, requests: Sequence[Sequence[Row]]) -> Iterator[tuple[Any, Any]]:
        for rows in requests:
            read = self.probes.input_of(rows)
            if read is None:
                continue
            try:
                expected = self.slow((read,))
            except Exception:  # noqa: BLE001 - whatever a model's library raises
                expected = Refused()
            yield read, expected


def togetherness(predict: Predict, probes: Probes, budget_s: float = _BUDGET_S) -> tuple[bool, float | None]:
    """Whether requests that are predicted together get what each gets alone, bit for bit, and how far apart they are.

    None in place of a number if it cannot be said: the rows cannot be told apart in the output, or nothing is answered.
    """
    sizes = itertools.chain([2, 3], itertools.repeat(1))
    inputs: list[Any] = []
    alone: list[Any] = []
    started_s, at = time.perf_counter(), 0
    while at + 3 <= len(probes.plain) and len(inputs) < _TOGETHER:
        spent_s = time.perf_counter() - started_s
        if spent_s > (4 * budget_s if 0 < len(inputs) < _FEWEST else budget_s):
            break
        size = next(sizes)
        read = probes.input_of(probes.plain[at : at + size])
        at += size
        if read is None or (inputs and read.shape_key != inputs[0].shape_key):
            continue
        try:
            output = predict((read,))
        except Exception:  # noqa: BLE001, S112 - a row that the model refuses is not part of this question
            continue
        if row_count(output) != size:
            return False, None
        inputs.append(read)
        alone.append(output)
    if len(inputs) < _FEWEST:
        return False, None
    # Two together, an odd number of single rows, all of them: what BLAS does depends on the number of rows.
    groups = [slice(0, 2), slice(2, 4), slice(3, 8), slice(2, None), slice(None)]
    distances = [_distance(predict, inputs[group], alone[group]) for group in groups]
    if None in distances:
        return False, None
    largest = max(distance for distance in distances if distance is not None)
    return largest == 0.0, largest


def _distance(predict: Predict, inputs: Sequence[Any], alone: Sequence[Any]) -> float | None:
    try:
        together = predict(inputs)
    except Exception:  # noqa: BLE001 - as above; each of them alone was answered
        return None
    if row_count(together) != sum(read.rows for read in inputs):
        return None
    at, largest = 0, 0.0
    for read, output in zip(inputs, alone, strict=True):
        part = part_of(together, at, at + read.rows)
        at += read.rows
        if not is_same(part, output):
            # A distance of 0 that is not the same to the bit is one all the same: the two zeros.
            largest = max(largest, deviation(part, output), 5e-324)
    return largest
