"""JSON and frames outside, domain inside: every name that goes over a wire is written here."""
