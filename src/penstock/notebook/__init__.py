"""Notebooks in Databricks' source format, run from top to bottom in a process of their own."""
