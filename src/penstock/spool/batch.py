"""A turn's records, encoded, and how much of them a write that failed has left on disk."""

from collections.abc import Collection, Iterator, Sequence

from penstock.spool.record import Kind, head_of

Request = tuple[int, bytes]
"""A context's number and a request's id."""


def whole_records(pieces: Sequence[bytes], written: int) -> int:
    """How many records, beside contexts, are whole in the first so many bytes of prefixes and payloads."""
    count = end = 0
    for prefix, payload in _pairs(pieces):
        end += len(prefix) + len(payload)
        if end > written:
            break
        count += payload[0] != Kind.CONTEXT
    return count


def lost(pieces: Sequence[bytes], whole: int, required: Collection[int]) -> list[Request]:
    """For each record behind the first `whole` ones that was not required, whose it is."""
    heads = (head_of(payload) for _, payload in _pairs(pieces) if payload[0] != Kind.CONTEXT)
    return [request for index, request in enumerate(heads) if index >= whole and index not in required]


def _pairs(pieces: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(pieces[::2], pieces[1::2], strict=True)
