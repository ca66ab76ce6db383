"""Jobs: what they are to do, when, and what becomes of a run; plain data and pure decisions."""
