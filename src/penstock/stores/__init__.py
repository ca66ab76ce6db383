"""State at rest: endpoints, principals and tokens in SQL; fetched models on disk."""
