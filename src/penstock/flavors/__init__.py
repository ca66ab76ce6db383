"""Logged models become predictors here."""
