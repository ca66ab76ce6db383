"""What child processes inherit from the environment of `penstock up`, and the mark by which strays are known."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import psutil

from penstock import faults
from penstock.domain.devices import VISIBLE
from penstock.processes.launch import EnvironmentSettings
from penstock.processes.package_indexes import build_variables, pip_files, pip_options
from penstock.settings import Home, Settings

_MARK = "PENSTOCK_SUPERVISED_HOME"
_PASSED_TO_REPLICAS = frozenset(
    (
        *("PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR"),
        *("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
        faults.VARIABLE,
    )
)
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_ARENA_MAX": "2"}
"""Large buffers go back to the system when they are freed. glibc would raise its own thresholds after the first body of
16 MiB and keep such buffers: a gateway grew by 94 MiB over a million fuzzed requests, a replica with threads by 57."""
_ONE_THREAD = dict.fromkeys(
    (
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
        *("NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS", "LOKY_MAX_CPU_COUNT"),
        *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    ),
    "1",
)
"""One replica, one core: numeric libraries would else start a thread a core in every replica. PyTorch, XGBoost,
LightGBM and scikit-learn go by the first of them; `n_jobs=-1` by that for loky."""
_PASSED_TO_TASKS = (VISIBLE, *_ONE_THREAD, "JAVA_HOME", "SPARK_HOME", "HADOOP_HOME")
_FETCH_CREDENTIALS = ("MLFLOW_", "AWS_", "AZURE_", "GOOGLE_")
_KEPT_FROM_CHILDREN = ("MLFLOW_TRACKING_", "MLFLOW_REGISTRY_URI", "DATABRICKS_")


def system_environment(environment: Mapping[str, str], home: Home) -> dict[str, str]:
    """What gateways, the control plane and the MLflow server inherit: nothing that would point them elsewhere."""
    kept = {name: value for name, value in environment.items() if not name.startswith(_KEPT_FROM_CHILDREN)}
    return {
        **kept,
        **_MALLOC,
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        _MARK: str(home.path),
    }


def replica_environment(
    environment: Mapping[str, str], home: Home, own: Mapping[str, str], *, with_credentials: bool
) -> dict[str, str]:
    """A replica inherits no secret: only what programs need to run at all, and its own variables.

    It sees no GPU unless its own variables name some.

    With a tracking server of somebody else, the credentials of that server and its artifact store must come along,
    because the replica fetches its model from there.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name in _PASSED_TO_REPLICAS
        or name.startswith("LC_")
        or (with_credentials and name.startswith(_FETCH_CREDENTIALS))
    }
    return {
        **kept,
        **_MALLOC,
        **_ONE_THREAD,
        VISIBLE: "",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **own,
        _MARK: str(home.path),
    }


def task_environment(environment: Mapping[str, str], home: Home, own: Mapping[str, str]) -> dict[str, str]:
    """What a task of a job inherits: what a replica does, and the credentials of artifact stores, where models lie.

    It may use all cores and devices, and the stack that runs it.
    """
    kept = {name: value for name, value in environment.items() if name in _PASSED_TO_TASKS}
    found = replica_environment(environment, home, {}, with_credentials=True)
    for name in (*_ONE_THREAD, VISIBLE):
        del found[name]
    found = {name: value for name, value in found.items() if not name.startswith(_KEPT_FROM_CHILDREN)}
    return {**found, **kept, "PENSTOCK_HOME": str(home.path), **own}


def environment_settings(
    environment: Mapping[str, str], settings: Settings, folder: Path | None = None
) -> EnvironmentSettings:
    """How environments of models are built, with what the user has configured for uv or pip.

    They are kept in the home folder unless another is given.
    """
    variables = build_variables(environment, pip_options(pip_files(environment)))
    return EnvironmentSettings(
        folder=str(settings.home.environments if folder is None else folder),
        manager=settings.env_manager,
        wheelhouse=None if settings.wheelhouse is None else str(settings.wheelhouse),
        variables={**variables, _MARK: str(settings.home.path)},
    )


def lone_environment(
    environment: Mapping[str, str], own: Mapping[str, str], *, is_tracking_told: bool
) -> dict[str, str]:
    """For a model that is checked outside a stack: a replica's, without the mark, with what is needed to fetch it.

    The tracking server of the environment comes along unless the process is told another.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if not (is_tracking_told and name.startswith(_KEPT_FROM_CHILDREN))
    }
    found = replica_environment(kept, Home(Path()), own, with_credentials=True)
    del found[_MARK]
    return found


def kill_leftovers(home: Home) -> None:
    """End what a supervisor that was killed hard could not take along: processes that bear this home's mark."""
    mark = str(home.path)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(_MARK) == mark:
                process.kill()
