"""How many calls of a served entity are waiting or at work, on average since it was last asked.

An average, not a look once a second: a single short call between two looks is demand as well.
"""


class Demand:
    """The integral of a number of calls over time."""

    __slots__ = ("_area", "_at_s", "_calls", "_since_s")

    def __init__(self, now_s: float) -> None:
        self._calls = 0
        self._area = 0.0
        self._at_s = self._since_s = now_s

    def observe(self, calls: int, now_s: float) -> None:
        """There are this many calls from now on."""
        self._area += self._calls * (now_s - self._at_s)
        self._calls, self._at_s = calls, now_s

    def take(self, now_s: float) -> float:
        """The average since the last time; begins anew. Never 0 if there was a call, however short."""
        self.observe(self._calls, now_s)
        elapsed_s = now_s - self._since_s
        average = self._area / elapsed_s if elapsed_s > 0 else float(self._calls)
        self._area, self._since_s = 0.0, now_s
        return average
