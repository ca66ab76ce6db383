"""A batch run gives what the replica's code and MLflow's own `predict` give for the same rows, for every flavor.

Bit for bit with `predict` of the rows as pandas reads them, at the same batch shape; with the answers of the replica's
code too, but for matrices that lie otherwise in memory and 32-bit numbers, whose text keeps less. A library that is not
installed skips its case.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from penstock import batch
from penstock.batch.outputs import column_of
from penstock.domain.prediction import JSON, Answer, Api, Query
from penstock.flavors.pyfunc import load

FLOWERS, SPECIES = load_iris(return_X_y=True, as_frame=True)
FLOWERS.columns = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
PATIENTS, PROGRESS = load_diabetes(return_X_y=True, as_frame=True)
TENSOR = ModelSignature(inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 4))]))
FLOAT32 = 1e-6


@dataclass
class Case:
    """A model in a folder, rows for it as a DataFrame, and as what its `predict` takes."""

    rows: pd.DataFrame
    given: Any = None
    """What `predict` takes; the rows themselves if None."""
    body: dict[str, Any] | None = None
    """What the replica is asked; the rows as records if None."""
    params: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 0.0


def sklearn_model(folder: Path, function: str, estimator: Any) -> Case:
    model = estimator.fit(FLOWERS, SPECIES)
    mlflow.sklearn.save_model(
        model,
        folder,
        signature=infer_signature(FLOWERS, getattr(model, function)(FLOWERS)),
        pyfunc_predict_fn=function,
        serialization_format="cloudpickle",
        pip_requirements=["scikit-learn"],
    )
    return Case(FLOWERS)


def linear_labels(folder: Path) -> Case:
    return sklearn_model(folder, "predict", LogisticRegression(max_iter=500))


def linear_chances(folder: Path) -> Case:
    return sklearn_model(folder, "predict_proba", LogisticRegression(max_iter=500))


def forest(folder: Path) -> Case:
    return sklearn_model(folder, "predict", RandomForestClassifier(8, random_state=0))


def pipeline_of_mixed_columns(folder: Path) -> Case:
    customers = pd.DataFrame(
        {
            "city": ["Gdynia", "Oslo", None, "Porto", "Oslo", "Gdynia"] * 5,
            "age": [31.0, None, 58.5, 22.0, 47.0, None] * 5,
            "joined": pd.to_datetime(["2024-02-29", "2025-06-01", None, "2023-12-24", "2026-01-05", None] * 5),
        }
    )
    days = FunctionTransformer(lambda dates: (dates - pd.Timestamp("2023-01-01")) / pd.Timedelta(days=1))
    columns = ColumnTransformer(
        [
            ("city", OneHotEncoder(handle_unknown="ignore"), ["city"]),
            ("age", SimpleImputer(add_indicator=True), ["age"]),
            ("joined", make_pipeline(days, SimpleImputer()), ["joined"]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=2000)).fit(customers, [0, 1, 1, 0, 1, 0] * 5)
    mlflow.sklearn.save_model(
        model,
        folder,
        signature=infer_signature(customers, np.zeros(30)),
        serialization_format="cloudpickle",
        pyfunc_predict_fn="predict_proba",
        pip_requirements=["scikit-learn"],
    )
    asked = customers.assign(joined=customers["joined"].dt.strftime("%Y-%m-%dT%H:%M:%S"))
    records = asked.astype(object).where(asked.notna(), None).to_dict(orient="records")
    return Case(customers, body={"dataframe_records": records}, tolerance=1e-12)


def text_classifier(folder: Path) -> Case:
    posts = pd.DataFrame({"text": ["what a lovely morning", "nobody likes you", "we will smash it"] * 4})
    words = ColumnTransformer([("words", TfidfVectorizer(), "text")])
    model = make_pipeline(words, LogisticRegression(C=10.0)).fit(posts, ["harmless", "toxic", "violent"] * 4)
    mlflow.sklearn.save_model(
        model,
        folder,
        signature=infer_signature(posts, model.predict(posts)),
        serialization_format="cloudpickle",
        pip_requirements=["scikit-learn"],
    )
    return Case(posts)


def xgboost_classifier(folder: Path) -> Case:
    xgboost = pytest.importorskip("xgboost", reason="needs the extra 'xgboost'")
    model = xgboost.XGBClassifier(n_estimators=8, n_jobs=1).fit(FLOWERS, SPECIES)
    signature = infer_signature(FLOWERS, model.predict(FLOWERS))
    mlflow.xgboost.save_model(model, folder, signature=signature, pip_requirements=["xgboost-cpu"])
    return Case(FLOWERS)


def xgboost_booster(folder: Path) -> Case:
    xgboost = pytest.importorskip("xgboost", reason="needs the extra 'xgboost'")
    rows = PATIENTS.copy()
    rows.iloc[::7, 2] = None
    model = xgboost.train({"nthread": 1}, xgboost.DMatrix(PATIENTS, PROGRESS), num_boost_round=8)
    signature = infer_signature(PATIENTS, model.predict(xgboost.DMatrix(PATIENTS)))
    mlflow.xgboost.save_model(model, folder, signature=signature, pip_requirements=["xgboost-cpu"])
    return Case(rows, tolerance=FLOAT32)


def lightgbm_booster(folder: Path) -> Case:
    lightgbm = pytest.importorskip("lightgbm", reason="needs the extra 'lightgbm'")
    options = {"verbosity": -1, "num_threads": 1, "objective": "regression"}
    model = lightgbm.train(options, lightgbm.Dataset(PATIENTS, PROGRESS), 8)
    signature = infer_signature(PATIENTS, model.predict(PATIENTS))
    mlflow.lightgbm.save_model(model, folder, signature=signature, pip_requirements=["lightgbm"])
    return Case(PATIENTS)


def tensors() -> Case:
    matrix = FLOWERS.to_numpy(np.float32)
    return Case(pd.DataFrame({"x": list(matrix)}), matrix, {"inputs": matrix.tolist()}, tolerance=FLOAT32)


def pytorch(folder: Path) -> Case:
    torch = pytest.importorskip("torch", reason="needs the extra 'torch'")
    torch.manual_seed(7)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    mlflow.pytorch.save_model(
        model, folder, signature=TENSOR, serialization_format="pickle", pip_requirements=["torch"]
    )
    return tensors()


def onnx(folder: Path) -> Case:
    pytest.importorskip("onnx", reason="needs the extra 'onnx'")
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    skl2onnx = pytest.importorskip("skl2onnx", reason="makes the model of this test")
    matrix = FLOWERS.to_numpy(np.float32)
    model = skl2onnx.to_onnx(LinearRegression().fit(matrix, SPECIES), matrix[:1])
    mlflow.onnx.save_model(model, folder, signature=TENSOR, pip_requirements=["onnx", "onnxruntime"])
    return tensors()


def statsmodels(folder: Path) -> Case:
    library = pytest.importorskip("statsmodels.api", reason="needs the extra 'statsmodels'")
    frame = library.add_constant(FLOWERS)
    model = library.OLS(SPECIES, frame).fit()
    signature = infer_signature(frame, model.predict(frame))
    mlflow.statsmodels.save_model(model, folder, signature=signature, pip_requirements=["statsmodels"])
    return Case(frame)


def custom_model_with_params(folder: Path) -> Case:
    class Prices(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            total = model_input["item"].str.len() * model_input["count"] * (1 - params["discount"])
            return pd.DataFrame({"total": total, "currency": params["currency"]})

    signature = ModelSignature(
        inputs=Schema([ColSpec(DataType.string, "item"), ColSpec(DataType.long, "count")]),
        params=ParamSchema(
            [ParamSpec("discount", DataType.double, 0.0), ParamSpec("currency", DataType.string, "EUR")]
        ),
    )
    mlflow.pyfunc.save_model(folder, python_model=Prices(), signature=signature, pip_requirements=["mlflow"])
    rows = pd.DataFrame({"item": ["apple", "melon", "fig"], "count": [4, 2, 9]})
    return Case(rows, params={"discount": 0.25, "currency": "NOK"})


def model_without_signature(folder: Path) -> Case:
    model = LinearRegression().fit(PATIENTS, PROGRESS)
    mlflow.sklearn.save_model(model, folder, serialization_format="pickle", pip_requirements=["scikit-learn"])
    return Case(PATIENTS, tolerance=1e-12)


def model_with_type_hints(folder: Path) -> Case:
    class Hinted(mlflow.pyfunc.PythonModel):
        def predict(self, model_input: list[str]) -> list[str]:
            return [text.upper() for text in model_input]

    mlflow.pyfunc.save_model(folder, python_model=Hinted(), pip_requirements=["mlflow"])
    texts = ["a", "bc", "é"]
    return Case(pd.DataFrame({"text": texts}), texts, {"inputs": texts})


def nested_columns(folder: Path) -> Case:
    class Longest(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input):
            return [max(message["content"] for message in messages) for messages in model_input["messages"]]

    rows = pd.DataFrame({"messages": [[{"role": "user", "content": "hello"}], [{"role": "user", "content": "b"}] * 2]})
    signature = infer_signature(rows.to_dict(orient="records")[0])
    mlflow.pyfunc.save_model(folder, python_model=Longest(), signature=signature, pip_requirements=["mlflow"])
    return Case(rows)


MODELS: list[Callable[[Path], Case]] = [
    linear_labels,
    linear_chances,
    forest,
    pipeline_of_mixed_columns,
    text_classifier,
    xgboost_classifier,
    xgboost_booster,
    lightgbm_booster,
    pytorch,
    onnx,
    statsmodels,
    custom_model_with_params,
    model_without_signature,
    model_with_type_hints,
    nested_columns,
]


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_p6_1_batch_online_and_predict_agree(make: Callable[[Path], Case], tmp_path: Path) -> None:
    folder, source, target = tmp_path / "model", tmp_path / "rows.parquet", tmp_path / "scored"
    case = make(folder)
    pq.write_table(pa.Table.from_pandas(case.rows, preserve_index=False), source)
    done = batch.score(
        str(folder), str(source), str(target), params=case.params, target_format="parquet", home=tmp_path / "home"
    )
    assert (done.rows_in, done.rows_out, done.rows_failed) == (len(case.rows), len(case.rows), 0)
    scored = pq.read_table(target)
    assert scored.select(list(case.rows.columns)).to_pylist() == pq.read_table(source).to_pylist()
    got = scored.column("prediction").to_pylist()

    model = mlflow.pyfunc.load_model(str(folder))
    given = pd.read_parquet(source) if case.given is None else case.given
    own = model.predict(given, params=case.params or None)
    assert got == column_of(own, len(case.rows)).to_pylist(), "bit for bit"

    body = case.body
    if body is None:
        records = case.rows.astype(object).where(case.rows.notna(), None).to_dict(orient="records")
        body = {"dataframe_records": records}
    if case.params:
        body["params"] = case.params
    answer = load(folder).answer(Query(json.dumps(body).encode(), JSON, Api.INVOCATIONS))
    assert isinstance(answer, Answer)
    assert answer.status == 200, answer.body
    assert_same(got, by_row(json.loads(answer.body)["predictions"]), case.tolerance)


def by_row(predictions: Any) -> list[Any]:
    """Predictions as a batch run keeps them: one column is that column, several are a struct."""
    if isinstance(predictions, dict):
        predictions = [dict(zip(predictions, row, strict=True)) for row in zip(*predictions.values(), strict=True)]
    if isinstance(predictions[0], dict) and len(predictions[0]) == 1:
        return [value for row in predictions for value in row.values()]
    rows: list[Any] = predictions
    return rows


def assert_same(ours: Any, theirs: Any, tolerance: float) -> None:
    match ours:
        case list():
            assert len(ours) == len(theirs)
            for one, other in zip(ours, theirs, strict=True):
                assert_same(one, other, tolerance)
        case dict():
            assert ours.keys() == theirs.keys()
            for name in ours:
                assert_same(ours[name], theirs[name], tolerance)
        case float() if tolerance:
            assert math.isclose(ours, theirs, rel_tol=tolerance, abs_tol=tolerance)
        case _:
            assert ours == theirs
