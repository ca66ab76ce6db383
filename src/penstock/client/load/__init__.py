"""A load generator: one request again and again over connections that are kept, and what came of it."""
