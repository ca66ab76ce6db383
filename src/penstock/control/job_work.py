"""From a task of a run to what its process is told: references replaced, files found."""

from collections.abc import Callable, Mapping
from pathlib import Path

from penstock.domain.jobs.job import BatchWork, Task
from penstock.domain.jobs.references import Context, resolved
from penstock.domain.jobs.run import Attempt, Run
from penstock.domain.jobs.task_spec import TaskSpec

_SCHEMES = ("file:", "dbfs:", "s3:", "gs:", "abfss:", "http:", "https:")
_WORKSPACE = "Workspace/"


class CannotWork(Exception):
    """A task cannot be started; the message says why."""


def spec_of(run: Run, attempt: Attempt, workspace: Path | None) -> TaskSpec:
    """What the process of an attempt is to be told.

    Raises:
        CannotWork: its file is not there.
    """
    task = run.task(attempt.task_key)
    context = _context(run, attempt)

    def text(raw: str) -> str:
        return resolved(raw, context)

    environment = {
        "PENSTOCK_JOB_ID": str(run.job_id or ""),
        "PENSTOCK_JOB_RUN_ID": str(run.id),
        "PENSTOCK_TASK_RUN_ID": str(attempt.id),
        "PENSTOCK_TASK_KEY": attempt.task_key,
    }
    python: tuple[str, ...] = ()
    batch: tuple[str, ...] = ()
    notebook = ""
    if task.python is not None:
        given = run.overrides.python
        parameters = tuple(map(text, task.python.parameters)) if given is None else given
        python = (str(_located(text(task.python.file), workspace, ("",))), *parameters)
    elif task.notebook is not None:
        notebook = str(_located(text(task.notebook.path), workspace, ("", ".py")))
    elif task.batch is not None:
        batch = tuple(map(text, arguments_of(task.batch)))
    return TaskSpec(
        run.id,
        attempt.id,
        python,
        notebook,
        batch,
        tuple(other.id for other in run.attempts if other.task_key == task.key and other.id != attempt.id),
        _widgets(run, task, text),
        str(workspace or ""),
        environment,
    )


def arguments_of(batch: BatchWork) -> list[str]:
    """The arguments of `penstock batch run` for a batch task."""
    return [
        *("--model", batch.model, "--source", batch.source, "--target", batch.target, "--mode", batch.mode),
        *(part for key in batch.keys for part in ("--key", key)),
        *("--engine", batch.engine, "--on-error", batch.on_error),
        *batch.options,
    ]


def _widgets(run: Run, task: Task, text: Callable[[str], str]) -> Mapping[str, str]:
    """A notebook's own parameters, those that were given for the run over them, and the job's over all."""
    if task.notebook is None:
        return {}
    own = {text(name): text(value) for name, value in task.notebook.parameters.items()}
    return {**own, **run.overrides.notebook, **run.parameters}


def _context(run: Run, attempt: Attempt) -> Context:
    return Context(
        job_id=run.job_id or 0,
        job_name=run.name,
        run_id=run.id,
        trigger=run.trigger.value,
        started_at_ms=run.started_at_ms or run.created_at_ms,
        due_at_ms=run.due_at_ms or run.created_at_ms,
        task_key=attempt.task_key,
        task_run_id=attempt.id,
        execution_count=attempt.number,
        parameters=run.parameters,
        tasks={
            key: {
                "result_state": other.result.value.lower(),
                "run_id": str(other.id),
                "execution_count": str(other.number + 1),
            }
            for key, other in run.latest.items()
            if other.result is not None
        },
    )


def _located(path: str, workspace: Path | None, endings: tuple[str, ...]) -> Path:
    """The file that a path stands for: in the workspace if there is one, else on this machine."""
    if path.startswith(_SCHEMES[1:]):
        raise CannotWork(f"'{path[:200]}' is not on this machine; wanted a path.")
    plain = path.removeprefix(_SCHEMES[0])
    if workspace is None and not plain.startswith("/"):
        raise CannotWork(f"'{path[:200]}' is no absolute path, and there is no PENSTOCK_WORKSPACE to look for it in.")
    base = Path("/") if workspace is None else workspace
    inner = plain.lstrip("/")
    for candidate in (base / f"{inner.removeprefix(_WORKSPACE) if workspace else inner}{end}" for end in endings):
        found = candidate.resolve()
        if workspace is not None and not found.is_relative_to(workspace):
            raise CannotWork(f"'{path[:200]}' leads out of the workspace {workspace}.")
        if found.is_file():
            return found
    raise CannotWork(f"There is no file '{path[:200]}'" + (f" in {workspace}." if workspace else " on this machine."))
