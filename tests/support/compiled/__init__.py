"""What shows that a compiled input is MLflow's own: the oracle, the comparison, and cases for both."""
