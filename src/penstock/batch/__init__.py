"""Batch scoring: a model over all rows of a source, into a table, in chunks that are each there once."""

from penstock.batch.public import score

__all__ = ["score"]
