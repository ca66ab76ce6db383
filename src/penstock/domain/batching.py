"""How many queries a replica's model is asked at a time, and when their rows may be joined."""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.domain.predict_tier import PredictTier, TierFinding

BATCH_LIMIT = 64
"""Queries, unless the served entity says otherwise."""
MAX_BATCH_LIMIT = 1024
MAX_BATCH_ROWS = 4096
"""A batch is not joined with rows beyond this; a query with more rows is asked alone."""
BATCH_TOLERANCE = 1e-9
"""Of float64 answers, relative; what rounding in another order may cost, and nothing that anybody would notice."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a served entity asks for of how its model is asked."""

    tier: PredictTier | None = None
    """The most direct one to use."""
    batch_limit: int | None = None
    tolerance: float = BATCH_TOLERANCE
    """How much answers to rows in company may differ."""
    may_convert: bool = False
    """Whether a model without a kernel may be converted to ONNX."""


def wishes_of(environment: Mapping[str, str]) -> Wishes:
    """What these `environment_vars` say, which are checked already."""
    tier, limit = environment.get("PENSTOCK_PREDICT_TIER"), environment.get("PENSTOCK_BATCH_LIMIT")
    return Wishes(
        None if tier is None else PredictTier(tier),
        None if limit is None else int(limit),
        float(environment.get("PENSTOCK_BATCH_TOLERANCE", BATCH_TOLERANCE)),
        environment.get("PENSTOCK_ONNX_CONVERSION") == "on",
    )


@dataclass(frozen=True, slots=True)
class Batching:
    """What a replica does with queries that wait."""

    limit: int = 1
    """So many are taken at a time."""
    is_joined: bool = False
    """Whether the model is asked all their rows at once, or one query after the other."""


ONE_BY_ONE = Batching()


def batching_of(finding: TierFinding, wishes: Wishes, *, is_native: bool) -> Batching:
    """The batching of a model.

    Args:
        finding: how it is asked, and by how much answers to rows in company differed from those to the same alone.
        wishes: of its served entity. A limit above 1 says of an author's own code that rows may be joined.
        is_native: whether no code of its author runs; such code may look at all rows of a frame at once.
    """
    limit = BATCH_LIMIT if wishes.batch_limit is None else wishes.batch_limit
    if limit == 1 or finding.tier is PredictTier.MLFLOW:
        return ONE_BY_ONE
    if is_native:
        may_join = finding.max_deviation is not None and finding.max_deviation <= wishes.tolerance
    else:
        may_join = wishes.batch_limit is not None
    if may_join:
        return Batching(limit, is_joined=True)
    # A kernel takes microseconds: what waits is answered one by one, and leaves together.
    return Batching(limit) if finding.tier is PredictTier.KERNEL else ONE_BY_ONE
