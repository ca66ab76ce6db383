"""Penstock: the open serving layer for MLflow."""

from importlib.metadata import version

__version__ = version("penstock")
