"""Plain data and pure decisions; the standard library only."""
