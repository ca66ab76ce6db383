"""Which tier a model gets, and that it answers there to the last bit as MLflow's own code does."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.models import ModelSignature, infer_signature
from mlflow.pyfunc import PythonModel
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVR
from threadpoolctl import threadpool_limits

from penstock.domain.predict_tier import PredictTier
from penstock.flavors.compiled.compiling import compile_input
from penstock.flavors.outputs import part_of
from penstock.flavors.tiers.sameness import deviation, is_same
from penstock.flavors.tiers.selection import select
from support import tier_models
from support.tier_models import ARRAYS, FRAMES, KERNELS, ROWS, WHOLE_WAY, Loaded

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")

TABLE = [
    *((name, PredictTier.KERNEL) for name in KERNELS),
    *((name, PredictTier.ARRAY) for name in ARRAYS),
    *((name, PredictTier.FRAME) for name in FRAMES),
    *((name, PredictTier.MLFLOW) for name in WHOLE_WAY),
]
QUICK = [*KERNELS, *ARRAYS]
SLOW_TOO = settings(
    max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in a replica; threads of OpenMP that wait for each other make some of these models a hundred times slower."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiers")


def loaded(name: str, folder: Path) -> Loaded:
    return tier_models.loaded(name, folder)


@pytest.mark.parametrize(("name", "tier"), TABLE, ids=[name for name, _ in TABLE])
def test_p4_2_each_kind_of_model_gets_its_tier(name: str, tier: PredictTier, folder: Path) -> None:
    chosen = loaded(name, folder).chosen
    assert (chosen.tier, chosen.reason.count(".") > 0) == (tier, True), chosen.reason


@st.composite
def row(draw: st.DrawFn, kinds: list[Any]) -> list[Any]:
    """Numbers as they come, and now and then one that is special: null, a zero, a huge or a tiny one."""

    def one(kind: Any) -> st.SearchStrategy[Any]:
        if kind in {DataType.long, DataType.integer}:
            return st.integers(-100, 100) | st.integers(-(2**31), 2**31 - 1)
        usual = st.floats(-5, 5, width=32)
        wild = st.floats(allow_nan=False, allow_infinity=False, width=64 if kind == DataType.double else 32)
        return st.one_of(usual, usual, usual, usual, wild, st.none())

    return [draw(one(kind)) for kind in kinds]


def kinds(model: Loaded) -> list[Any]:
    schema = model.model.metadata.get_input_schema()
    if schema.is_tensor_spec():
        return [None] * schema.inputs[0].shape[1]
    return [column.type for column in schema.inputs]


def outcome(ask: Any) -> Any:
    try:
        return ask()
    except Exception as exc:  # noqa: BLE001 - that it is refused is the outcome
        return type(exc).__name__


@pytest.mark.parametrize("name", QUICK)
@given(data=st.data())
@SLOW_TOO
def test_p4_2_every_bit_is_that_of_mlflow(name: str, folder: Path, data: st.DataObject) -> None:
    model = loaded(name, folder)
    body = model.body(data.draw(st.lists(row(kinds(model)), min_size=1, max_size=5)))
    read = model.reader.read(body)
    if read is None:
        return
    expected, got = outcome(lambda: model.by_mlflow(body)), outcome(lambda: model.chosen.predict((read,)))
    assert isinstance(expected, str) == isinstance(got, str), (expected, got)
    if not isinstance(expected, str):
        assert is_same(got, expected), (deviation(got, expected), got, expected)


@pytest.mark.parametrize("name", QUICK)
def test_p4_2_requests_predicted_together_get_what_each_gets_alone(name: str, folder: Path) -> None:
    model = loaded(name, folder)
    rng = np.random.default_rng(9)
    integers = {DataType.long, DataType.integer}

    def value(kind: Any) -> float | int:
        return int(rng.integers(-30, 30)) if kind in integers else float(np.float32(rng.normal(scale=3)))

    for sizes in ([1] * 17, [3, 1, 1, 150, 2]):
        bodies = [model.body([[value(kind) for kind in kinds(model)] for _ in range(size)]) for size in sizes]
        inputs = [model.reader.read(body) for body in bodies]
        together, at = model.chosen.predict(inputs), 0
        for body, size in zip(bodies, sizes, strict=True):
            part, alone = part_of(together, at, at + size), model.by_mlflow(body)
            at += size
            apart = deviation(part, alone)
            limit = model.chosen.finding.max_deviation
            assert limit is None or apart <= limit, (size, apart)
            assert is_same(part, alone) or not model.chosen.finding.is_row_independent
    assert model.chosen.finding.is_row_independent or name in ARRAYS


def test_p4_2_a_refused_row_is_refused_by_the_model_itself(folder: Path) -> None:
    model = loaded("logistic", folder)
    read = model.reader.read(model.body([[1.0, None, 1.0, 1.0, 1.0]]))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.chosen.predict((read,))


@pytest.mark.parametrize("name", ["hist boosting", "xgboost", "lightgbm", "forest"])
def test_p4_2_models_that_take_nan_get_it(name: str, folder: Path) -> None:
    model = loaded(name, folder)
    body = model.body([[None, 1.0, None, 0.5, -1.0]])
    assert is_same(model.chosen.predict((model.reader.read(body),)), model.by_mlflow(body))


@pytest.mark.parametrize(
    "name", ["forest of mixed columns", "xgboost of mixed columns", "lightgbm regressor", "logistic of mixed columns"]
)
@pytest.mark.parametrize("large", [2**53 + 1, 2**54 + 2**30 + 1, -(2**60) - 1, 2**63 - 1])
def test_p4_2_large_integers_are_rounded_once(name: str, large: int, folder: Path) -> None:
    model = loaded(name, folder)
    body = model.body([[large, 1, 0.5, 0.25, -1.0]])
    assert is_same(model.chosen.predict((model.reader.read(body),)), model.by_mlflow(body))


class Logging(BaseEstimator, TransformerMixin):
    """A transformer of its author's own."""

    calls = 0

    def fit(self, rows: Any, target: Any = None) -> "Logging":
        return self

    def transform(self, rows: Any) -> Any:
        Logging.calls += 1
        return rows


