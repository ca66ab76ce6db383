"""One replica: frames in, predictions out."""
