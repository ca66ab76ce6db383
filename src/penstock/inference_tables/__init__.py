"""Inference tables: records of the spool become rows of Delta tables, each exactly once."""
