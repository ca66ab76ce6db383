"""What the `MLmodel` file of a fetched model says: signature and traits, read without loading anything."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.model_traits import ModelTraits
from penstock.domain.served_entity import ModelVersion
from penstock.domain.signature import Signature
from penstock.stores.yaml_text import parse_yaml


def read_signature(artifacts: Path, model: ModelVersion) -> Signature:
    """The signature of a model version that has been fetched.

    Raises:
        InvalidParameterValue: it was logged without one, or its `MLmodel` file cannot be read.
    """
    try:
        logged = _document(artifacts / model.artifact_key).get("signature") or {}
        parts = {name: json.loads(logged.get(name) or "[]") for name in ("inputs", "outputs", "params")}
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as exc:
        raise InvalidParameterValue(f"The signature of {model.uri} cannot be read: {exc}.") from exc
    if not parts["inputs"]:
        raise InvalidParameterValue(f"{model.uri} was logged without a signature of its inputs.")
    return Signature(**parts)


def read_traits(artifacts: Path, model: ModelVersion) -> ModelTraits:
    """The traits of a model version; none of them if it has not been fetched or its file cannot be read."""
    return traits_in(artifacts / model.artifact_key)


def traits_in(folder: Path) -> ModelTraits:
    """The traits of the model in a folder; none of them if its file cannot be read."""
    try:
        document = _document(folder)
        task = (document.get("metadata") or {}).get("task")
        flavors = document.get("flavors") or {}
        function = flavors.get("python_function") or {}
        is_native = bool(flavors.keys() - {"python_function"})
        return ModelTraits(task if isinstance(task, str) else None, function.get("streamable") is True, is_native)
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        return ModelTraits()


@lru_cache(maxsize=1024)
def _document(folder: Path) -> dict[str, Any]:
    """The file of a model. A fetched model never changes; a file that cannot be read is not remembered."""
    document: dict[str, Any] = parse_yaml((folder / "MLmodel").read_text())
    return document
