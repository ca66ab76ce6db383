"""What is inside a loaded `PyFuncModel`."""

import sys
from dataclasses import dataclass
from typing import Any

from mlflow.pyfunc import PyFuncModel

from penstock.flavors.kernels.library import is_one_of

_VERSIONED = ("mlflow", "numpy", "scipy", "sklearn", "xgboost", "lightgbm", "onnxruntime")
_SKLEARN = {"mlflow.sklearn": ("_SklearnModelWrapper",)}
_BOOSTED = {"mlflow.xgboost": ("_XGBModelWrapper",), "mlflow.lightgbm": ("_LGBModelWrapper",)}
_ONNX = {"mlflow.onnx": ("_OnnxModelWrapper",)}
_LIBRARIES = {"builtins", "sklearn", "xgboost", "lightgbm", "numpy", "scipy", "pandas"}
_SEARCHES = {
    "sklearn.model_selection": (
        "GridSearchCV",
        "RandomizedSearchCV",
        "HalvingGridSearchCV",
        "HalvingRandomSearchCV",
    )
}


@dataclass(frozen=True, slots=True)
class Estimator:
    """What a native flavor's wrapper wraps, and which of its methods answers."""

    thing: Any
    """The estimator, booster or session; of a search, the best estimator, to which it delegates."""
    method: str
    """`predict`, `predict_proba`, …"""
    is_sklearn: bool
    """Whether scikit-learn's wrapper holds it."""
    is_probed: bool = True
    """Whether all its code is of libraries; that of its author may do more than predict, and gets no probes."""

    @property
    def name(self) -> str:
        """What answers, as in `SVC.predict`."""
        return f"{type(self.thing).__name__}.{self.method}"


def versions() -> str:
    """Of the libraries of models, as far as this process has imported them."""
    return ", ".join(f"{name} {version}" for name, version in _imported().items())


def has_versions(then: str) -> bool:
    """Whether what another process had imported is of the same versions here, as far as it is imported here.

    With a model loaded in both, what only one of them has imported is none of the model's.
    """
    now = _imported()
    known = dict(entry.split(" ", 1) for entry in then.split(", ")) if then else {}
    return bool(known) and all(now.get(name, version) == version for name, version in known.items())


def _imported() -> dict[str, str]:
    loaded = ((name, sys.modules.get(name)) for name in _VERSIONED)
    return {name: str(getattr(module, "__version__", "?")) for name, module in loaded if module is not None}


def estimator_of(model: PyFuncModel) -> Estimator | None:
    """The estimator of a model whose flavor is known; None for custom Python code and for all other flavors."""
    if type(model) is not PyFuncModel:
        return None
    wrapper, method = model._model_impl, model.metadata.flavors["python_function"].get("predict_fn", "predict")
    if is_one_of(wrapper, _SKLEARN):
        thing = wrapper.get_raw_model()
        best = getattr(thing, "best_estimator_", None) if is_one_of(thing, _SEARCHES) else None
        return Estimator(thing if best is None else best, method, is_sklearn=True, is_probed=_is_of_libraries(thing))
    if is_one_of(wrapper, _BOOSTED):
        return Estimator(wrapper.get_raw_model(), method, is_sklearn=False)
    if is_one_of(wrapper, _ONNX):
        return Estimator(wrapper, method, is_sklearn=False)
    return None


def _is_of_libraries(estimator: Any) -> bool:
    """Whether an estimator and all that it was given (steps, transformers, functions) are of libraries we know."""
    parts = [estimator, *getattr(estimator, "get_params", dict)().values()]
    return all(
        _root(part if callable(part) and hasattr(part, "__qualname__") else type(part)) in _LIBRARIES for part in parts
    )


def _root(code: Any) -> str:
    return (getattr(code, "__module__", None) or "builtins").partition(".")[0]
