"""Use cases and loops of the control plane."""
