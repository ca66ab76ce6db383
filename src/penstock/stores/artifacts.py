"""Models on disk: each version fetched once, whole or not at all.

A version's files are fetched into a folder of their own beside the final one and renamed when they are complete.
Two replicas that fetch the same version at once both succeed: the second finds the folder there and drops its own.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow
import mlflow.artifacts

from penstock.domain.served_entity import ModelVersion
from penstock.settings import PARTIAL_SUFFIX


def fetch_model(folder: Path, model: ModelVersion, tracking_uri: str, token: str | None) -> Path:
    """The local folder of a model version, fetched if it is not there yet.

    Args:
        folder: where fetched models are kept.
        model: which version.
        tracking_uri: the tracking server that knows it.
        token: what that server wants, if it is ours.

    Raises:
        OSError, mlflow.exceptions.MlflowException: it cannot be fetched or stored.
    """
    target = folder / model.artifact_key
    if target.is_dir():
        with suppress(OSError):
            os.utime(target)  # in use: housekeeping leaves it alone
        return target
    folder.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{model.artifact_key}.", suffix=PARTIAL_SUFFIX, dir=folder))
    try:
        fetched = fetch(model.uri, partial, tracking_uri, token)
        try:
            fetched.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def fetch(uri: str, folder: Path, tracking_uri: str | None, token: str | None) -> Path:
    """Fetch whatever an artifact URI of MLflow's names into a folder; returns where it is.

    Raises:
        OSError, mlflow.exceptions.MlflowException: it cannot be fetched or stored.
    """
    with _fetching_with(token):
        if tracking_uri is not None:
            mlflow.set_tracking_uri(tracking_uri)  # of this whole process: `models:/` is resolved by nothing less
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))


@contextmanager
def _fetching_with(token: str | None) -> Iterator[None]:
    """While the model is fetched, and no longer, MLflow's client finds our token in the environment.

    Nor does what MLflow itself puts there stay: the name of the tracking server.
    """
    before = {name: os.environ.get(name) for name in ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_URI")}
    if token is not None:
        os.environ["MLFLOW_TRACKING_TOKEN"] = token
    try:
        yield
    finally:
        for name, value in before.items():
            if value is not None:
                os.environ[name] = value
            else:
                os.environ.pop(name, None)
