"""What the suites that need a running stack share."""
