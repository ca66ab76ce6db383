"""Ids of requests: UUIDs of version 4, from randomness that is fetched for many at a time."""

import os
from collections.abc import Iterator

_COUNTS = [f"{count:02x}" for count in range(256)]


def request_ids() -> Iterator[str]:
    """One id after the other, without end.

    256 in a row begin alike, with 60 random bits; after it each has 40 of its own and its number, so that no two are
    the same. The bits that tell version and variant are where they belong.
    """
    while True:
        start = os.urandom(8).hex()
        start = f"{start[:8]}-{start[8:12]}-4{start[12:15]}-a{os.urandom(2).hex()[:3]}-"
        digits = os.urandom(5 * len(_COUNTS)).hex()
        for at, count in enumerate(_COUNTS):
            yield start + digits[10 * at : 10 * at + 10] + count
