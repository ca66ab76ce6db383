"""Which model a URI stands for when a run begins, and its files."""

from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.utils.models import _parse_model_uri, get_model_name_and_version

from penstock.domain.errors import InvalidParameterValue, PenstockError, ResourceDoesNotExist, TemporarilyUnavailable
from penstock.flavors.pyfunc import one_line, root_cause
from penstock.stores.artifacts import fetch, fetching_with, is_away

_MISSING = {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}
_REGISTERED = "models:"


@dataclass(frozen=True, slots=True)
class Registry:
    """Where models are found."""

    tracking_uri: str | None = None
    """None for what MLflow itself is set to."""
    token: str | None = None
    """What that server wants, if it is ours."""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What a URI stood for when it was looked up."""

    name: str
    """Of the registered model; of another, its URI."""
    version: str | None
    """None for one that is not registered."""


def fetch_identified(uri: str, folder: Path, registry: Registry) -> tuple[ModelIdentity, Path]:
    """Look up a model and fetch its files into a folder; an alias or stage is resolved once.

    Raises:
        ResourceDoesNotExist: there is no such model.
        InvalidParameterValue: the URI is none.
        TemporarilyUnavailable: the tracking server does not answer.
    """
    try:
        if Path(uri).is_dir():
            identity, found = ModelIdentity(uri, None), Path(uri)
        else:
            identity = _identified(uri, registry)
            exact = uri if identity.version is None else f"{_REGISTERED}/{identity.name}/{identity.version}"
            found = fetch(exact, folder, registry.tracking_uri, registry.token)
    except Exception as exc:
        raise _translated(uri, exc) from exc
    if not (found / "MLmodel").is_file():
        raise ResourceDoesNotExist(f"model: {uri} is no model: it has no file MLmodel.")
    return identity, found


def _identified(uri: str, registry: Registry) -> ModelIdentity:
    if not uri.startswith(_REGISTERED):
        return ModelIdentity(uri, None)
    parsed = _parse_model_uri(uri)
    if parsed.name is None:
        return ModelIdentity(uri, None)
    with fetching_with(registry.token):
        if registry.tracking_uri is not None:
            mlflow.set_tracking_uri(registry.tracking_uri)
        name, version = get_model_name_and_version(mlflow.MlflowClient(), uri)
        known = mlflow.MlflowClient().get_model_version(name, version)
    return ModelIdentity(str(known.name), str(known.version))


def _translated(uri: str, error: Exception) -> PenstockError:
    told = f"model: {uri}: {one_line(root_cause(error))}"
    if is_away(error):
        return TemporarilyUnavailable(told)
    if isinstance(error, FileNotFoundError):
        return ResourceDoesNotExist(told)
    if isinstance(error, MlflowException) and (
        error.error_code in _MISSING or "not found" in error.message or "No versions of model" in error.message
    ):
        return ResourceDoesNotExist(told)
    return InvalidParameterValue(told)
