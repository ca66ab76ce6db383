"""The figures that were set as goals before anything was built, worked out of the medians of a run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from comparing.measuring import Round


class Cell(NamedTuple):
    """What was measured together: the servers' rounds are interleaved."""

    model: str
    rows: int
    concurrency: int


Medians = Mapping[tuple[Cell, str], Round]


@dataclass(frozen=True, slots=True)
class Figure:
    """A goal, and what came of it."""

    what: str
    gate: float
    aim: float | None
    reached: float | None
    """None if the run did not measure it."""
    is_upper_bound: bool = False

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.reached is None:
            return "not measured"
        if _meets(self.reached, self.aim if self.aim is not None else self.gate, self.is_upper_bound):
            return "aim" if self.aim is not None else "gate"
        return "gate" if _meets(self.reached, self.gate, self.is_upper_bound) else "missed"


def figures(medians: Medians, ours: str, own_predict_us: float) -> list[Figure]:
    """All of them; where several peers are named, the one that did best counts.

    Args:
        medians: of every cell and server.
        ours: which of our own servers counts.
        own_predict_us: what `predict` of the model takes that does nothing.
    """

    def times(cell: Cell, peers: Sequence[str], of: Callable[[Round], float], *, is_more_better: bool) -> float | None:
        mine = medians.get((cell, ours))
        theirs = [of(medians[cell, peer]) for peer in peers if (cell, peer) in medians]
        if mine is None or not theirs:
            return None
        return of(mine) / max(theirs) if is_more_better else min(theirs) / of(mine)

    def p50(model: str, *peers: str) -> float | None:
        return times(Cell(model, 1, 1), peers, lambda one: one.p50_ms, is_more_better=False)

    def rate(model: str, *peers: str) -> float | None:
        return times(Cell(model, 1, 64), peers, lambda one: one.requests_per_s, is_more_better=True)

    def cpu(model: str, concurrency: int, spare_us: float, *peers: str) -> float | None:
        return times(
            Cell(model, 1, concurrency), peers, lambda one: max(one.cpu_us - spare_us, 0.01), is_more_better=False
        )

    lr_64 = medians.get((Cell("lr", 1, 64), ours))
    return [
        Figure("LR against mlflow: p50 at c=1, times lower", 20, 40, p50("lr", "mlflow")),
        Figure("LR against mlflow: requests/s at c=64, times more", 150, 300, rate("lr", "mlflow")),
        Figure("forest against mlflow: p50 at c=1, times lower", 30, None, p50("forest", "mlflow")),
        Figure("forest against mlflow: requests/s at c=64, times more", 150, 300, rate("forest", "mlflow")),
        Figure("pipeline against mlflow: CPU at c=1, times lower", 4, None, cpu("pipeline", 1, 0, "mlflow")),
        Figure("pipeline against mlflow: CPU at c=64, times lower", 4, None, cpu("pipeline", 64, 0, "mlflow")),
        Figure("pipeline against mlflow: requests/s at c=64, times more", 50, 80, rate("pipeline", "mlflow")),
        Figure("noop against mlflow: CPU at c=1, times lower", 2, None, cpu("noop", 1, own_predict_us, "mlflow")),
        Figure("noop against mlflow: CPU at c=64, times lower", 2, None, cpu("noop", 64, own_predict_us, "mlflow")),
        Figure("LR against mosec, natural: requests/s at c=64", 8, None, rate("lr", "mosec", "mosec-batch")),
        Figure("LR against mosec, natural: p50 at c=1, times lower", 8, None, p50("lr", "mosec", "mosec-batch")),
        Figure("LR against mosec at its best, no batching: requests/s at c=64", 4, None, rate("lr", "mosec-best")),
        Figure("LR against mosec at its best, batching: requests/s at c=64", 1.5, None, rate("lr", "mosec-best-batch")),
        Figure(
            "LR against mosec at its best: p50 at c=1, times lower",
            1,
            None,
            p50("lr", "mosec-best", "mosec-best-batch"),
        ),
        Figure("LR: CPU at c=64, us", 25, 20, None if lr_64 is None else lr_64.cpu_us, is_upper_bound=True),
    ]


def _meets(value: float, goal: float, is_upper_bound: bool) -> bool:
    return value <= goal if is_upper_bound else value >= goal
