"""Signatures of fetched models, read from the `MLmodel` file without loading anything."""

import json
from pathlib import Path

import yaml

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.served_entity import ModelVersion
from penstock.domain.signature import Signature


def read_signature(folder: Path, model: ModelVersion) -> Signature:
    """The signature of a model version that has been fetched.

    Raises:
        InvalidParameterValue: it was logged without one, or its `MLmodel` file cannot be read.
    """
    try:
        document = yaml.safe_load((folder / model.artifact_key / "MLmodel").read_text())
        logged = document.get("signature") or {}
        parts = {name: json.loads(logged.get(name) or "[]") for name in ("inputs", "outputs", "params")}
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as exc:
        raise InvalidParameterValue(f"The signature of {model.uri} cannot be read: {exc}.") from exc
    if not parts["inputs"]:
        raise InvalidParameterValue(f"{model.uri} was logged without a signature of its inputs.")
    return Signature(**parts)
