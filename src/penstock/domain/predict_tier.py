"""How directly a replica reaches its model's arithmetic, and what was found out about it."""

from dataclasses import dataclass
from enum import StrEnum


class PredictTier(StrEnum):
    """From MLflow's whole way to the bare arithmetic; each is quicker than the one before."""

    MLFLOW = "mlflow"
    """MLflow's own scoring code, from the body to the answer."""
    FRAME = "frame"
    """The compiled input makes what the flavor gets; MLflow's enforcement of the schema is left out."""
    ARRAY = "array"
    """A NumPy matrix in place of the DataFrame, for estimators that read no column names."""
    KERNEL = "kernel"
    """The estimator's own operations in its own order, without what surrounds them."""

    @property
    def rank(self) -> int:
        """0 for the slowest."""
        return tuple(PredictTier).index(self)


@dataclass(frozen=True, slots=True)
class TierFinding:
    """What the check of a model found out about its tier; later replicas of the deployment go by it."""

    tier: PredictTier
    reason: str
    """One sentence: what speaks for this tier, or why it is not the next one."""
    is_row_independent: bool = False
    """Whether each request's answer is the same, bit for bit, if it is computed together with others' (on probes)."""
    tolerance: float = 0.0
    """How far an answer may be from MLflow's, relative to values over 1: 0 but for a model converted on request."""
    max_deviation: float | None = None
    """The largest difference seen between the two, relative to values over 1; None if there was none to be seen."""
    is_in_one_call: bool = False
    """Whether requests of several rows may be put together, too."""
    versions: str = ""
    """Of the libraries with which this was found out."""


def shortfall(finding: TierFinding, wanted: PredictTier | None) -> str:
    """What to say where a served entity asks for a tier that its model cannot have; empty if it has it."""
    if wanted is None or finding.tier.rank >= wanted.rank:
        return ""
    return f"PENSTOCK_PREDICT_TIER asks for {wanted}, and it is served by {finding.tier}: {finding.reason}"
