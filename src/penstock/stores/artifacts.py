"""Models on disk: each version fetched once, whole or not at all.

A version's files are fetched into a folder of their own beside the final one and renamed when they are complete.
Two replicas that fetch the same version at once both succeed: the second finds the folder there and drops its own.
While the tracking server is away, as it is when a whole stack comes back, fetching waits for it.
"""

import logging
import shutil
import tempfile
import time
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


def fetch_model(folder: Path, model: ModelVersion, tracking_uri: str) -> Path:
    """The local folder of a model version, fetched if it is not there yet.

    Args:
        folder: where fetched models are kept.
        model: which version.
        tracking_uri: the tracking server that knows it.

    Raises:
        OSError, mlflow.exceptions.MlflowException: it cannot be fetched or stored, or the server stayed away.
    """
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return _fetch_once(folder, model, tracking_uri)
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


def _fetch_once(folder: Path, model: ModelVersion, tracking_uri: str) -> Path:
    target = folder / model.artifact_key
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{model.artifact_key}.", suffix=PARTIAL_SUFFIX, dir=folder))
    try:
        mlflow.set_tracking_uri(tracking_uri)  # of this whole process: `models:/` is resolved by nothing less
        fetched = mlflow.artifacts.download_artifacts(artifact_uri=model.uri, dst_path=str(partial))
        try:
            fault_point("artifact-before-rename")
            Path(fetched).rename(target)
            fault_point("artifact-after-rename")
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target
