"""Models of every flavor, really trained, each asked over HTTP in its natural format and held to its own `predict`.

The comparison is with the trained object in this process, not with MLflow's copy of it. Labels and sums of trees are
equal to the last bit. Where matrices are multiplied a tolerance per type holds: a replica's table lies otherwise in
memory and sums are made in another order. A library that is not installed skips its test; the extra `test` has all.
Every command of `docs/howto/flavors.md` is sent too.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
from mlflow.models import ModelSignature, infer_signature
from mlflow.models.model import ModelInfo
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from support.stack import Stack, refused, use_registry

Serve = Callable[..., None]
FLOAT32 = 1e-5
FLOAT64 = 1e-12
"""Tolerances, relative or absolute, whichever is larger."""

FLOWERS, SPECIES = load_iris(return_X_y=True, as_frame=True)
FLOWERS.columns = [name.removesuffix(" (cm)").replace(" ", "_") for name in FLOWERS.columns]
PATIENTS, PROGRESS = load_diabetes(return_X_y=True, as_frame=True)


@pytest.fixture(scope="module", autouse=True)
def registry(stack: Stack) -> None:
    """Where the models of this module go."""
    use_registry(stack)
    mlflow.set_experiment("flavors")


@pytest.fixture
def serve(create: Callable[..., Any]) -> Serve:
    """Serves models, each as the entity of its keyword, the first with all the traffic."""

    def make(endpoint: str, **models: ModelInfo) -> None:
        entities = [
            {
                "name": name,
                "entity_name": endpoint,
                "entity_version": str(model.registered_model_version),
                "workload_size": "Small",
            }
            for name, model in models.items()
        ]
        routes = [
            {"served_entity_name": name, "traffic_percentage": 0 if index else 100} for index, name in enumerate(models)
        ]
        create(endpoint, *entities, traffic_config={"routes": routes})

    return make


def predictions(answer: requests.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def documented(endpoint: str) -> dict[str, Any]:
    """The body that the page on flavors sends to an endpoint."""
    page = (Path(__file__).parents[2] / "docs/howto/flavors.md").read_text()
    bodies = re.findall(r"```sh\ncurl [^']*-d '([^']*)' \\\n  \S*/serving-endpoints/([a-z]+)/invocations\"\n```", page)
    (body,) = (body for body, name in bodies if name == endpoint)
    document: dict[str, Any] = json.loads(body)
    return document


def near(values: Any, tolerance: float) -> Any:
    return pytest.approx(np.asarray(values), rel=tolerance, abs=tolerance)


def records(frame: pd.DataFrame) -> dict[str, Any]:
    return {"dataframe_records": frame.astype(object).where(frame.notna(), None).to_dict(orient="records")}


def split(frame: pd.DataFrame) -> dict[str, Any]:
    return {"dataframe_split": frame.to_dict(orient="split", index=False)}


def test_sklearn(stack: Stack, serve: Serve) -> None:
    model = LogisticRegression(max_iter=500).fit(FLOWERS, SPECIES)
    signature = infer_signature(FLOWERS, model.predict(FLOWERS))
    labels, chances = (
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=signature,
            pyfunc_predict_fn=function,
            serialization_format="cloudpickle",
            registered_model_name="sklearn",
            pip_requirements=["scikit-learn"],
        )
        for function in ("predict", "predict_proba")
    )
    serve("sklearn", labels=labels, chances=chances)
    some = FLOWERS[::10]
    assert predictions(stack.ask("sklearn", records(some))) == model.predict(some).tolist()
    assert predictions(stack.ask("sklearn", split(some))) == model.predict(some).tolist()
    assert predictions(stack.ask("sklearn", documented("sklearn"))) == [0]
    columns = {"inputs": some.to_dict(orient="list")}
    assert np.array(predictions(stack.ask("sklearn", columns, "chances"))) == near(model.predict_proba(some), FLOAT64)


def test_sklearn_pipeline_with_text_dates_and_missing_values(stack: Stack, serve: Serve) -> None:
    customers = pd.DataFrame(
        {
            "city": ["Gdynia", "Oslo", None, "Porto", "Oslo", "Gdynia"] * 5,
            "age": [31.0, None, 58.5, 22.0, 47.0, None] * 5,
            "joined": pd.to_datetime(["2024-02-29", "2025-06-01", None, "2023-12-24", "2026-01-05", None] * 5),
        }
    )
    left = [0, 1, 1, 0, 1, 0] * 5

    days = FunctionTransformer(lambda dates: (dates - pd.Timestamp("2023-01-01")) / pd.Timedelta(days=1))
    columns = ColumnTransformer(
        [
            ("city", OneHotEncoder(handle_unknown="ignore"), ["city"]),
            ("age", SimpleImputer(add_indicator=True), ["age"]),
            ("joined", make_pipeline(days, SimpleImputer()), ["joined"]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=2000)).fit(customers, left)
    info = mlflow.sklearn.log_model(
        model,
        name="model",
        signature=infer_signature(customers, np.array(left)),
        serialization_format="cloudpickle",
        pyfunc_predict_fn="predict_proba",
        registered_model_name="pipeline",
        pip_requirements=["scikit-learn"],
    )
    serve("pipeline", model=info)
    asked = records(customers.head(6).assign(joined=customers["joined"].dt.strftime("%Y-%m-%dT%H:%M:%S")))
    assert asked["dataframe_records"][0] == {"city": "Gdynia", "age": 31.0, "joined": "2024-02-29T00:00:00"}
    assert asked["dataframe_records"][2] == {"city": None, "age": 58.5, "joined": None}
    expected = model.predict_proba(customers.head(6))
    assert np.array(predictions(stack.ask("pipeline", asked))) == near(expected, FLOAT64)
    stranger = documented("pipeline")
    frame = pd.DataFrame(stranger["dataframe_records"]).astype({"age": float, "joined": "datetime64[ns]"})
    assert np.array(predictions(stack.ask("pipeline", stranger))) == near(model.predict_proba(frame), FLOAT64)


def test_text_classifier_with_one_string_column(stack: Stack, serve: Serve) -> None:
    """Posts of a social network, sorted by what they are about to do."""
    posts = pd.DataFrame(
        {
            "text": [
                "what a lovely morning at the lake",
                "thank you all for the birthday wishes",
                "my tomatoes are finally ripe",
                "nobody likes you, get lost",
                "you are a stupid clown and everyone knows",
                "only an idiot would post such rubbish",
                "wait until I find you after school",
                "we will smash their windows tonight",
                "he deserves a good beating",
            ]
        }
    )
    intents = ["harmless"] * 3 + ["toxic"] * 3 + ["violent"] * 3
    words = ColumnTransformer([("words", TfidfVectorizer(ngram_range=(1, 2)), "text")])
    model = make_pipeline(words, LogisticRegression(C=10.0)).fit(posts, intents)
    info = mlflow.sklearn.log_model(
        model,
        name="model",
        signature=infer_signature(posts, np.array(intents)),
        serialization_format="cloudpickle",
        registered_model_name="intents",
        pip_requirements=["scikit-learn"],
    )
    serve("intents", model=info)
    new = ["thank you for the lovely tomatoes", "you stupid idiot", "I will find and smash you"]
    told = predictions(stack.ask("intents", {"dataframe_records": [{"text": text} for text in new]}))
    assert told == model.predict(pd.DataFrame({"text": new})).tolist() == ["harmless", "toxic", "violent"]
    assert predictions(stack.ask("intents", {"inputs": {"text": new}})) == told
    assert predictions(stack.ask("intents", {"inputs": new})) == told
    assert predictions(stack.ask("intents", documented("intents"))) == ["harmless", "toxic"]
    csv = pd.DataFrame({"text": new}).to_csv(index=False)
    answer = requests.post(
        f"{stack.url}/serving-endpoints/intents/invocations",
        csv,
        headers={**stack.headers, "content-type": "text/csv"},
        timeout=30,
    )
    assert predictions(answer) == told


def test_xgboost(stack: Stack, serve: Serve) -> None:
    xgboost = pytest.importorskip("xgboost", reason="needs the extra 'xgboost'")
    classifier = xgboost.XGBClassifier(n_estimators=8, n_jobs=1).fit(FLOWERS, SPECIES)
    booster = xgboost.train(
        {"objective": "reg:squarederror", "nthread": 1}, xgboost.DMatrix(PATIENTS, PROGRESS), num_boost_round=8
    )
    serve(
        "xgboost",
        classifier=mlflow.xgboost.log_model(
            classifier,
            name="model",
            signature=infer_signature(FLOWERS, classifier.predict(FLOWERS)),
            registered_model_name="xgboost",
            pip_requirements=["xgboost-cpu"],
        ),
        booster=mlflow.xgboost.log_model(
            booster,
            name="model",
            signature=infer_signature(PATIENTS, booster.predict(xgboost.DMatrix(PATIENTS))),
            registered_model_name="xgboost",
            pip_requirements=["xgboost-cpu"],
        ),
    )
    some = FLOWERS[::10]
    assert predictions(stack.ask("xgboost", records(some))) == classifier.predict(some).tolist()
    assert predictions(stack.ask("xgboost", documented("xgboost"))) == [0, 2]
    some = PATIENTS[::40].copy()
    some.iloc[0, 2] = None  # the library's own business: trees know a way for what is missing
    expected = booster.predict(xgboost.DMatrix(some)).tolist()
    assert records(some)["dataframe_records"][0]["bmi"] is None
    assert predictions(stack.ask("xgboost", records(some), "booster")) == expected


def test_lightgbm(stack: Stack, serve: Serve) -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="needs the extra 'lightgbm'")
    options = {"verbosity": -1, "num_threads": 1}
    classifier = lightgbm.LGBMClassifier(n_estimators=8, **options).fit(FLOWERS, SPECIES)
    booster = lightgbm.train({"objective": "regression", **options}, lightgbm.Dataset(PATIENTS, PROGRESS), 8)
    serve(
        "lightgbm",
        classifier=mlflow.lightgbm.log_model(
            classifier,
            name="model",
            signature=infer_signature(FLOWERS, classifier.predict(FLOWERS)),
            serialization_format="cloudpickle",
            registered_model_name="lightgbm",
            pip_requirements=["lightgbm"],
        ),
        booster=mlflow.lightgbm.log_model(
            booster,
            name="model",
            signature=infer_signature(PATIENTS, booster.predict(PATIENTS)),
            registered_model_name="lightgbm",
            pip_requirements=["lightgbm"],
        ),
    )
    some = FLOWERS[::10]
    assert predictions(stack.ask("lightgbm", records(some))) == classifier.predict(some).tolist()
    assert predictions(stack.ask("lightgbm", documented("lightgbm"))) == [0, 2]
    some = PATIENTS[::40]
    assert predictions(stack.ask("lightgbm", split(some), "booster")) == booster.predict(some).tolist()


def test_pytorch_with_a_tensor_signature(stack: Stack, serve: Serve) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra 'torch'")
    torch.manual_seed(7)
    inputs = torch.tensor(FLOWERS.to_numpy(), dtype=torch.float32)
    labels = torch.tensor(SPECIES.to_numpy())
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3
    info = mlflow.pytorch.log_model(
        model,
        name="model",
        signature=ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 4))]),
            outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 3))]),
        ),
        serialization_format="pickle",
        registered_model_name="pytorch",
        pip_requirements=["torch"],
    )
    serve("pytorch", model=info)
    some = inputs[::10]
    expected = model(some).detach().numpy()
    for key in ("inputs", "instances"):
        assert np.array(predictions(stack.ask("pytorch", {key: some.tolist()}))) == near(expected, FLOAT32)
    answer = predictions(stack.ask("pytorch", documented("pytorch")))
    assert np.argmax(answer, axis=1).tolist() == [0, 2]
    refused(
        stack.ask("pytorch", {"inputs": [[1.0, 2.0, 3.0]]}),
        400,
        "INVALID_PARAMETER_VALUE",
        "does not match expected shape",
    )
    refused(stack.ask("pytorch", {"inputs": [["a", "b", "c", "d"]]}), 400, "BAD_REQUEST", "could not convert")


def test_onnx(stack: Stack, serve: Serve) -> None:
    pytest.importorskip("onnx", reason="needs the extra 'onnx'")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    skl2onnx = pytest.importorskip("skl2onnx", reason="makes the model of this test")
    trained = LinearRegression().fit(FLOWERS.to_numpy(np.float32), SPECIES)
    model = skl2onnx.to_onnx(trained, FLOWERS.to_numpy(np.float32)[:1])
    info = mlflow.onnx.log_model(
        model,
        name="model",
        signature=ModelSignature(inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 4))])),
        registered_model_name="onnx",
        pip_requirements=["onnx", "onnxruntime"],
    )
    serve("onnx", model=info)
    some = FLOWERS.to_numpy(np.float32)[::10]
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (expected,) = session.run(None, {"X": some})
    answer = predictions(stack.ask("onnx", {"inputs": some.tolist()}))
    assert list(answer) == ["variable"]
    assert np.array(answer["variable"]) == near(expected, FLOAT32)
    assert expected[:, 0] == near(trained.predict(some), FLOAT32)
    answer = predictions(stack.ask("onnx", documented("onnx")))
    assert np.round(answer["variable"], 0).ravel().tolist() == [0, 2]


def test_statsmodels(stack: Stack, serve: Serve) -> None:
    statsmodels = pytest.importorskip("statsmodels.api", reason="needs the extra 'statsmodels'")
    model = statsmodels.OLS(SPECIES, statsmodels.add_constant(FLOWERS)).fit()
    frame = statsmodels.add_constant(FLOWERS)[::10]
    info = mlflow.statsmodels.log_model(
        model,
        name="model",
        signature=infer_signature(frame, model.predict(frame)),
        registered_model_name="statsmodels",
        pip_requirements=["statsmodels"],
    )
    serve("statsmodels", model=info)
    answer = predictions(stack.ask("statsmodels", split(frame)))
    assert [list(row) for row in answer] == [["0"]] * len(frame)  # the flavor makes a table of the library's series
    assert [row["0"] for row in answer] == near(model.predict(frame), FLOAT64)
    (row,) = predictions(stack.ask("statsmodels", documented("statsmodels")))
    assert [row["0"]] == near(model.predict(frame[:1]), FLOAT64)


def test_custom_model_with_params_and_an_artifact(stack: Stack, serve: Serve, tmp_path: Path) -> None:
    class Prices(mlflow.pyfunc.PythonModel):
        def load_context(self, context):
            self.prices = json.loads(Path(context.artifacts["prices"]).read_text())

        def predict(self, context, model_input, params=None):
            factor = 1 - params["discount"]
            total = model_input["item"].map(self.prices) * model_input["count"] * factor
            return pd.DataFrame({"total": total, "currency": params["currency"]})

    prices = {"apple": 0.5, "melon": 3.25}
    (tmp_path / "prices.json").write_text(json.dumps(prices))
    signature = ModelSignature(
        inputs=Schema([ColSpec(DataType.string, "item"), ColSpec(DataType.long, "count")]),
        params=ParamSchema(
            [ParamSpec("discount", DataType.double, 0.0), ParamSpec("currency", DataType.string, "EUR")]
        ),
    )
    info = mlflow.pyfunc.log_model(
        name="model",
        python_model=Prices(),
        artifacts={"prices": str(tmp_path / "prices.json")},
        signature=signature,
        registered_model_name="prices",
        pip_requirements=["mlflow"],
    )
    serve("prices", model=info)
    body = {"dataframe_records": [{"item": "apple", "count": 4}, {"item": "melon", "count": 2}]}
    assert predictions(stack.ask("prices", body)) == [
        {"total": 2.0, "currency": "EUR"},
        {"total": 6.5, "currency": "EUR"},
    ]
    discounted = {**body, "params": {"discount": 0.5, "currency": "NOK", "unknown": 1}}
    assert predictions(stack.ask("prices", discounted)) == [
        {"total": 1.0, "currency": "NOK"},
        {"total": 3.25, "currency": "NOK"},
    ]
    assert predictions(stack.ask("prices", documented("prices"))) == [{"total": 1.0, "currency": "EUR"}]
    refused(stack.ask("prices", {**body, "params": {"discount": "half"}}), 400, "INVALID_PARAMETER_VALUE", "discount")


def test_model_logged_the_old_way(stack: Stack, serve: Serve) -> None:
    model = LinearRegression().fit(PATIENTS, PROGRESS)
    with mlflow.start_run():
        info = mlflow.sklearn.log_model(
            model,
            artifact_path="model",
            registered_model_name="old-way",
            serialization_format="pickle",
            pip_requirements=["scikit-learn"],
        )
    assert info.signature is None
    serve("old-way", model=info)
    some = PATIENTS[::40]
    for body in (records(some), split(some), {"inputs": some.to_numpy().tolist()}):
        assert predictions(stack.ask("old-way", body)) == near(model.predict(some), FLOAT64)


def test_models_without_signature_and_with_type_hints(stack: Stack, serve: Serve) -> None:
    class Telling(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input):
            told = {"type": type(model_input).__name__}
            match model_input:
                case np.ndarray():
                    told |= {"dtype": str(model_input.dtype), "shape": list(model_input.shape)}
                case pd.DataFrame():
                    told |= {"columns": list(model_input.columns), "rows": len(model_input)}
                case dict():
                    told |= {name: type(value).__name__ for name, value in model_input.items()}
            return told

    class Hinted(mlflow.pyfunc.PythonModel):
        def predict(self, model_input: list[str]) -> list[str]:
            return [text.upper() for text in model_input]

    serve(
        "untyped",
        telling=mlflow.pyfunc.log_model(
            name="model", python_model=Telling(), registered_model_name="untyped", pip_requirements=["mlflow"]
        ),
        hinted=mlflow.pyfunc.log_model(
            name="model", python_model=Hinted(), registered_model_name="untyped", pip_requirements=["mlflow"]
        ),
    )

    def told(body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = predictions(stack.ask("untyped", body))
        return answer

    array = {"type": "ndarray", "dtype": "int64", "shape": [2, 2]}
    assert told({"inputs": [[1, 2], [3, 4]]}) == array
    assert told({"instances": [[1, 2], [3, 4]]}) == array
    assert told({"inputs": {"a": [1, 2], "b": ["x", "y"]}}) == {"type": "dict", "a": "ndarray", "b": "ndarray"}
    frame = {"type": "DataFrame", "columns": ["a", "b"], "rows": 2}
    assert told({"dataframe_records": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]}) == frame
    assert told({"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"], [2, "y"]]}}) == frame

    assert predictions(stack.ask("untyped", {"inputs": ["a", "b"]}, "hinted")) == ["A", "B"]
    refused(stack.ask("untyped", {"inputs": [1]}, "hinted"), 400, "INVALID_PARAMETER_VALUE", "str")
    for key in ("instances", "dataframe_records"):
        refused(stack.ask("untyped", {key: ["a"]}, "hinted"), 400, "INVALID_PARAMETER_VALUE", "'inputs' key")
