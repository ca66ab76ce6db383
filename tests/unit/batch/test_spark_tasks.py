from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from penstock.batch.pieces import Piece
from penstock.batch.pinning import PinnedFile, PinnedSource
from penstock.batch.plan import Format
from penstock.batch.spark_tasks import tasks
from penstock.batch.spark_worker import first_rows


def text_of(rows: Sequence[int]) -> PinnedSource:
    """Files with so many rows each."""
    files = tuple(PinnedFile(f"{at}.csv", count, 0) for at, count in enumerate(rows))
    return PinnedSource(Format.CSV, "*.csv", files=files)


@given(st.lists(st.integers(0, 900), min_size=1, max_size=9), st.integers(1, 700), st.data())
def test_p6_4_tasks_cover_what_is_left_of_a_table_once(groups: list[int], least_rows: int, data: st.DataObject) -> None:
    borders = list(accumulate(groups, initial=0))
    done = data.draw(st.integers(0, borders[-1]))
    found = list(tasks(PinnedSource(Format.DELTA, "table"), borders, done, least_rows, lambda _: 0))
    assert [task.number for task in found] == list(range(len(found)))
    assert all((task.rows or 0) >= least_rows for task in found[:-1])
    assert sum(task.rows or 0 for task in found) == borders[-1] - done
    assert all(a.start + (a.rows or 0) == b.start for a, b in pairwise(found))
    assert all(task.start in borders for task in found[1:])
    assert not found or found[0].start == done


@given(st.lists(st.integers(0, 50), max_size=6), st.data())
def test_p6_4_tasks_cover_what_is_left_of_texts_once(rows: list[int], data: st.DataObject) -> None:
    done = data.draw(st.integers(0, sum(rows)))
    found = list(tasks(text_of(rows), (), done, 10, lambda file: file.size_bytes))
    left = sum(rows[task.file] - task.start for task in found if task.file is not None)
    assert left == sum(rows) - done
    assert [task.file for task in found] == sorted({task.file for task in found})
    assert all(task.start == 0 for task in found[1:])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_p6_4_the_first_rows_of_some_pieces(sizes: list[int], data: st.DataObject) -> None:
    total = sum(sizes)
    wanted = data.draw(st.integers(1, total))
    starts = np.cumsum([0, *sizes])
    pieces = (
        Piece("f", int(start), size, pa.table({"at": np.arange(start, start + size)}))
        for start, size in zip(starts, sizes, strict=False)
    )
    found = [at for piece in first_rows(pieces, wanted) for at in piece.table["at"].to_pylist()]
    assert found == list(range(wanted))
