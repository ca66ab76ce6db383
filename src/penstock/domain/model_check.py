"""What a replica found out about its model before it said that it is ready."""

from dataclasses import dataclass
from enum import StrEnum

from penstock.domain.predict_tier import PredictTier, TierFinding
from penstock.domain.prediction import ExecutorKind


class Sample(StrEnum):
    """What came of asking a model its own input example."""

    ANSWERED = "answered"
    FAILED = "failed"
    NO_EXAMPLE = "no_example"
    """It was logged without one, or with one that no request can say."""
    SKIPPED = "skipped"
    """The served entity asks for loading only."""
    NOT_REACHED = "not_reached"
    """The model did not load."""


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """A model's preflight: where and how it was loaded, what that took, and how its own example went."""

    python_version: str
    mlflow_version: str
    executor: ExecutorKind
    load_s: float
    """Until it was loaded, or failed to load."""
    sample: Sample
    sample_ms: float | None = None
    """What the example took, first use of everything included; None if it was not asked."""
    env_manager: str = "local"
    """Whose Python it runs in: `local` is Penstock's own, `uv` one that was built for it."""
    is_forked: bool = False
    """Whether its process was forked with the libraries imported, or started afresh."""
    memory_bytes: int | None = None
    """What its process held at the end and shared with no other; None where the system does not tell."""
    peak_memory_bytes: int | None = None
    """The most of that which it held at any time."""
    tier: TierFinding = TierFinding(PredictTier.MLFLOW, "")  # noqa: RUF009 - immutable
    """How directly the model is asked, and why."""
    batch_limit: int = 1
    """Queries that are taken at a time."""
    problems: tuple[str, ...] = ()
    """What is not in order and does not keep it from being served."""

    @property
    def predict_tier(self) -> PredictTier:
        """How directly the model is asked."""
        return self.tier.tier


class Preflight(StrEnum):
    """How much of a check a served entity asks for: `PENSTOCK_PREFLIGHT`."""

    FULL = "full"
    LOAD = "load"
    """Loading only: its example costs money or does something that is not to be done for a check."""


CHEAP_SAMPLE_MS = 250.0


def is_example_asked(preflight: Preflight, *, is_talking: bool, earlier: ModelCheck | None) -> bool:
    """Whether a replica asks its model the example before it says that it is ready.

    `earlier` is what an earlier replica of the same deployment found out. Once the example was answered, it is asked
    again only where that costs next to nothing: of a model that computes, quickly. A chat model or an agent calls
    others, for money, and must come back after a crash even while these are down.
    """
    if preflight is Preflight.LOAD:
        return False
    if earlier is None or earlier.sample is not Sample.ANSWERED:
        return True
    return not is_talking and (earlier.sample_ms or 0.0) <= CHEAP_SAMPLE_MS
