"""A way that is not exact is not taken."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from penstock.flavors.compiled.compiling import compile_input
from penstock.flavors.kernels.sklearn_trees import spread
from penstock.flavors.kernels.tree_union import NodeFields, repeated, summed, union_of
from penstock.flavors.tiers.probes import Probes, make_probes
from penstock.flavors.tiers.trial import Trial, togetherness

SCHEMA = Schema([ColSpec("double", "a"), ColSpec("double", "b")])


def probes(schema: Schema = SCHEMA, examples: Sequence[bytes] = ()) -> Probes:
    reader = compile_input(Model(signature=ModelSignature(schema)))
    assert reader is not None
    return make_probes(reader, schema, examples, 60)


def on_frames(model: Callable[[Any], Any]) -> Callable[[Sequence[Any]], Any]:
    reader = probes().reader
    return lambda inputs: model(reader.frame(inputs))


def trial(model: Callable[[Any], Any]) -> Trial:
    """One that does not look at how long a model takes."""
    return Trial(probes(), on_frames(model), clock=lambda: 0.0)


def honest(frame: Any) -> Any:
    """A model that takes no null."""
    if frame.isna().to_numpy().any():
        raise ValueError("null")
    return frame["a"].to_numpy() + frame["b"].to_numpy()


def mean_free(frame: Any) -> Any:
    return honest(frame) - honest(frame).mean()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("way", "objection"),
    [
        (honest, ""),
        (lambda frame: honest(frame) * (1 + 2**-52), "it differs from the slow way by"),
        (lambda frame: honest(frame).astype(np.float32), "it differs from the slow way by inf"),
        (lambda frame: honest(frame).tolist(), "it differs from the slow way by inf"),
        (lambda frame: honest(frame)[:1], "it differs from the slow way by inf on 2 probe rows"),
        (lambda frame: frame["a"].to_numpy() + frame["b"].to_numpy(), "it answered a probe that the slow way refuses"),
        (lambda frame: frame["missing"], "it raised KeyError for a probe that the slow way answers"),
        (lambda frame: np.where(np.abs(honest(frame)) > 1e20, 0.0, honest(frame)), "it differs"),
        (lambda frame: np.where(np.abs(honest(frame)) < 1e-300, 0.0, honest(frame)), "it differs"),
    ],
)
def test_p4_2_what_differs_is_found(way: Callable[[Any], Any], objection: str) -> None:
    assert trial(honest).objection(on_frames(way)).startswith(objection)
    assert bool(trial(honest).objection(on_frames(way))) == bool(objection)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("way", "is_taken"),
    [
        (honest, True),
        (lambda frame: honest(frame) * (1 + 1e-7), True),
        (lambda frame: honest(frame) * (1 + 1e-4), False),
        (lambda frame: honest(frame).astype(np.float32), False),
        (lambda frame: honest(frame).round().astype(int), False),
        (lambda frame: frame["a"].to_numpy() + frame["b"].to_numpy(), False),
    ],
)
def test_p4_2_a_tolerance_is_kept(way: Callable[[Any], Any], is_taken: bool) -> None:
    assert (trial(honest).objection(on_frames(way), tolerance=1e-5) == "") == is_taken


def test_p4_2_a_model_that_refuses_every_probe_has_no_proof() -> None:
    def refuse(frame: Any) -> Any:
        raise ValueError("no")

    assert trial(refuse).objection(on_frames(refuse)) == "the slow way answers no probe"


def test_p4_2_a_slow_model_is_asked_less_and_its_nulls_all_the_same() -> None:
    asked: list[int] = []

    def slow(frame: Any) -> Any:
        asked.append(len(frame))
        return honest(frame)

    ticks = itertools.count()
    short = Trial(probes(), on_frames(slow), clock=lambda: next(ticks))
    blind = short.objection(on_frames(lambda frame: frame["a"].to_numpy() + frame["b"].to_numpy()))
    assert blind == "it answered a probe that the slow way refuses"
    assert sorted(asked) == [1, 1, 1, 1, 1, 2, 3, 17]


def test_p4_2_a_jump_at_a_landmark_is_found() -> None:
    def step(frame: Any) -> Any:
        return (honest(frame) <= 0.3).astype(float)

    def almost(frame: Any) -> Any:
        return (honest(frame) < 0.3).astype(float)

    zero_b = b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1.0, 0.0]]}}'
    marked = probes(examples=(zero_b,)).at(np.array([[0.3, 0.0]]))
    marked = Probes(marked.reader, marked.schema, marked.plain, marked.edges[6:9])
    assert Trial(marked, on_frames(step), clock=lambda: 0.0).objection(on_frames(almost)).startswith("it differs")


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (honest, (True, 0.0)),
        (lambda frame: float(len(frame)), (False, None)),
        (lambda frame: honest(frame)[:1], (False, None)),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_p4_2_whether_rows_are_independent_is_told(model: Callable[[Any], Any], found: Any) -> None:
    assert togetherness(on_frames(model), probes()) == found


def test_p4_2_how_far_rows_depend_on_each_other_is_told() -> None:
    is_independent, apart = togetherness(on_frames(mean_free), probes())
    assert not is_independent
    assert apart is not None
    assert apart > 0.01


def test_p4_2_the_examples_rows_are_probes() -> None:
    schema = Schema(
        [ColSpec("string", "word"), ColSpec("double", "x"), ColSpec("datetime", "at"), ColSpec("long", "n")]
    )
    body = (
        b'{"dataframe_split": {"columns": ["word", "x", "at", "n"], '
        b'"data": [["red", 1.5, "2024-05-01T10:00:00", 3], ["blue", null, "2024-05-02T10:00:00", 4]]}}'
    )
    made = probes(schema, (body,))
    assert made.plain[0][:2] == ["red", 1.5]
    assert made.plain[1][1] is None
    assert {row[0] for row in made.plain} == {"red", "blue"}
    assert all(made.input_of([row]) is not None for row in made.plain)


@pytest.mark.parametrize(
    "schema",
    [
        Schema([TensorSpec(np.dtype("float64"), (-1, 3))]),
        Schema([TensorSpec(np.dtype("float32"), (-1, 2, 2))]),
        Schema([TensorSpec(np.dtype("int64"), (-1,), "a"), TensorSpec(np.dtype("float32"), (-1, 2), "b")]),
    ],
)
def test_p4_2_tensors_have_probes(schema: Schema) -> None:
    made = probes(schema)
    read = made.input_of(made.plain[:5])
    assert read is not None
    assert read.rows == 5


def test_p4_2_the_same_model_gets_the_same_probes() -> None:
    assert probes().plain == probes().plain


FIELDS = NodeFields("left", "right", "feature", "threshold")
NODE = np.dtype([("left", "i8"), ("right", "i8"), ("feature", "i8"), ("threshold", "f8"), ("leaf", "i8")])


def walk(nodes: Any, row: Any) -> int:
    at = 0
    while nodes[at]["left"] > 0:
        node = nodes[at]
        at = node["left"] if row[node["feature"]] <= node["threshold"] else node["right"]
    return int(nodes[at]["leaf"])


@given(thresholds=st.lists(st.floats(-2, 2), min_size=1, max_size=40), rows=st.lists(st.floats(-3, 3), min_size=1))
def test_p4_2_a_union_of_trees_finds_each_trees_leaf(thresholds: list[float], rows: list[float]) -> None:
    trees = [
        np.array([(1, 2, 0, limit, 0), (-1, -1, -2, 0, 2 * at), (-1, -1, -2, 0, 2 * at + 1)], NODE)
        for at, limit in enumerate(thresholds)
    ]
    union = union_of(trees, FIELDS, 1)
    matrix = np.array(rows).reshape(-1, 1)
    found = [walk(union, row) for row in repeated(matrix, len(trees))]
    assert found == [walk(tree, row) for tree in trees for row in matrix]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(1, 3), st.integers(1, 3))
def test_p4_2_trees_are_added_one_after_the_other(values: list[float], rows: int, width: int) -> None:
    array = np.repeat(np.array(values), rows * width).reshape(len(values), rows, width) * np.arange(1, width + 1)
    added = np.zeros((rows, width))
    for part in array:
        added += part
    assert np.array_equal(summed(array) + 0.0, added)


def test_p4_2_landmarks_are_in_their_own_columns() -> None:
    marks = spread(np.array([1, -2, 0, 1]), np.array([0.5, -2.0, 7.0, 0.25]), 3)
    assert marks[:2].tolist() == [[7.0, 0.5, 0.0], [0.0, 0.25, 0.0]]
