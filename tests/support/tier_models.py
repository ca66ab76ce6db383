"""Small models of every kind that has a predict tier, logged by MLflow and loaded again."""

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import msgspec
import numpy as np
import pandas as pd
import xgboost
from mlflow.models import ModelSignature, infer_signature
from mlflow.pyfunc import PyFuncModel, PythonModel, scoring_server
from mlflow.types import Schema, TensorSpec
from skl2onnx import to_onnx
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from penstock.flavors.compiled.compiling import compile_input
from penstock.flavors.compiled.ports import InputReader
from penstock.flavors.tiers.selection import Chosen, select

_rng = np.random.default_rng(4)
NAMES = ["a", "b", "c", "d", "e"]
ROWS = pd.DataFrame(_rng.normal(size=(120, 5)), columns=NAMES)
TWO = (ROWS.a + ROWS.b * ROWS.c > 0).astype(int)
TWELVE = pd.Series(np.digitize(ROWS.a + ROWS.b, np.linspace(-2, 2, 11)))
NUMBER = 2 * ROWS.a + ROWS.b + ROWS.c**2
WORDS = pd.Series(np.where(TWO > 0, "yes", "no"))
MIXED = ROWS.assign(a=(ROWS.a * 10).astype(np.int64), b=(ROWS.b * 10).astype(np.int32))
SINGLE = ROWS.astype(np.float32)
WHOLE = (ROWS * 10).astype(np.int64)

Save = Callable[[str], None]


def sklearn(estimator: Any, target: Any, method: str = "predict", rows: pd.DataFrame = ROWS) -> Save:
    def save(path: str) -> None:
        fitted = estimator.fit(rows, target)
        signature = infer_signature(rows, getattr(fitted, method)(rows))
        mlflow.sklearn.save_model(
            fitted,
            path,
            signature=signature,
            pyfunc_predict_fn=method,
            serialization_format="cloudpickle",
            pip_requirements=[],
        )

    return save


def boosted(flavor: Any, model: Callable[[], Any], rows: pd.DataFrame = ROWS) -> Save:
    return lambda path: flavor.save_model(model(), path, signature=infer_signature(rows), pip_requirements=[])


def xgb_booster(objective: str, target: Any, **params: Any) -> Callable[[], Any]:
    return lambda: xgboost.train({"objective": objective, **params}, xgboost.DMatrix(ROWS, target), 8)


def onnx(estimator: Any, target: Any, signature: ModelSignature, **options: Any) -> Save:
    def save(path: str) -> None:
        converted = to_onnx(estimator.fit(SINGLE.to_numpy(), target), SINGLE.to_numpy()[:1], options=options or None)
        mlflow.onnx.save_model(converted, path, signature=signature, pip_requirements=[])

    return save


