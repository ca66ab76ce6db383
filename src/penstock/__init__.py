"""Penstock: the open serving layer for MLflow."""

__version__ = "0.1.0"
