"""The fork server (zygote): a process in which all libraries of replicas are imported, and which forks replicas.

A replica that is forked here need not import anything but its model's own code. No code of a model ever runs here: the
warm-up loads and asks a small model of ours, so that what MLflow and pandas import late is imported too.

A fork copies one thread and the locks of all. So before the first fork this process must have a single thread; if an
import has started another, it says so and ends, and replicas are started afresh.

    supervisor --Fork--> zygote --Fork--> spare --Forked--> supervisor

A spare is forked ahead and waits for its work: the price of a fork of some hundred megabytes is not paid by who waits.
It is a grandchild whose parent has ended, so that the supervisor is its parent and it outlives the zygote.
"""

import contextlib
import fcntl
import gc
import importlib
import json
import os
import random
import shutil
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import mlflow.pyfunc
import msgspec
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from penstock.domain.environment import EnvManager, decide
from penstock.domain.prediction import Query
from penstock.flavors.pyfunc import load, root_cause
from penstock.processes import worker
from penstock.processes.launch import ZygoteLaunch, begin, report_failure, report_ready
from penstock.processes.model_environment import installed
from penstock.runtime.environments import Environments
from penstock.runtime.parent import die_with_parent
from penstock.settings import Home
from penstock.stores.model_requirements import read_needs
from penstock.wire.zygote import MAX_PACKET_BYTES, Forked, forks

_OFTEN_IMPORTED = (
    *("sklearn.calibration", "sklearn.cluster", "sklearn.compose", "sklearn.decomposition", "sklearn.ensemble"),
    *("sklearn.feature_extraction.text", "sklearn.feature_selection", "sklearn.impute", "sklearn.naive_bayes"),
    *("sklearn.neighbors", "sklearn.neural_network", "sklearn.pipeline", "sklearn.preprocessing", "sklearn.svm"),
    *("sklearn.tree", "mlflow.pyfunc.model", "mlflow.pyfunc.loaders.code_model", "pandas.core.methods.to_dict"),
)
"""What models ask for beyond the warm-up. Here it costs 6 MiB once; in a replica, 60 ms and 10 MiB each time."""
_OFTEN_REQUIRED = ("mlflow", "pandas", "numpy", "scipy", "cloudpickle", "pyarrow", "psutil")
_MAX_DESCRIPTORS = 64
_FIRST_FREE_DESCRIPTOR = 3
_ADOPTION_POLL_S = 0.0005


class Assignment(NamedTuple):
    """What a spare is to become: a packet, and the descriptors that came with it."""

    packet: bytes
    descriptors: list[int]


def main() -> None:
    """Warm up and fork replicas, until SIGTERM; each replica goes on from here."""
    launch = begin(ZygoteLaunch)
    home = Home(Path(launch.home))
    environment = Environments(home.environments).current()
    if environment is not None:
        environment.hold()
    try:
        _warm_up(home.run)
    except Exception as exc:  # noqa: BLE001 - libraries of a model's choice
        traceback.print_exc()
        report_failure(launch, f"Warming up failed: {root_cause(exc)}. Replicas start afresh.")
        sys.exit(1)
    threads = _threads()
    if threads > 1:
        report_failure(launch, f"Importing the libraries started {threads - 1} thread(s); replicas start afresh.")
        sys.exit(1)
    gc.collect()
    gc.freeze()
    report_ready(launch, environment="" if environment is None else environment.key)
    command = socket.socket(fileno=launch.command_fd)
    _become(_serve(command, launch.parent_pid), command)
    worker.main(is_forked=True)


def _warm_up(folder: Path) -> None:
    """Judge, load and ask a model once: one of scikit-learn or, where that is not installed, a plain one."""
    for module in _OFTEN_IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    work = Path(tempfile.mkdtemp(prefix="zygote-", dir=folder))
    signature = ModelSignature(inputs=Schema([ColSpec(DataType.double, "x")]))
    try:
        try:
            _save_sklearn(work / "model", signature)
        except ImportError:
            mlflow.pyfunc.save_model(
                str(work / "model"), loader_module=__name__, signature=signature, pip_requirements=["mlflow"]
            )
        decide(EnvManager.AUTO, read_needs(work / "model"), installed)
        for package in _OFTEN_REQUIRED:
            installed(package)
        load(work / "model").answer(Query(b'{"dataframe_records": [{"x": 1.0}]}'))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _save_sklearn(folder: Path, signature: ModelSignature) -> None:
    import mlflow.sklearn  # noqa: PLC0415 - environments of models need not have it
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    mlflow.sklearn.save_model(
        LogisticRegression().fit(pd.DataFrame({"x": [0.0, 1.0]}), [0, 1]),
        str(folder),
        signature=signature,
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
    )


class _Plain:
    """A model that gives back what it gets."""

    def predict(self, data: pd.DataFrame) -> pd.DataFrame:
        """The input."""
        return data


def _load_pyfunc(_path: str) -> _Plain:
    """By this name MLflow loads the model whose loader is this module."""
    return _Plain()


def _threads() -> int:
    with contextlib.suppress(OSError):
        return len(list(Path("/proc/self/task").iterdir()))
    return 1


def _serve(command: socket.socket, supervisor_pid: int) -> Assignment:
    """Keep a spare and hand it the next request; returns in a spare that has been given one, never in the zygote."""
    while True:
        own_end, spare_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if _fork_orphan():
            own_end.close()
            return _wait_for_work(spare_end, supervisor_pid)
        spare_end.close()
        packet, descriptors, _, _ = socket.recv_fds(command, MAX_PACKET_BYTES, _MAX_DESCRIPTORS)
        with own_end:
            socket.send_fds(own_end, [packet], descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _fork_orphan() -> bool:
    """Fork a grandchild whose parent ends at once; True in it."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return False
    if os.fork():
        os._exit(0)
    return True


def _wait_for_work(end: socket.socket, supervisor_pid: int) -> Assignment:
    os.setsid()
    while os.getppid() != supervisor_pid:  # our parent is about to end, then the supervisor adopts us
        time.sleep(_ADOPTION_POLL_S)
    die_with_parent(supervisor_pid)
    packet, descriptors, _, _ = socket.recv_fds(end, MAX_PACKET_BYTES, _MAX_DESCRIPTORS)
    if not packet:
        sys.exit(0)  # the zygote has ended
    return Assignment(packet, descriptors)


def _become(assignment: Assignment, command: socket.socket) -> None:
    """Take on the descriptors, environment and folder of the assignment, and nothing of the zygote's."""
    fork = forks.decode(assignment.packet)
    command.send(msgspec.json.encode(Forked(fork.id, os.getpid())))
    above = max(fork.descriptors) + 1
    kept = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, above) for descriptor in assignment.descriptors]
    command.detach()
    os.closerange(_FIRST_FREE_DESCRIPTOR, min(kept))
    for descriptor, wanted in zip(kept[1:], fork.descriptors, strict=True):
        os.dup2(descriptor, wanted)
        os.close(descriptor)
    with os.fdopen(kept[0]) as file:
        environment = json.load(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(fork.folder)
    time.tzset()
    sys.stdin = os.fdopen(0, closefd=False)
    random.seed()
    np.random.seed()


if __name__ == "__main__":
    main()