def double(rows: Any) -> Any:
    return rows * 2


@pytest.mark.parametrize("step", [Logging(), FunctionTransformer(double)], ids=["class", "function"])
def test_p4_2_a_pipeline_with_code_of_ones_own_is_not_asked_by_the_choice(step: Any, tmp_path: Path) -> None:
    save = tier_models.sklearn(make_pipeline(step, LogisticRegression()), tier_models.TWO)
    model = tier_models.saved(save, tmp_path / "own")
    before = Logging.calls
    chosen = select(model, compile_input(model.metadata))
    assert (chosen.tier, chosen.finding.max_deviation, Logging.calls) == (PredictTier.FRAME, None, before)


@pytest.mark.parametrize("wanted", list(PredictTier))
def test_p4_2_a_lower_tier_can_be_asked_for(wanted: PredictTier, folder: Path) -> None:
    model = loaded("logistic", folder)
    chosen = select(model.model, model.reader, wanted=wanted)
    assert chosen.tier is wanted
    body = model.body(ROWS[:2].to_numpy().tolist())
    if chosen.predict is not None:
        assert is_same(chosen.predict((model.reader.read(body),)), model.by_mlflow(body))


def test_p4_2_a_tier_that_cannot_be_had_is_replaced_by_the_best_below(folder: Path) -> None:
    model = loaded("neighbours", folder)
    chosen = select(model.model, model.reader, wanted=PredictTier.KERNEL)
    assert chosen.tier is PredictTier.ARRAY
    assert "no kernel: there is none for KNeighborsClassifier.predict" in chosen.reason


def test_p4_2_later_replicas_trust_what_an_earlier_one_found(folder: Path) -> None:
    model = loaded("forest", folder)
    found = model.chosen.finding
    again = select(model.model, model.reader, earlier=found)
    assert again.finding is found, "with the same libraries there is no trial"
    body = ROWS.head(3).to_dict("records")
    asked = (model.reader.read(json.dumps({"dataframe_records": body}).encode()),)
    assert again.predict(asked).tolist() == model.chosen.predict(asked).tolist()
    newer = select(model.model, model.reader, earlier=replace(found, versions="numpy 1.0"))
    assert (newer.tier, newer.finding.is_row_independent) == (PredictTier.KERNEL, True)
    assert probe_rows(newer.reason) == 5 + 2 + 3 + 17
    lower = select(
        model.model, model.reader, earlier=select(model.model, model.reader, wanted=PredictTier.ARRAY).finding
    )
    assert lower.tier is PredictTier.ARRAY


def probe_rows(reason: str) -> int:
    return int(reason.partition(" on ")[2].split()[0])


class Counting(PythonModel):
    """Counts how often it is asked, and says what it was given beside the frame."""

    calls = 0

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        Counting.calls += 1
        return [len(model_input), dict(params or {})]


