"""`penstock jobs`: list, show, create, update, delete, run, runs, logs, cancel, pause and resume."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.job_files import read_settings_file
from penstock.cli.session import (
    FAILED,
    NOT_FOUND,
    REFUSED,
    SOME_FAILED,
    TIMED_OUT,
    USAGE,
    CommandFailed,
    HomeOption,
    JsonOption,
    api_of,
    command,
    print_json,
    print_table,
    stderr,
)
from penstock.client.api import ApiClient

app = typer.Typer(no_args_is_help=True, help="Jobs: tasks that run when they are asked to, or on a schedule.")

NameArgument = Annotated[str, typer.Argument(help="Name or id of the job.", metavar="JOB", show_default=False)]
RunArgument = Annotated[int, typer.Argument(help="Id of the run, or of one task of it.", metavar="RUN")]
FileOption = Annotated[
    Path, typer.Option("--file", "-f", help="A YAML or JSON file with the settings, as the API takes them; - is stdin.")
]

_API = "/api/2.2/jobs"
_POLL_S = 0.3
_ENDED = frozenset({"TERMINATED", "SKIPPED", "INTERNAL_ERROR"})


@app.command("list")
@command
def list_jobs(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List jobs."""
    found = _all(api_of(home), "/list", "jobs", {"limit": 100})
    if as_json:
        print_json(found)
        return
    print_table(
        ("ID", "NAME", "SCHEDULE", "NEXT RUN", "OWNER"),
        [
            (
                job["job_id"],
                job["settings"]["name"],
                _schedule(job["settings"]),
                _time(job.get("penstock_next_run_time")),
                job["creator_user_name"],
            )
            for job in found
        ],
    )


