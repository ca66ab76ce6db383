"""Clients of our own parts and of MLflow's REST API."""
