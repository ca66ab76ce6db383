"""The process of one attempt at a task of a job. It becomes what it is to run, or runs a notebook itself."""

import logging
import os
import sys
from pathlib import Path

from penstock.notebook.execution import Notebook
from penstock.processes.launch import TaskLaunch, begin, forget_instructions, report_ready
from penstock.runtime.job_files import AttemptFiles, JobFiles
from penstock.settings import Home


def main() -> None:
    """Do what the launch document says."""
    launch = begin(TaskLaunch)
    forget_instructions()
    report_ready(launch)
    os.close(launch.status_fd)  # it is the supervisor's ear, and not for what a user has run here
    spec, files = launch.spec, AttemptFiles(Path(launch.folder))
    if spec.python:
        os.execv(sys.executable, [sys.executable, *spec.python])  # noqa: S606 - what a job is for
    if spec.batch:
        command = [sys.executable, "-P", "-m", "penstock", "batch", *_batch_arguments(launch), "--json"]
        with files.batch.open("wb") as summary:
            os.dup2(summary.fileno(), 1)
        os.execv(sys.executable, command)  # noqa: S606 - our own module
    logging.root.handlers.clear()  # what a notebook logs is its own business
    logging.root.setLevel(logging.WARNING)
    workspace = Path(spec.workspace) if spec.workspace else None
    outcome = Notebook(Path(spec.notebook), spec.parameters, workspace).run()
    files.write_result(outcome.document())
    sys.stdout.flush()
    sys.exit(1 if outcome.error else 0)


def _batch_arguments(launch: TaskLaunch) -> list[str]:
    """A batch run that an earlier attempt has begun is gone on with, so that no row comes twice; else one is begun."""
    spec, home = launch.spec, Home(Path(launch.home))
    for attempt_id in reversed(spec.earlier):
        run_id = JobFiles(home.jobs).attempt(spec.run_id, attempt_id).batch_run()
        if run_id is not None and (home.batch / run_id).is_dir():
            return ["resume", run_id]
    return ["run", *spec.batch]


if __name__ == "__main__":
    main()
