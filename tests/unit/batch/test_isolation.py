"""A model that refuses some rows: just these fail, whichever they are, and the others have their predictions."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.batch.isolation import MAX_FIRST_FAILURES, Unscorable, score_rows


class Picky:
    """Doubles a column, and refuses any table with a number that it does not like, or NaN."""

    def __init__(self, disliked: set[int]) -> None:
        self.disliked = disliked
        self.calls = 0

    def __call__(self, table: pa.Table) -> list[pa.Array]:
        self.calls += 1
        values = table.column("n").to_numpy()
        if np.isnan(values).any() or self.disliked & {int(value) for value in values}:
            raise ValueError("I do not like it")
        return [pa.array(values * 2)]


@given(st.integers(1, 60), st.sets(st.integers(0, 59)), st.sets(st.integers(0, 59)))
def test_just_the_poison_rows_fail(rows: int, disliked: set[int], gaps: set[int]) -> None:
    values = np.arange(rows, dtype=float)
    gone = sorted(at for at in gaps if at < rows)
    values[gone] = np.nan
    scored = score_rows(Picky(disliked), pa.table({"n": values}))
    failed = sorted({*gone, *(at for at in disliked if at < rows)})
    assert [failure.at for failure in scored.failures] == failed
    assert {failure.reason for failure in scored.failures} <= {"ValueError: I do not like it"}
    kept = [at for at in range(rows) if at not in failed]
    assert (scored.columns[0].to_pylist() if scored.columns else []) == [2.0 * at for at in kept]
    places = scored.kept(rows)
    assert (list(range(rows)) if places is None else places.tolist()) == kept


def test_gaps_are_set_apart_before_anything_is_halved() -> None:
    values = np.arange(4096.0)
    values[::512] = np.nan
    model = Picky(set())
    score_rows(model, pa.table({"n": values}))
    assert model.calls == 1 + 1 + 15  # all, those without gaps, and a tree of the eight others


def test_a_model_that_scores_nothing_is_no_matter_of_rows() -> None:
    def broken(_: pa.Table) -> list[pa.Array]:
        raise RuntimeError("no weights")

    many = pa.table({"n": np.arange(2.0 * MAX_FIRST_FAILURES)})
    with pytest.raises(Unscorable, match="none of the first 1000 rows could be scored: RuntimeError: no weights"):
        score_rows(broken, many, is_first=True)
    assert len(score_rows(broken, many.slice(0, 10), is_first=True).failures) == 10
    assert len(score_rows(broken, many).failures) == 2 * MAX_FIRST_FAILURES
