"""Batch scoring: a model over all rows of a source, into a table, in chunks that are each there once."""