@app.command()
@command
def show(name: NameArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show one job: its tasks, parameters and schedule."""
    job = _job(api_of(home), name)
    if as_json:
        print_json(job)
        return
    settings = job["settings"]
    print_table(
        ("JOB", f"{settings['name']} ({job['job_id']})"),
        [
            ("schedule", _schedule(settings)),
            ("next run", _time(job.get("penstock_next_run_time"))),
            ("runs at a time", settings["max_concurrent_runs"]),
            *((f"parameter {p['name']}", p["default"]) for p in settings.get("parameters", ())),
        ],
    )
    print_table(
        ("TASK", "DOES", "AFTER", "RETRIES"),
        [
            (
                task["task_key"],
                _work(task),
                ", ".join(other["task_key"] for other in task.get("depends_on", ())),
                task.get("max_retries", 0),
            )
            for task in settings["tasks"]
        ],
    )


@app.command()
@command
def create(file: FileOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Create a job from a file."""
    answer = api_of(home).call("POST", f"{_API}/create", read_settings_file(file))
    _tell(answer, f"Created job {answer['job_id']}.", as_json)


@app.command()
@command
def update(name: NameArgument, file: FileOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Replace all settings of a job by those of a file."""
    api = api_of(home)
    job_id = _job(api, name)["job_id"]
    api.call("POST", f"{_API}/reset", {"job_id": job_id, "new_settings": read_settings_file(file)})
    _tell({"job_id": job_id}, f"Updated job {job_id}.", as_json)


@app.command()
@command
def delete(name: NameArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Delete a job; its runs end."""
    api = api_of(home)
    job_id = _job(api, name)["job_id"]
    api.call("POST", f"{_API}/delete", {"job_id": job_id})
    _tell({"deleted": job_id}, f"Deleted job {job_id}.", as_json)


@app.command()
@command
def run(
    name: NameArgument,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", help="KEY=VALUE: a parameter of the job; may be given several times."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the run has ended.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="With --wait: seconds to wait.")] = 3600,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a job run now."""
    parameters = dict(map(_pair, param or ()))
    api = api_of(home)
    body = {"job_id": _job(api, name)["job_id"], **({"job_parameters": parameters} if parameters else {})}
    run_id = api.call("POST", f"{_API}/run-now", body)["run_id"]
    found = _wait(api, run_id, timeout) if wait else _run(api, run_id)
    if as_json:
        print_json(found)
    else:
        _show_run(found)
    if wait:
        _check(found)


@app.command()
@command
def runs(
    name: Annotated[
        str | None, typer.Argument(help="Name or id of a job; of all by default.", metavar="JOB", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many at most.")] = 20,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List runs, the newest first, missed ones among them."""
    api = api_of(home)
    query: dict[str, Any] = {"limit": min(limit, 25)}
    if name is not None:
        query["job_id"] = _job(api, name)["job_id"]
    found = _all(api, "/runs/list", "runs", query, limit)
    if as_json:
        print_json(found)
        return
    print_table(
        ("RUN", "JOB", "STATE", "BEGAN", "SECONDS", "MESSAGE"),
        [
            (
                one["run_id"],
                one["run_name"],
                _state(one),
                _time(one["start_time"]),
                f"{one['run_duration'] / 1000:.1f}" if "run_duration" in one else "",
                one["state"]["state_message"],
            )
            for one in found
        ],
    )


@app.command()
@command
def logs(
    run_id: RunArgument,
    task: Annotated[str | None, typer.Option("--task", help="Key of a task; all by default.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what the tasks of a run printed."""
    api = api_of(home)
    tasks = [one for one in _run(api, run_id)["tasks"] if task in (None, one["task_key"])]
    if not tasks:
        raise CommandFailed(
            f"Run {run_id} has no task '{task}'." if task else f"Run {run_id} began no task.", NOT_FOUND
        )
    outputs = [{"task_key": one["task_key"], "run_id": one["run_id"], **_output(api, one["run_id"])} for one in tasks]
    if as_json:
        print_json(outputs)
        return
    for output in outputs:
        if len(outputs) > 1:
            stderr.print(f"--- {output['task_key']} ({output['run_id']})", style="dim", markup=False)
        print(output["logs"], end="" if output["logs"].endswith("\n") else "\n")


@app.command()
@command
def cancel(run_id: RunArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Have a run end."""
    api_of(home).call("POST", f"{_API}/runs/cancel", {"run_id": run_id})
    _tell({"cancelled": run_id}, f"Run {run_id} is told to end.", as_json)


@app.command()
@command
def pause(name: NameArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Have a job's schedule begin no runs until it is resumed."""
    _set_pause(home, name, "PAUSED", as_json)


@app.command()
@command
def resume(name: NameArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Have a job's schedule begin runs again."""
    _set_pause(home, name, "UNPAUSED", as_json)


def _set_pause(home: Path | None, name: str, status: str, as_json: bool) -> None:
    api = api_of(home)
    job = _job(api, name)
    schedule = job["settings"].get("schedule")
    if schedule is None:
        raise CommandFailed(f"Job {job['job_id']} has no schedule.", REFUSED)
    changes = {"schedule": {**schedule, "pause_status": status}}
    api.call("POST", f"{_API}/update", {"job_id": job["job_id"], "new_settings": changes})
    _tell(
        {"job_id": job["job_id"], "pause_status": status}, f"The schedule of job {job['job_id']} is {status}.", as_json
    )


def _job(api: ApiClient, name: str) -> dict[str, Any]:
    """The one job of a name, or that of an id."""
    found = _all(api, "/list", "jobs", {"name": name})
    if len(found) > 1:
        ids = ", ".join(str(job["job_id"]) for job in found)
        raise CommandFailed(f"Several jobs are named '{name}': {ids}. Give the id of one.", USAGE)
    if found:
        name = str(found[0]["job_id"])
    if not name.isdigit():
        raise CommandFailed(f"There is no job '{name}'.", NOT_FOUND)
    job: dict[str, Any] = api.call("GET", f"{_API}/get", query={"job_id": name})
    return job


def _all(
    api: ApiClient, path: str, field: str, query: dict[str, Any], limit: int | None = None
) -> list[dict[str, Any]]:
    """All items of a list, page by page, or the first of them."""
    found: list[dict[str, Any]] = []
    while True:
        answer = api.call("GET", _API + path, query=query)
        found += answer.get(field, ())
        if "next_page_token" not in answer or (limit is not None and len(found) >= limit):
            return found[:limit]
        query = {**query, "page_token": answer["next_page_token"]}


def _run(api: ApiClient, run_id: int) -> dict[str, Any]:
    found: dict[str, Any] = api.call("GET", f"{_API}/runs/get", query={"run_id": run_id})
    return found


def _output(api: ApiClient, run_id: int) -> dict[str, Any]:
    found: dict[str, Any] = api.call("GET", f"{_API}/runs/get-output", query={"run_id": run_id})
    return {name: found[name] for name in ("logs", "logs_truncated", "error", "notebook_output") if name in found}


def _wait(api: ApiClient, run_id: int, timeout_s: float) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while True:
        found = _run(api, run_id)
        if found["state"]["life_cycle_state"] in _ENDED:
            return found
        if time.monotonic() > deadline:
            raise CommandFailed(f"Run {run_id} has not ended after {timeout_s:g} s; it goes on.", TIMED_OUT)
        time.sleep(_POLL_S)


def _check(found: dict[str, Any]) -> None:
    """Exit as a run that has ended wants it."""
    result = found["state"].get("result_state")
    if result == "SUCCESS_WITH_FAILURES":
        raise typer.Exit(SOME_FAILED)
    if result == "TIMEDOUT":
        raise typer.Exit(TIMED_OUT)
    if result in {"CANCELED", "MAXIMUM_CONCURRENT_RUNS_REACHED"}:
        raise typer.Exit(REFUSED)
    if result != "SUCCESS":
        raise typer.Exit(FAILED)


def _show_run(found: dict[str, Any]) -> None:
    stderr.print(f"Run {found['run_id']}: {_state(found)} {found['state']['state_message']}", markup=False)
    print_table(
        ("TASK", "ID", "ATTEMPT", "STATE", "ROWS", "MESSAGE"),
        [
            (
                task["task_key"],
                task["run_id"],
                task["attempt_number"],
                _state(task),
                task.get("penstock_rows", {}).get("rows_out"),
                task["state"]["state_message"],
            )
            for task in found["tasks"]
        ],
    )


def _state(found: dict[str, Any]) -> str:
    return str(found["state"].get("result_state", found["state"]["life_cycle_state"]))


def _schedule(settings: dict[str, Any]) -> str:
    schedule = settings.get("schedule")
    if schedule is None:
        return ""
    expression = schedule.get("quartz_cron_expression") or schedule.get("penstock_cron_expression")
    paused = ", paused" if schedule["pause_status"] == "PAUSED" else ""
    return f"{expression} {schedule['timezone_id']}{paused}"


def _work(task: dict[str, Any]) -> str:
    if "spark_python_task" in task:
        return str(task["spark_python_task"]["python_file"])
    if "notebook_task" in task:
        return str(task["notebook_task"]["notebook_path"])
    batch = task["penstock_batch_task"]
    return f"{batch['model']}: {batch['source']} -> {batch['target']}"


def _time(at_ms: int | None) -> str:
    return "" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise CommandFailed(f"--param: got '{text}'; wanted KEY=VALUE.", USAGE)
    return name, value


def _tell(document: object, text: str, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        stderr.print(text, markup=False)