def test_p4_2_a_model_of_ones_own_is_not_asked_by_the_choice_and_gets_its_params(tmp_path: Path) -> None:
    params = ParamSchema([ParamSpec("depth", DataType.long, 3)])
    signature = infer_signature(ROWS)
    signature.params = params
    model = tier_models.saved(
        lambda path: mlflow.pyfunc.save_model(path, python_model=Counting(), signature=signature, pip_requirements=[]),
        tmp_path / "own",
    )
    reader = compile_input(model.metadata)
    counting = model.unwrap_python_model()
    before = type(counting).calls
    chosen = select(model, reader)
    assert type(counting).calls == before
    finding = chosen.finding
    assert (finding.tier, finding.is_row_independent, finding.max_deviation) == (PredictTier.FRAME, False, None)
    body = Loaded(model, reader, chosen).body(ROWS[:2].to_numpy().tolist())
    assert chosen.predict((reader.read(body),)) == [2, {"depth": 3}]


class Hinted(PythonModel):
    """MLflow makes its signature of type hints, and converts its input by them."""

    def predict(self, model_input: list[str]) -> list[str]:
        return model_input


def test_p4_2_type_hints_are_left_to_mlflow(tmp_path: Path) -> None:
    model = tier_models.saved(
        lambda path: mlflow.pyfunc.save_model(path, python_model=Hinted(), pip_requirements=[]), tmp_path / "hinted"
    )
    chosen = select(model, compile_input(model.metadata))
    assert (chosen.tier, chosen.predict) == (PredictTier.MLFLOW, None)


def test_p4_2_a_model_without_a_kernel_is_converted_on_request(tmp_path: Path) -> None:
    save = tier_models.sklearn(MLPClassifier((8,), max_iter=40, random_state=0), tier_models.TWELVE, "predict_proba")
    model = tier_models.saved(save, tmp_path / "network")
    reader = compile_input(model.metadata)
    assert select(model, reader).tier is PredictTier.ARRAY
    chosen = select(model, reader, may_convert=True)
    assert (chosen.tier, chosen.finding.tolerance) == (PredictTier.KERNEL, 1e-5), chosen.reason
    own = Loaded(model, reader, chosen)
    body = own.body(ROWS.to_numpy().tolist())
    got, expected = chosen.predict((reader.read(body),)), own.by_mlflow(body)
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    assert deviation(got, expected) <= 1e-5
    beyond = reader.read(own.body([[1e300, 1.0, 1.0, 1.0, None]]))
    with pytest.raises(ValueError, match="NaN"):
        chosen.predict((beyond,))


def test_p4_2_a_model_that_cannot_be_converted_is_served_as_before(tmp_path: Path) -> None:
    model = tier_models.saved(tier_models.sklearn(SVR(), tier_models.NUMBER), tmp_path / "svr")
    chosen = select(model, compile_input(model.metadata), may_convert=True)
    assert (chosen.tier, chosen.finding.tolerance) == (PredictTier.ARRAY, 0.0)
    assert "no conversion: skl2onnx does not convert it" in chosen.reason


def test_p4_2_the_model_itself_is_not_changed(folder: Path) -> None:
    model = loaded("forest", folder)
    estimator = model.model.get_raw_model()
    assert estimator.n_jobs == 2
    assert list(estimator.feature_names_in_) == tier_models.NAMES


@pytest.mark.filterwarnings("error")
def test_p4_2_no_warning_of_missing_names(folder: Path) -> None:
    model = loaded("neighbours", folder)
    read = model.reader.read(model.body(ROWS[:1].to_numpy().tolist()))
    assert len(model.chosen.predict((read,))) == 1


def test_p4_2_a_request_without_an_optional_column_is_the_slow_paths_affair(tmp_path: Path) -> None:
    schema = Schema([ColSpec("double", name, required=name != "e") for name in tier_models.NAMES])
    fitted = HistGradientBoostingRegressor(max_iter=5).fit(ROWS, tier_models.NUMBER)
    model = tier_models.saved(
        lambda path: mlflow.sklearn.save_model(
            fitted, path, signature=ModelSignature(schema), serialization_format="cloudpickle", pip_requirements=[]
        ),
        tmp_path / "optional",
    )
    reader = compile_input(model.metadata)
    own = Loaded(model, reader, select(model, reader))
    assert own.chosen.tier is PredictTier.KERNEL
    whole = own.body([[1.0, 2.0, 3.0, 4.0, None]])
    assert is_same(own.chosen.predict((reader.read(whole),)), own.by_mlflow(whole))
    read = reader.read(b'{"dataframe_split": {"columns": ["a", "b", "c", "d"], "data": [[1, 2, 3, 4]]}}')
    with pytest.raises(ValueError, match="feature names"):
        own.chosen.predict((read,))
