"""How many queries a replica's model is asked at a time, and when their rows may be joined."""

from dataclasses import dataclass

from penstock.domain.predict_tier import PredictTier

BATCH_LIMIT = 64
"""Queries, unless the served entity says otherwise."""
MAX_BATCH_LIMIT = 1024
MAX_BATCH_ROWS = 4096
"""A batch is not joined with rows beyond this; a query with more rows is asked alone."""
BATCH_TOLERANCE = 1e-9
"""Of float64 answers, relative; what rounding in another order may cost, and nothing that anybody would notice."""


@dataclass(frozen=True, slots=True)
class Batching:
    """What a replica does with queries that wait."""

    limit: int = 1
    """So many are taken at a time."""
    is_joined: bool = False
    """Whether the model is asked all their rows at once, or one query after the other."""


ONE_BY_ONE = Batching()


def batching_of(
    tier: PredictTier, *, is_native: bool, deviation: float, asked: int | None, tolerance: float = BATCH_TOLERANCE
) -> Batching:
    """The batching of a model.

    Args:
        tier: how it is asked.
        is_native: whether no code of its author runs; such code may look at all rows of a frame at once.
        deviation: by how much answers to rows in company differed from answers to the same rows alone, relative.
        asked: `PENSTOCK_BATCH_LIMIT` of the served entity. For code of its author it says that rows may be joined.
        tolerance: how much deviation is taken.
    """
    limit = BATCH_LIMIT if asked is None else asked
    may_join = deviation <= tolerance if is_native else asked is not None
    if limit == 1 or tier is PredictTier.MLFLOW:
        return ONE_BY_ONE
    if may_join:
        return Batching(limit, is_joined=True)
    # A kernel takes microseconds: what waits is answered one by one, and leaves together.
    return Batching(limit) if tier is PredictTier.KERNEL else ONE_BY_ONE
