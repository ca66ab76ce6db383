"""However a source comes in pieces, its chunks have all rows once, in order, and know where each came from."""

from itertools import accumulate, pairwise

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from penstock.batch.pieces import BadRow, Chunk, Piece, chunks

SCHEMA = pa.schema([("n", pa.int64())])
PIECES = st.lists(st.tuples(st.integers(0, 7), st.sets(st.integers(0, 6))), max_size=8)


def made(shape: list[tuple[int, set[int]]]) -> list[Piece]:
    """Pieces of one file whose rows are numbered; some of them could not be read."""
    pieces = []
    for (start, stop), (_, bad) in zip(
        pairwise(accumulate((size for size, _ in shape), initial=0)), shape, strict=True
    ):
        lost = {at for at in bad if at < stop - start}
        rows = [number for number in range(start, stop) if number - start not in lost]
        unread = tuple(BadRow(at, str(start + at), "no row") for at in sorted(lost))
        pieces.append(Piece("f", start, stop - start, pa.table({"n": rows}, SCHEMA), unread))
    return pieces


def numbers(chunk: Chunk) -> list[int]:
    read: list[int] = chunk.table.column("n").to_pylist()
    return sorted([*read, *(piece.first + bad.at for piece in chunk.pieces for bad in piece.bad)])


@given(PIECES, st.integers(1, 9))
def test_chunks_have_all_rows_once(shape: list[tuple[int, set[int]]], size: int) -> None:
    total = sum(count for count, _ in shape)
    found = list(chunks(iter(made(shape)), SCHEMA, size, 5, 100))
    assert [number for chunk in found for number in numbers(chunk)] == list(range(total))
    assert [chunk.records for chunk in found] == [size] * (total // size) + [total % size] * (total % size > 0)
    assert [(chunk.number, chunk.start) for chunk in found] == [(5 + at, 100 + at * size) for at in range(len(found))]
    for chunk in found:
        for at, number in enumerate(chunk.table.column("n").to_pylist()):
            assert chunk.origin(at) == ("f", number)
        for piece in chunk.pieces:
            assert [bad.text for bad in piece.bad] == [str(piece.first + bad.at) for bad in piece.bad]
