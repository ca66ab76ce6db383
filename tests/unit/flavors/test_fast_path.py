"""The short way: every query gets its own answer, whatever the others hold, and what is not recognised MLflow's."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

from penstock.domain.batching import ONE_BY_ONE, Batching
from penstock.domain.predict_tier import PredictTier
from penstock.domain.prediction import Answer, Query
from penstock.flavors.compiled.compiling import compile_input
from penstock.flavors.compiled.ports import Input
from penstock.flavors.fast_path import RECHECK_EVERY, FastPath, is_same
from penstock.flavors.pyfunc import Predictor, load

JOINED = Batching(64, is_joined=True)
Predict = Callable[[Sequence[Input]], Any]


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("model") / "m"
    data = pd.DataFrame({"x": [0.0, 1000.0]})
    model = LinearRegression().fit(data, data["x"] + 5)
    mlflow.sklearn.save_model(
        model, str(folder), signature=infer_signature(data, model.predict(data)), serialization_format="cloudpickle"
    )
    return load(Path(folder))


class Asked:
    """A predict that answers x + 5 and remembers how many rows it was asked at a time; a row of -1 is poison."""

    def __init__(self, predictor: Predictor) -> None:
        self.reader = compile_input(predictor.metadata)
        assert self.reader is not None
        self.rows: list[int] = []

    def __call__(self, inputs: Sequence[Input]) -> Any:
        rows = self.reader.array(inputs)[:, 0]
        self.rows.append(len(rows))
        if (rows == -1).any():
            raise ValueError("poison")
        return rows + 5


def path(
    predictor: Predictor,
    predict: Predict,
    batching: Batching = JOINED,
    tier: PredictTier = PredictTier.KERNEL,
    **more: Any,
) -> FastPath:
    reader = compile_input(predictor.metadata)
    assert reader is not None
    settings = {"draw": lambda most: most - 1, "demote": lambda _: predict, "tolerance": 0.0, **more}
    return FastPath(predictor, reader, predict, tier, batching, **settings)


def query(*values: Any, **beside: Any) -> Query:
    return Query(json.dumps({"dataframe_split": {"columns": ["x"], "data": [[v] for v in values]}, **beside}).encode())


def bodies(answers: Sequence[Any]) -> list[Any]:
    return [(answer.status, json.loads(answer.body).get("predictions")) for answer in answers]


def test_p4_3_queries_are_joined_and_each_gets_its_part(predictor: Predictor) -> None:
    asked = Asked(predictor)
    answers = path(predictor, asked).answer_all([query(1.0), query(2.0, 3.0), query(4.0, client_request_id="c")])
    assert bodies(answers) == [(200, [6.0]), (200, [7.0, 8.0]), (200, [9.0])]
    assert asked.rows == [4]
    assert [answer.note.client_request_id for answer in answers] == [None, None, "c"]


def test_p4_3_without_joining_each_is_asked_alone(predictor: Predictor) -> None:
    asked = Asked(predictor)
    assert bodies(path(predictor, asked, ONE_BY_ONE).answer_all([query(1.0), query(2.0)])) == [
        (200, [6.0]),
        (200, [7.0]),
    ]
    assert asked.rows == [1, 1]


def test_p4_3_poison_fails_alone(predictor: Predictor) -> None:
    asked = Asked(predictor)
    fast = path(predictor, asked, tier=PredictTier.FRAME)
    answers = fast.answer_all([query(1.0), query(-1.0), query(3.0)])
    assert bodies(answers) == [(200, [6.0]), (400, None), (200, [8.0])]
    error = json.loads(answers[1].body)
    assert error["error_code"] == "BAD_REQUEST"
    assert "ValueError: poison" in error["stack_trace"]
    assert asked.rows == [3, 1, 1, 1], "the model is asked again for each, and not once more for the message"


def test_p4_3_what_is_not_recognised_goes_mlflows_way_beside_the_others(predictor: Predictor) -> None:
    asked = Asked(predictor)
    other = Query(b"x\n7\n", "text/csv")
    answers = path(predictor, asked).answer_all([query(1.0), other, Query(b"{"), query("9.5"), query(2.0)])
    assert [status for status, _ in bodies(answers)] == [200, 200, 400, 200, 200]
    assert bodies(answers)[1][1] == pytest.approx([12.0])
    assert bodies(answers)[3][1] == pytest.approx([14.5]), "MLflow takes a number in a string"
    assert asked.rows == [2]


def test_p4_3_an_output_without_a_row_for_each_is_asked_for_one_by_one(predictor: Predictor) -> None:
    fast = path(predictor, lambda inputs: np.array([float(sum(one.rows for one in inputs))]))
    for _ in range(2):
        assert bodies(fast.answer_all([query(1.0), query(2.0, 3.0)])) == [(200, [1.0]), (200, [2.0])]


def test_p4_3_a_batch_is_bounded_in_rows(predictor: Predictor) -> None:
    asked = Asked(predictor)
    answers = path(predictor, asked).answer_all([query(*map(float, range(3000))) for _ in range(3)])
    assert {status for status, _ in bodies(answers)} == {200}
    assert asked.rows == [3000, 3000, 3000]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_p4_1_what_json_cannot_say_is_said_as_mlflow_says_it(predictor: Predictor, value: float) -> None:
    (answer,) = path(predictor, lambda _: np.array([value])).answer_all([query(1.0)])
    assert isinstance(answer, Answer)
    assert answer.body == json.dumps({"predictions": [value]}).encode()


def test_p4_2_one_in_so_many_is_checked_and_a_mismatch_lowers_the_tier(predictor: Predictor) -> None:
    wrong, right, told = lambda _: np.array([7.25]), Asked(predictor), []

    def demote(reason: str) -> Predict:
        told.append(reason)
        return right

    fast = path(predictor, wrong, draw=lambda _: 2, demote=demote)
    assert bodies(fast.answer_all([query(1.0)])) == [(200, [7.25])]
    assert bodies(fast.answer_all([query(1.0)])) == [(200, [7.25])]
    assert not fast.wants_idle_time
    fast.answer_all([query(1.0)])
    assert fast.wants_idle_time
    fast.use_idle_time()
    assert "7.25" in told[0]
    assert bodies(fast.answer_all([query(1.0)])) == [(200, [6.0])]
    assert not fast.wants_idle_time


def test_p4_2_a_check_that_agrees_changes_nothing(predictor: Predictor) -> None:
    def demote(reason: str) -> Predict:
        raise AssertionError(reason)

    asked = Asked(predictor)
    fast = path(predictor, asked, draw=lambda _: 0, demote=demote, tolerance=1e-12)
    fast.answer_all([query(0.0)])
    fast.use_idle_time()
    assert not fast.wants_idle_time
    assert bodies(fast.answer_all([query(1.0)])) == [(200, [6.0])]


def test_p4_2_checks_are_as_rare_as_said(predictor: Predictor) -> None:
    seen = []
    path(predictor, Asked(predictor), draw=lambda most: seen.append(most) or 0)
    assert seen == [2 * RECHECK_EVERY - 1]


@pytest.mark.parametrize(
    ("one", "other", "tolerance", "same"),
    [
        ([1.0], [1.0], 0.0, True),
        ([1.0], [1.0000001], 0.0, False),
        ([1e6], [1e6 + 1e-4], 1e-9, True),
        ([1e-12], [0.0], 1e-9, True),
        ([1.0, 2.0], [1.0], 1e-9, False),
        ([{"a": 1, "b": "x"}], [{"a": 1, "b": "y"}], 1.0, False),
        ([{"a": 1.0}], [{"b": 1.0}], 1.0, False),
        ([float("nan")], [float("nan")], 0.0, True),
        ([1], [2], 1.0, False),
    ],
)
def test_p4_2_answers_are_compared_by_what_they_say(one: Any, other: Any, tolerance: float, same: bool) -> None:
    answers = [Answer(200, json.dumps({"predictions": predictions}).encode()) for predictions in (one, other)]
    assert is_same(*answers, tolerance) is same
    assert not is_same(answers[0], Answer(400, answers[0].body), tolerance)
