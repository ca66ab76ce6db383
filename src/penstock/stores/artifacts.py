"""Models on disk: each version fetched once, whole or not at all.

A version's files are fetched into a folder of their own beside the final one and renamed when they are complete.
Two replicas that fetch the same version at once both succeed: the second finds the folder there and drops its own.
"""

import shutil
import tempfile
from pathlib import Path

import mlflow
import mlflow.artifacts

from penstock.domain.served_entity import ModelVersion
from penstock.faults import fault_point
from penstock.settings import PARTIAL_SUFFIX


def fetch_model(folder: Path, model: ModelVersion, tracking_uri: str) -> Path:
    """The local folder of a model version, fetched if it is not there yet.

    Args:
        folder: where fetched models are kept.
        model: which version.
        tracking_uri: the tracking server that knows it.

    Raises:
        OSError, mlflow.exceptions.MlflowException: it cannot be fetched or stored.
    """
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