class Doubles(PythonModel):
    """A model of its author's own."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return model_input["a"] * 2


TENSOR = ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, 5))]))
WITH_WORDS = ROWS.assign(word=WORDS)

KERNELS: dict[str, Save] = {
    "logistic": sklearn(LogisticRegression(), TWO),
    "logistic of words": sklearn(LogisticRegression(), WORDS),
    "logistic, probabilities": sklearn(LogisticRegression(), TWO, "predict_proba"),
    "multinomial": sklearn(LogisticRegression(), TWELVE),
    "multinomial, probabilities": sklearn(LogisticRegression(), TWELVE, "predict_proba"),
    "logistic of mixed columns": sklearn(LogisticRegression(), TWO, rows=MIXED),
    "logistic of single precision": sklearn(LogisticRegression(), TWO, "predict_proba", rows=SINGLE),
    "linear": sklearn(LinearRegression(), NUMBER),
    "linear of integers": sklearn(LinearRegression(), NUMBER, rows=WHOLE),
    "linear of two targets": sklearn(LinearRegression(), np.column_stack([NUMBER, TWO])),
    "ridge": sklearn(Ridge(), NUMBER),
    "lasso": sklearn(Lasso(alpha=0.5), NUMBER),
    "elastic net": sklearn(ElasticNet(alpha=0.1), NUMBER),
    "sgd": sklearn(SGDClassifier(loss="log_loss", random_state=0), TWELVE, "predict_proba"),
    "sgd regressor": sklearn(SGDRegressor(random_state=0), NUMBER),
    "linear svc": sklearn(LinearSVC(), TWELVE),
    "linear svr": sklearn(LinearSVR(), NUMBER),
    "scaled logistic": sklearn(make_pipeline(StandardScaler(), LogisticRegression()), TWO, "predict_proba"),
    "scaled multinomial": sklearn(make_pipeline(MinMaxScaler(), "passthrough", LogisticRegression()), TWELVE),
    "scaled forest": sklearn(make_pipeline(StandardScaler(), RandomForestClassifier(9, random_state=0)), TWO),
    "searched": sklearn(GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2), NUMBER),
    "forest": sklearn(RandomForestClassifier(20, random_state=0, n_jobs=2), TWO),
    "forest, probabilities": sklearn(RandomForestClassifier(20, random_state=0), TWELVE, "predict_proba"),
    "forest of mixed columns": sklearn(RandomForestClassifier(20, random_state=0), TWO, rows=MIXED),
    "forest regressor": sklearn(RandomForestRegressor(20, random_state=0), NUMBER),
    "extra trees": sklearn(ExtraTreesClassifier(20, random_state=0), WORDS),
    "extra trees regressor": sklearn(ExtraTreesRegressor(20, random_state=0), NUMBER),
    "tree": sklearn(DecisionTreeClassifier(random_state=0), TWELVE),
    "tree regressor": sklearn(DecisionTreeRegressor(random_state=0), NUMBER),
    "boosting": sklearn(GradientBoostingClassifier(n_estimators=20, random_state=0), TWO),
    "boosting, probabilities": sklearn(GradientBoostingClassifier(n_estimators=5), TWELVE, "predict_proba"),
    "boosting regressor": sklearn(GradientBoostingRegressor(n_estimators=20, random_state=0), NUMBER),
    "hist boosting": sklearn(HistGradientBoostingClassifier(max_iter=15, min_samples_leaf=4), TWO),
    "hist boosting, probabilities": sklearn(HistGradientBoostingClassifier(max_iter=5), TWELVE, "predict_proba"),
    "hist boosting regressor": sklearn(HistGradientBoostingRegressor(max_iter=15, min_samples_leaf=4), NUMBER),
    "xgboost": boosted(mlflow.xgboost, lambda: xgboost.XGBClassifier(n_estimators=10).fit(ROWS, TWO)),
    "xgboost of mixed columns": boosted(
        mlflow.xgboost, lambda: xgboost.XGBRegressor(n_estimators=10).fit(MIXED, NUMBER), MIXED
    ),
    "xgboost as scikit-learn": sklearn(xgboost.XGBClassifier(n_estimators=10), TWELVE, "predict_proba"),
    "xgboost regressor": boosted(mlflow.xgboost, lambda: xgboost.XGBRegressor(n_estimators=10).fit(ROWS, NUMBER)),
    "xgboost booster": boosted(mlflow.xgboost, xgb_booster("binary:logistic", TWO)),
    "xgboost booster of classes": boosted(mlflow.xgboost, xgb_booster("multi:softprob", TWELVE, num_class=12)),
    "lightgbm": boosted(
        mlflow.lightgbm, lambda: lightgbm.LGBMClassifier(n_estimators=10, verbose=-1, n_jobs=1).fit(ROWS, WORDS)
    ),
    "lightgbm as scikit-learn": sklearn(
        lightgbm.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1), TWELVE, "predict_proba"
    ),
    "lightgbm regressor": boosted(
        mlflow.lightgbm, lambda: lightgbm.LGBMRegressor(n_estimators=10, verbose=-1, n_jobs=1).fit(MIXED, NUMBER), MIXED
    ),
    "lightgbm booster": boosted(
        mlflow.lightgbm, lambda: lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(ROWS, NUMBER), 10)
    ),
    "onnx": onnx(LinearRegression(), NUMBER, infer_signature(ROWS)),
    "onnx forest": onnx(RandomForestClassifier(9, random_state=0), TWO, infer_signature(ROWS)),
    "onnx of tensors": onnx(LogisticRegression(), TWO, TENSOR, zipmap=False),
    "logistic of tensors": lambda path: mlflow.sklearn.save_model(
        LogisticRegression().fit(SINGLE.to_numpy(), TWO),
        path,
        signature=TENSOR,
        serialization_format="cloudpickle",
        pip_requirements=[],
    ),
}
ARRAYS: dict[str, Save] = {
    "neighbours": sklearn(KNeighborsClassifier(), TWELVE),
    "svc": sklearn(SVC(), TWELVE),
    "scaled neighbours": sklearn(make_pipeline(StandardScaler(), KNeighborsClassifier()), TWO, "predict_proba"),
}
FRAMES: dict[str, Save] = {
    "words": sklearn(
        make_pipeline(
            ColumnTransformer(
                [("word", OneHotEncoder(handle_unknown="ignore"), ["word"]), ("n", StandardScaler(), NAMES)]
            ),
            LogisticRegression(),
        ),
        TWO,
        rows=WITH_WORDS,
    ),
    "columns by name": sklearn(make_pipeline(ColumnTransformer([("n", StandardScaler(), NAMES)]), Ridge()), NUMBER),
    "linear booster": boosted(mlflow.xgboost, xgb_booster("reg:squarederror", NUMBER, booster="gblinear")),
    "custom": lambda path: mlflow.pyfunc.save_model(
        path, python_model=Doubles(), signature=infer_signature(ROWS), pip_requirements=[]
    ),
}
WHOLE_WAY: dict[str, Save] = {
    "no signature": lambda path: mlflow.sklearn.save_model(
        LinearRegression().fit(ROWS, NUMBER), path, serialization_format="cloudpickle", pip_requirements=[]
    ),
}
ALL = KERNELS | ARRAYS | FRAMES | WHOLE_WAY


@dataclass(frozen=True)
class Loaded:
    """A model as a replica has it."""

    model: PyFuncModel
    reader: InputReader | None
    chosen: Chosen

    def body(self, rows: Sequence[Sequence[Any]]) -> bytes:
        schema = self.model.metadata.get_input_schema()
        if schema is None or schema.is_tensor_spec():
            return msgspec.json.encode({"inputs": rows})
        return msgspec.json.encode({"dataframe_split": {"columns": schema.input_names(), "data": rows}})

    def by_mlflow(self, body: bytes) -> Any:
        """What MLflow's scorer has before it makes JSON of it."""
        schema = self.model.metadata.get_input_schema()
        parsed = scoring_server._parse_json_data(body, self.model.metadata, schema)
        return self.model.predict(parsed.data, params=parsed.params)


def saved(save: Save, folder: Path) -> PyFuncModel:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save(str(folder))
        return mlflow.pyfunc.load_model(str(folder))


@functools.cache
def loaded(name: str, folder: Path) -> Loaded:
    """One of the models, made once."""
    model = saved(ALL[name], folder / name)
    reader = compile_input(model.metadata)
    return Loaded(model, reader, select(model, reader))
