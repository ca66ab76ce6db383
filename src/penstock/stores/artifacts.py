"""Models on disk: each version fetched once, whole or not at all.

A version's files are fetched into a folder of their own beside the final one and renamed when they are complete.
Two replicas that fetch the same version at once both succeed: the second finds the folder there and drops its own.
While the tracking server is away, as it is when a whole stack comes back, fetching waits for it.
"""

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow
import mlflow.artifacts
import requests
from mlflow.exceptions import MlflowException

from penstock.domain.served_entity import ModelVersion
from penstock.faults import fault_point
from penstock.settings import PARTIAL_SUFFIX

_PATIENCE_S = 60.0
_ASK_AGAIN_S = 1.0

_log = logging.getLogger(__name__)


def fetch_model(folder: Path, model: ModelVersion, tracking_uri: str, token: str | None) -> Path:
    """The local folder of a model version, fetched if it is not there yet.

    Args:
        folder: where fetched models are kept.
        model: which version.
        tracking_uri: the tracking server that knows it.
        token: what that server wants, if it is ours.

    Raises:
        OSError, mlflow.exceptions.MlflowException: it cannot be fetched or stored, or the server stayed away.
    """
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return _fetch_once(folder, model, tracking_uri, token)
        except MlflowException as exc:
            if not is_away(exc) or time.monotonic() > deadline_s:
                raise
            _log.warning("the tracking server is away, and is asked again: %s", exc)
        time.sleep(_ASK_AGAIN_S)


def is_away(error: BaseException) -> bool:
    """Whether a server did not answer at all, or said that it cannot now: it may come back."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, requests.ConnectionError | requests.Timeout | requests.exceptions.RetryError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _fetch_once(folder: Path, model: ModelVersion, tracking_uri: str, token: str | None) -> Path:
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
            fault_point("artifact-before-rename")
            fetched.rename(target)
            fault_point("artifact-after-rename")
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
    with fetching_with(token):
        if tracking_uri is not None:
            mlflow.set_tracking_uri(tracking_uri)  # of this whole process: `models:/` is resolved by nothing less
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))


@contextmanager
def fetching_with(token: str | None) -> Iterator[None]:
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
