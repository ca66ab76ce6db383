"""The steps of a scikit-learn pipeline."""

from typing import Any

from penstock.flavors.kernels.library import is_one_of

PIPELINE = {"sklearn.pipeline": ("Pipeline",)}


def steps_of(estimator: Any) -> tuple[tuple[Any, ...], Any]:
    """The transformers before the last estimator, and that; steps that pass everything on are left out."""
    if not is_one_of(estimator, PIPELINE):
        return (), estimator
    steps = [step for _, step in estimator.steps if not is_passed(step)]
    return tuple(steps[:-1]), steps[-1] if steps else None


def is_passed(step: Any) -> bool:
    """Whether a step does nothing."""
    return step is None or (isinstance(step, str) and step == "passthrough")
