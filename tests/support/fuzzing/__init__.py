"""A grammar fuzzer for every route: cases from a seed, a client that judges the answers, and the campaign of both."""
