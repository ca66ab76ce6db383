"""The short way of a replica's model: the tier that suits it, what is joined, and what is said if the tier falls."""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from penstock.domain.batching import batching_of
from penstock.domain.model_check import ModelCheck
from penstock.domain.predict_tier import PredictTier, TierFinding, shortfall
from penstock.domain.prediction import ExecutorKind
from penstock.flavors.compiled.compiling import compile_input
from penstock.flavors.fast_path import FastPath
from penstock.flavors.pyfunc import Predictor
from penstock.flavors.tiers.selection import select
from penstock.flavors.tiers.ways import Predict
from penstock.processes.check_plan import Plan

Report = Callable[[ModelCheck], None]
"""Told what is known of the model from now on."""

_log = logging.getLogger(__name__)


def choose_tier(
    plan: Plan, predictor: Predictor, check: ModelCheck, examples: Sequence[bytes], report: Report
) -> tuple[FastPath | None, ModelCheck]:
    """Find the shortest way to a model, and add to its check what it is.

    Args:
        plan: what its served entity asks for.
        predictor: the model, loaded.
        check: what is known of it.
        examples: bodies that it is known to take.
        report: told if the tier falls while the model serves.

    Returns:
        The way, None if MLflow's own is the only one; and the check.
    """
    if plan.executor is ExecutorKind.THREADS:
        finding = TierFinding(PredictTier.MLFLOW, "It works on several requests at a time, each on MLflow's own way.")
        return None, replace(check, tier=finding)
    reader = compile_input(predictor.metadata)
    earlier = None if plan.earlier is None else plan.earlier.tier
    wishes = plan.wishes
    chosen = select(predictor.model, reader, examples, wishes.tier, earlier, may_convert=wishes.may_convert)
    batching = batching_of(chosen.finding, wishes, is_native=plan.traits.is_native)
    check = replace(check, tier=chosen.finding, batch_limit=batching.limit)
    lacking = shortfall(chosen.finding, wishes.tier)
    if lacking:
        check = replace(check, problems=(*check.problems, lacking))
    predict, slow = chosen.predict, chosen.slow
    if reader is None or predict is None or slow is None:
        return None, check

    def demote(reason: str) -> Predict:
        _log.error("the tier is lowered from %s to frame: %s", chosen.tier, reason)
        lower = select(predictor.model, reader, (), PredictTier.FRAME)
        report(replace(check, tier=replace(lower.finding, reason=f"Lowered from {chosen.tier}: {reason}.")))
        return lower.predict or slow

    fast = FastPath(
        predictor,
        reader,
        predict,
        chosen.tier,
        batching,
        draw=random.randrange,
        demote=demote,
        tolerance=max(chosen.finding.tolerance, wishes.tolerance if batching.is_joined else 0.0),
    )
    return fast, check
