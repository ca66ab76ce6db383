"""How directly a replica asks its model."""

from enum import StrEnum


class PredictTier(StrEnum):
    """From the longest way to the shortest; each is as good as the one before it."""

    MLFLOW = "mlflow"
    """MLflow's own code reads the body and calls the model."""
    FRAME = "frame"
    """The body is read by a compiled reader; the model gets the same DataFrame or tensors that MLflow would make."""
    ARRAY = "array"
    """The estimator gets an array, because it does not look at names of columns."""
    KERNEL = "kernel"
    """Only the estimator's arithmetic is done, in the same order."""

    @property
    def rank(self) -> int:
        """0 for the longest way."""
        return list(PredictTier).index(self)
