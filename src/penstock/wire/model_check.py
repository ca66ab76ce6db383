"""A model's check as JSON: in the state of a served entity, and as `penstock models check` prints it."""

from typing import Any

from penstock.domain.model_check import ModelCheck


def encode_check(check: ModelCheck) -> dict[str, Any]:
    """The check with its units in the names."""
    return {
        "sample": check.sample.value,
        "sample_ms": check.sample_ms,
        "load_s": check.load_s,
        "memory_bytes": check.memory_bytes,
        "peak_memory_bytes": check.peak_memory_bytes,
        "executor": check.executor.value,
        "is_forked": check.is_forked,
        "environment": {
            "manager": check.env_manager,
            "python": check.python_version,
            "mlflow": check.mlflow_version,
        },
        "problems": list(check.problems),
    }


def encode_tier(check: ModelCheck) -> dict[str, Any]:
    """How directly the model is asked: in the state of a served entity, and beside the check of a model."""
    return {
        "predict_tier": check.predict_tier.value,
        "tier_reason": check.tier.reason,
        "batch_limit": check.batch_limit,
    }
