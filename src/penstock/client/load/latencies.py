"""Latencies counted in buckets less than 1 % wide: as many as one likes take 35 kB, and counts of processes add up."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

_MANTISSA_BITS = 7
_HALF = 1 << _MANTISSA_BITS
_LONGEST_NS = (1 << 40) - 1
"""18 minutes; what takes longer counts as this."""
_BUCKETS = (40 - _MANTISSA_BITS + 1) << _MANTISSA_BITS


class Bar(NamedTuple):
    """One bar of a histogram; it holds what is above `above_ns` and at most `up_to_ns`."""

    above_ns: float
    up_to_ns: float
    answers: int


class Latencies(msgspec.Struct):
    """A histogram whose buckets grow with what they hold: a leading bit and seven more tell a value's bucket."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * _BUCKETS)
    total: int = 0
    sum_ns: int = 0
    least_ns: int = _LONGEST_NS
    most_ns: int = 0

    def add(self, ns: int) -> None:
        """Count one."""
        ns = min(ns, _LONGEST_NS)
        shift = ns.bit_length() - _MANTISSA_BITS - 1
        self.counts[ns if shift <= 0 else (shift << _MANTISSA_BITS) + (ns >> shift)] += 1
        self.total += 1
        self.sum_ns += ns
        self.least_ns = min(self.least_ns, ns)
        self.most_ns = max(self.most_ns, ns)

    def merge(self, other: "Latencies") -> None:
        """Count what another has counted."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.total += other.total
        self.sum_ns += other.sum_ns
        self.least_ns = min(self.least_ns, other.least_ns)
        self.most_ns = max(self.most_ns, other.most_ns)

    def quantile_ns(self, share: float) -> float:
        """The latency that this share of all did not exceed, to half a percent; nan if there is none."""
        if not self.total:
            return math.nan
        rank = max(1, math.ceil(share * self.total))
        passed = 0
        for low, high, count in self._filled():
            passed += count
            if passed >= rank:
                return min(max((low + high) / 2, self.least_ns), self.most_ns)
        return self.most_ns

    def mean_ns(self) -> float:
        """The mean; nan if there is none."""
        return self.sum_ns / self.total if self.total else math.nan

    def bars(self, count: int) -> list[Bar]:
        """At most `count` bars from the least to the most, each higher end the same number of times its lower one."""
        if not self.total:
            return []
        low, high = max(self.least_ns, 1), max(self.most_ns, 1)
        step = (high / low) ** (1 / count)
        if step == 1:
            return [Bar(low, high, self.total)]
        found = [0] * count
        for from_ns, to_ns, filled in self._filled():
            middle = min(max((from_ns + to_ns) / 2, low), high)
            found[min(int(math.log(middle / low, step)), count - 1)] += filled
        return [Bar(low * step**at, low * step ** (at + 1), number) for at, number in enumerate(found)]

    def _filled(self) -> Iterator[tuple[int, int, int]]:
        """Each bucket that holds something: its least value, its most and how many, in their order."""
        for index, count in enumerate(self.counts):
            if count:
                shift = max((index >> _MANTISSA_BITS) - 1, 0)
                mantissa = index - (shift << _MANTISSA_BITS)
                yield mantissa << shift, ((mantissa + 1) << shift) - 1, count
