"""Jobs, as the unmodified Databricks SDK drives them on a running stack, and our own command line."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.core import Config
from databricks.sdk.errors import InvalidParameterValue, NotFound, PermissionDenied, ResourceConflict
from databricks.sdk.errors import NotImplemented as SdkNotImplemented
from databricks.sdk.service import jobs
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from support.stack import Stack, penstock, refused, wait_for

SDK = "databricks-sdk"
client = pytest.mark.client
API = "/api/2.2/jobs"
ENDED = {"TERMINATED", "SKIPPED", "INTERNAL_ERROR"}
Task, Python, Notebook, After = jobs.Task, jobs.SparkPythonTask, jobs.NotebookTask, jobs.TaskDependency

ECHO = """
import os, sys
print("argv", sys.argv[1:])
print("task", os.environ["PENSTOCK_TASK_KEY"], "in", os.path.basename(os.getcwd()))
"""
WHO = """
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import PermissionDenied
import mlflow
w = WorkspaceClient()
print("I am", w.current_user.me().user_name)
print("models", len(mlflow.MlflowClient().search_registered_models()))
try:
    w.secrets.create_scope("mine")
except PermissionDenied:
    print("no secrets")
open("token", "w").write(w.config.token)
"""
NOTEBOOK = """# Databricks notebook source
# MAGIC %run ./lib

# COMMAND ----------

dbutils.widgets.text("day", "monday")
dbutils.widgets.text("own", "")
tables = spark_free_tables()

# COMMAND ----------

# MAGIC %sql
# MAGIC SELECT 40 + 2 AS answer

# COMMAND ----------

dbutils.notebook.exit(f"{dbutils.widgets.get('day')} {dbutils.widgets.get('own')} {_sqldf.answer[0]}")
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python files and notebooks of these jobs."""
    folder = tmp_path_factory.mktemp("jobs")
    programs = {"echo": ECHO, "who": WHO, "sleep": "import time\nprint('asleep', flush=True)\ntime.sleep(600)\n"}
    programs["fail"] = "def work():\n    raise ValueError('no luck')\nwork()\n"
    programs["second_time"] = "import os, sys\nif not os.path.exists('once'):\n    open('once', 'w')\n    sys.exit(3)\n"
    programs["nb"] = NOTEBOOK
    programs["lib"] = "# Databricks notebook source\ndef spark_free_tables():\n    return []\n"
    for name, text in programs.items():
        (folder / f"{name}.py").write_text(text)
    return folder


@pytest.fixture
def w(stack: Stack) -> Iterator[Any]:
    """`w.jobs`; jobs are deleted after the test."""
    api = stack.workspace().jobs
    yield api
    for job in api.list():
        api.delete(job.job_id)


def python(files: Path, name: str, *parameters: str, key: str = "a", **fields: Any) -> Any:
    return Task(task_key=key, spark_python_task=Python(str(files / f"{name}.py"), list(parameters)), **fields)


def ended(w: Any, run_id: int) -> Any:
    """A run once it has ended; asked more often than the SDK's own waiters do."""
    return wait_for(
        lambda: (run := w.get_run(run_id)).state.life_cycle_state.value in ENDED and run, f"run {run_id} to end", 120
    )


def results(run: Any) -> dict[str, str]:
    return {task.task_key: task.state.result_state.value for task in run.tasks}


@client(SDK, "jobs.create")
@client(SDK, "jobs.run_now_and_wait")
@client(SDK, "jobs.get_run")
@client(SDK, "jobs.get_run_output")
def test_p6_5_tasks_run_in_order_with_parameters_and_tell_what_came_of_them(stack: Stack, w: Any, files: Path) -> None:
    job_id = w.create(
        name="many tasks",
        parameters=[jobs.JobParameterDefinition("day", "monday"), jobs.JobParameterDefinition("n", "1")],
        tasks=[
            python(files, "echo", "{{job.parameters.day}}", "{{task.name}}", "{{job.name}}", key="first"),
            Task(
                task_key="book",
                depends_on=[After("first")],
                notebook_task=Notebook(str(files / "nb"), {"own": "{{tasks.first.result_state}}", "day": "never"}),
            ),
            python(files, "second_time", key="again", max_retries=1),
            python(files, "fail", key="bad"),
            python(files, "echo", key="never", depends_on=[After("bad")]),
            python(files, "echo", key="mend", depends_on=[After("bad")], run_if=jobs.RunIf.AT_LEAST_ONE_FAILED),
        ],
    ).job_id
    run = w.run_now_and_wait(job_id, job_parameters={"day": "friday"})
    assert (run.state.life_cycle_state.value, run.state.result_state.value) == ("TERMINATED", "FAILED")
    assert run.state.state_message == "Task bad failed: ValueError: no luck"
    assert run.status.termination_details.code is jobs.TerminationCodeCode.RUN_EXECUTION_ERROR
    assert {p.name: (p.default, p.value) for p in run.job_parameters} == {"day": ("monday", "friday"), "n": ("1", "1")}
    assert results(run) == {
        "first": "SUCCESS",
        "book": "SUCCESS",
        "again": "SUCCESS",
        "mend": "SUCCESS",
        "bad": "FAILED",
        "never": "UPSTREAM_FAILED",
    }
    attempts = {(task.task_key, task.attempt_number): task for task in run.tasks}
    assert attempts["again", 0].state.result_state.value == "FAILED"
    assert attempts["again", 1].run_id != attempts["again", 0].run_id
    assert run.end_time >= run.start_time
    assert attempts["first", 0].execution_duration > 0

    first = w.get_run_output(attempts["first", 0].run_id)
    assert first.logs == "argv ['friday', 'first', 'many tasks']\ntask first in work\n"
    assert first.metadata.run_id == attempts["first", 0].run_id
    assert w.get_run_output(attempts["book", 0].run_id).notebook_output.result == "friday success 42"
    bad = w.get_run_output(attempts["bad", 0].run_id)
    assert bad.error == "ValueError: no luck"
    assert bad.error_trace.startswith("Traceback")
    assert w.get_run(attempts["bad", 0].run_id).tasks[0].task_key == "bad"
    with pytest.raises(InvalidParameterValue, match="ask for the output of one of them"):
        w.get_run_output(run.run_id)

    logs = penstock("jobs", "logs", str(run.run_id), "--task", "first", home=stack.home)
    assert logs.stdout == first.logs


@client(SDK, "jobs.submit")
@client(SDK, "jobs.submit_and_wait")
@client(SDK, "jobs.wait_get_run_job_terminated_or_skipped")
@client(SDK, "jobs.delete_run")
def test_p6_5_a_run_of_no_job_and_what_its_token_opens(stack: Stack, w: Any, files: Path) -> None:
    task = jobs.SubmitTask(task_key="who", spark_python_task=Python(str(files / "who.py")))
    waiter = w.submit(run_name="once", tasks=[task], idempotency_token="only-once")
    assert w.submit(run_name="once", tasks=[task], idempotency_token="only-once").response.run_id == waiter.run_id
    run = waiter.result()
    assert run.state.result_state is jobs.RunResultState.SUCCESS
    assert run.run_type is jobs.RunType.SUBMIT_RUN
    said = w.get_run_output(run.run_id).logs
    assert "I am admin\n" in said
    assert "models 0" not in said
    assert "no secrets\n" in said
    token = (stack.home / "jobs" / str(run.run_id) / "work" / "token").read_text()
    refused(stack.call("GET", f"{API}/list", headers={"Authorization": f"Bearer {token}"}), 401, "UNAUTHENTICATED")
    w.delete_run(run.run_id)
    assert not (stack.home / "jobs" / str(run.run_id)).exists()
    with pytest.raises(NotFound):
        w.get_run(run.run_id)
    with pytest.raises(NotFound, match="was deleted"):
        w.submit(run_name="once", tasks=[task], idempotency_token="only-once")


@client(SDK, "jobs.get")
@client(SDK, "jobs.list")
@client(SDK, "jobs.update")
@client(SDK, "jobs.reset")
@client(SDK, "jobs.delete")
def test_p6_5_jobs_are_read_changed_and_deleted(stack: Stack, w: Any, files: Path) -> None:
    made = [w.create(name=f"job {number}", tasks=[python(files, "echo")]).job_id for number in range(3)]
    assert [job.job_id for job in w.list(limit=1)] == made[::-1], "page by page"
    assert [job.settings.name for job in w.list(name="JOB 1", expand_tasks=True)] == ["job 1"]
    assert stack.call("GET", "/api/2.1/jobs/list?limit=2").json()["has_more"] is True

    schedule = jobs.CronSchedule("0 0 6 ? * MON-FRI", "Europe/Berlin")
    settings = {"tags": {"team": "a"}, "email_notifications": jobs.JobEmailNotifications(on_failure=["a@example.com"])}
    w.update(made[0], new_settings=jobs.JobSettings(schedule=schedule, max_concurrent_runs=3, **settings))
    w.update(made[0], new_settings=jobs.JobSettings(tasks=[python(files, "fail", key="b", depends_on=[After("a")])]))
    job = w.get(made[0])
    assert [task.task_key for task in job.settings.tasks] == ["a", "b"], "one is added, the other stays"
    assert job.settings.schedule.pause_status is jobs.PauseStatus.UNPAUSED
    assert (job.settings.max_concurrent_runs, job.settings.tags) == (3, {"team": "a"})
    assert job.settings.email_notifications.on_failure == ["a@example.com"]
    assert stack.call("GET", f"{API}/get?job_id={made[0]}").json()["penstock_next_run_time"] > time.time() * 1000
    w.reset(made[1], new_settings=job.settings)
    assert w.get(made[1]).settings == job.settings, "what is read can be written back"
    w.update(made[0], fields_to_remove=["schedule", "tasks/b"])
    job = w.get(made[0])
    assert (job.settings.schedule, [task.task_key for task in job.settings.tasks]) == (None, ["a"])
    w.delete(made[0])
    with pytest.raises(NotFound):
        w.get(made[0])


@client(SDK, "jobs.run_now")
@client(SDK, "jobs.cancel_run")
@client(SDK, "jobs.cancel_run_and_wait")
@client(SDK, "jobs.cancel_all_runs")
@client(SDK, "jobs.list_runs")
def test_p6_5_runs_overlap_as_the_job_says_and_are_cancelled_whole(stack: Stack, w: Any, files: Path) -> None:
    job_id = w.create(name="sleeper", tasks=[python(files, "sleep")]).job_id
    first = w.run_now(job_id).run_id
    wait_for(lambda: [p for p in stack.ps("task") if p["state"] == "ready"], "the task to run")
    skipped = w.get_run(w.run_now(job_id).run_id)
    assert skipped.state.life_cycle_state is jobs.RunLifeCycleState.SKIPPED
    assert skipped.state.result_state is jobs.RunResultState.MAXIMUM_CONCURRENT_RUNS_REACHED
    w.update(job_id, new_settings=jobs.JobSettings(queue=jobs.QueueSettings(enabled=True)))
    queued = w.run_now(job_id).run_id
    assert w.get_run(queued).status.queue_details.code is jobs.QueueDetailsCodeCode.MAX_CONCURRENT_RUNS_REACHED
    active = list(w.list_runs(job_id=job_id, active_only=True))
    assert [(run.run_id, run.state.life_cycle_state.value) for run in active] == [
        (queued, "QUEUED"),
        (first, "RUNNING"),
    ]
    assert [run.run_id for run in w.list_runs(job_id=job_id, completed_only=True)] == [skipped.run_id]
    assert len(list(w.list_runs(job_id=job_id, limit=1, expand_tasks=True))) == 3
    with pytest.raises(ResourceConflict, match="has not ended"):
        w.delete_run(first)

    cancelled = w.cancel_run_and_wait(first)
    assert cancelled.state.result_state is jobs.RunResultState.CANCELED
    assert results(cancelled) == {"a": "CANCELED"}
    assert w.get_run_output(first).logs == "asleep\n"
    wait_for(lambda: w.get_run(queued).state.life_cycle_state.value == "RUNNING", "the next one to have its turn")
    w.cancel_all_runs(job_id=job_id)
    assert ended(w, queued).state.result_state is jobs.RunResultState.CANCELED
    wait_for(lambda: not stack.ps("task"), "no process to be left")


def test_p6_5_a_schedule_begins_runs_and_time_limits_end_them(stack: Stack, w: Any, files: Path) -> None:
    schedule = jobs.CronSchedule("* * * * * ?", "UTC")
    tasks = [python(files, "sleep", timeout_seconds=1)]
    job_id = w.create(name="often", schedule=schedule, tasks=tasks).job_id
    wait_for(lambda: len(list(w.list_runs(job_id=job_id))) > 2, "runs to begin by themselves")
    assert penstock("jobs", "pause", "often", home=stack.home).returncode == 0
    runs = sorted(w.list_runs(job_id=job_id), key=lambda run: run.run_id)
    first = ended(w, runs[0].run_id)
    assert (first.trigger, first.state.result_state.value) == (jobs.TriggerType.PERIODIC, "TIMEDOUT")
    assert results(first) == {"a": "TIMEDOUT"}
    assert runs[1].state.life_cycle_state is jobs.RunLifeCycleState.SKIPPED, "one at a time"
    assert w.get(job_id).settings.schedule.pause_status is jobs.PauseStatus.PAUSED
    assert "penstock_next_run_time" not in stack.call("GET", f"{API}/get?job_id={job_id}").json()
    runs = sorted(w.list_runs(job_id=job_id), key=lambda run: run.run_id)
    listed = json.loads(penstock("jobs", "runs", "often", "--json", home=stack.home).stdout)
    assert [run["run_id"] for run in listed] == [run.run_id for run in reversed(runs)]


def test_p6_5_a_batch_task_that_is_killed_goes_on_and_tells_its_rows(stack: Stack, tmp_path: Path) -> None:
    source, target, rows = tmp_path / "source", tmp_path / "target", 60_000
    numbers = list(range(rows))
    write_deltalake(source, pa.table({"x": [1.0] * rows, "n": numbers, "s": ["a"] * rows}))
    declared = tmp_path / "job.yaml"
    declared.write_text(
        "name: score\nparameters:\n- {name: model, default: 'models:/m/2'}\ntasks:\n- task_key: score\n"
        "  max_retries: 1\n  penstock_batch_task:\n    model: '{{job.parameters.model}}'\n"
        f"    source: {source}\n    target: {target}\n    options: [--processes, '1', --chunk-rows, '500']\n"
    )
    created = penstock("jobs", "create", "--file", str(declared), "--json", home=stack.home)
    assert created.returncode == 0, created.stderr
    body = {**json.loads(created.stdout), "job_parameters": {"model": "models:/m/1"}}
    run_id = stack.call("POST", f"{API}/run-now", body).json()["run_id"]
    wait_for(lambda: len(list(target.glob("part-*"))) > 2, "some chunks to be written", 120)
    (process,) = stack.ps("task")
    os.kill(process["pid"], signal.SIGKILL)
    run = wait_for(
        lambda: (
            (run := stack.call("GET", f"{API}/runs/get?run_id={run_id}").json())["state"]["life_cycle_state"] in ENDED
            and run
        ),
        "the run to end",
        120,
    )
    told = [stack.call("GET", f"{API}/runs/get-output?run_id={task['run_id']}").json() for task in run["tasks"]]
    assert [task["state"]["result_state"] for task in run["tasks"]] == ["FAILED", "SUCCESS"], told
    assert "killed by signal 9" in run["tasks"][0]["state"]["state_message"]
    assert run["tasks"][1]["penstock_rows"] == {"rows_in": rows, "rows_out": rows, "rows_failed": 0}
    assert told[1]["penstock_batch_output"]["rows_out"] == rows
    query = "select n, model_version from t order by n"
    scored = pa.table(QueryBuilder().register("t", DeltaTable(target)).execute(query).read_all())
    assert scored["n"].to_pylist() == numbers, "no row twice, none missing"
    assert set(scored["model_version"].to_pylist()) == {"1"}
    assert penstock("jobs", "delete", "score", home=stack.home).returncode == 0


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "other types": ({"tasks": [{"task_key": "a", "sql_task": {"warehouse_id": "x"}}]}, "tasks[0].sql_task"),
    "git": ({"git_source": {"git_url": "https://x"}}, "git_source"),
    "triggers": ({"trigger": {"file_arrival": {"url": "/x"}}}, "trigger"),
    "continuous": ({"continuous": {"pause_status": "UNPAUSED"}}, "continuous"),
    "lists of access": ({"access_control_list": [{"user_name": "a"}]}, "access_control_list"),
}
A = {"task_key": "a", "spark_python_task": {"python_file": "/x.py"}}
INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "no tasks": ({"tasks": []}, "tasks: got none"),
    "no work": ({"tasks": [{"task_key": "a"}]}, "tasks[0]: got none"),
    "two kinds of work": (
        {"tasks": [{**A, "notebook_task": {"notebook_path": "/x"}}]},
        "spark_python_task and notebook",
    ),
    "a key twice": ({"tasks": [A, A]}, "a second task is named 'a'"),
    "a key that is none": ({"tasks": [{**A, "task_key": "a b"}]}, "tasks[0].task_key: got 'a b'"),
    "a circle": ({"tasks": [{**A, "depends_on": [{"task_key": "a"}]}]}, "circle"),
    "a task that is not there": ({"tasks": [{**A, "depends_on": [{"task_key": "b"}]}]}, "there is no task 'b'"),
    "a reference to nothing": (
        {"tasks": [{"task_key": "a", "spark_python_task": {"python_file": "/x", "parameters": ["{{job.x}}"]}}]},
        "{{job.x}}",
    ),
    "retries": ({"tasks": [{**A, "max_retries": -2}]}, "tasks[0].max_retries: got -2"),
    "a number as text": ({"max_concurrent_runs": "1"}, "max_concurrent_runs"),
    "too many at a time": ({"max_concurrent_runs": 1001}, "got 1001"),
    "an expression": ({"schedule": {"quartz_cron_expression": "0 0 12 15W * ?", "timezone_id": "UTC"}}, "'15W'"),
    "a time zone": ({"schedule": {"quartz_cron_expression": "0 0 12 * * ?", "timezone_id": "Mars"}}, "'Mars'"),
    "two expressions": (
        {"schedule": {"quartz_cron_expression": "x", "penstock_cron_expression": "y", "timezone_id": "UTC"}},
        "one of",
    ),
    "keys without merge": (
        {
            "tasks": [
                {
                    "task_key": "a",
                    "penstock_batch_task": {
                        **dict.fromkeys(("source", "target"), "/t"),
                        "model": "models:/m/1",
                        "keys": ["x"],
                    },
                }
            ]
        },
        "keys",
    ),
    "somebody else's parameters": ({"parameters": [{"name": "a b", "default": "x"}]}, "parameters.a b"),
}


@pytest.mark.parametrize("case", [*REFUSED, *INVALID])
def test_p6_5_what_cannot_be_is_refused_by_name(stack: Stack, case: str) -> None:
    fields, told = (REFUSED | INVALID)[case]
    answer = stack.call("POST", f"{API}/create", {"name": "wrong", "tasks": [A], **fields})
    refused(answer, *((501, "NOT_IMPLEMENTED") if case in REFUSED else (400, "INVALID_PARAMETER_VALUE")), told)


@client(
    SDK, "jobs.repair_run_and_wait", result="501 `NotImplemented`", instead="`max_retries`; `jobs.run_now_and_wait`"
)
@client(SDK, "jobs.repair_run", result="501 `NotImplemented`", instead="`max_retries`; `jobs.run_now`")
@client(SDK, "jobs.export_run", result="501 `NotImplemented`", instead="`jobs.get_run_output`")
@client(SDK, "jobs.get_permissions", result="501 `NotImplemented`")
@client(SDK, "jobs.set_permissions", result="501 `NotImplemented`")
@client(SDK, "jobs.update_permissions", result="501 `NotImplemented`")
@client(SDK, "jobs.get_permission_levels", result="501 `NotImplemented`")
def test_p6_5_operations_that_are_not_to_be_had(w: Any) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: w.repair_run(1),
        lambda: w.export_run(1),
        lambda: w.get_permissions("1"),
        lambda: w.set_permissions("1"),
        lambda: w.update_permissions("1"),
        lambda: w.get_permission_levels("1"),
    ]
    for call in calls:
        with pytest.raises(SdkNotImplemented):
            call()


@client(
    SDK,
    "jobs.create(tasks=[Task(sql_task=…)])",
    result="501 `NotImplemented`; so are all task types but `spark_python_task` and `notebook_task`",
)
@client(
    SDK,
    "jobs.create(tasks=[{penstock_batch_task}])",
    result="the SDK's `Task` drops fields that it does not know",
    instead='`w.api_client.do("POST", "/api/2.2/jobs/create", body={…})`; `penstock jobs create -f FILE`',
)
def test_p6_5_wrong_runs_and_other_peoples_jobs(stack: Stack, w: Any, files: Path) -> None:
    with pytest.raises(SdkNotImplemented, match="sql_task"):
        w.create(name="x", tasks=[Task(task_key="a", sql_task=jobs.SqlTask("w", query=jobs.SqlTaskQuery("q")))])
    job_id = w.create(name="mine", tasks=[Task(task_key="a", notebook_task=Notebook("/nowhere/nb"))]).job_id
    with pytest.raises(InvalidParameterValue, match="the job has no such parameter"):
        w.run_now(job_id, job_parameters={"x": "1"})
    with pytest.raises(SdkNotImplemented, match="jar_params"):
        w.run_now(job_id, jar_params=["x"])
    with pytest.raises(NotFound):
        w.run_now(10**12)
    run = ended(w, w.run_now(job_id, idempotency_token="t1").run_id)
    assert w.run_now(job_id, idempotency_token="t1").run_id == run.run_id
    assert run.state.state_message == "Task a failed: There is no file '/nowhere/nb' on this machine."
    for wrong in ("runs/get?run_id=-1", f"runs/get?run_id={10**30}", "list?page_token=zzz", "list?limit=101", "get"):
        refused(stack.call("GET", f"{API}/{wrong}"), 400, "INVALID_PARAMETER_VALUE")
    refused(stack.call("POST", f"{API}/delete", {"job_id": 10**30}), 400, "INVALID_PARAMETER_VALUE", "job_id")

    token = stack.call("POST", "/api/2.0/penstock/tokens", {"user": "visitor@example.com"}).json()
    theirs = WorkspaceClient(config=Config(host=stack.url, token=token["token"])).jobs
    assert list(theirs.list()) == list(theirs.list_runs()) == []
    forbidden: list[Callable[[], Any]] = [
        lambda: theirs.get(job_id),
        lambda: theirs.run_now(job_id),
        lambda: theirs.delete(job_id),
        lambda: theirs.get_run(run.run_id),
        lambda: theirs.get_run_output(run.run_id),
        lambda: theirs.cancel_run(run.run_id),
        lambda: theirs.delete_run(run.run_id),
        lambda: theirs.cancel_all_runs(job_id=job_id),
        lambda: theirs.update(job_id, new_settings=jobs.JobSettings(name="x")),
    ]
    for call in forbidden:
        with pytest.raises(PermissionDenied, match=r"visitor@example\.com"):
            call()
    own = theirs.create(name="theirs", tasks=[python(files, "who")])
    said = theirs.get_run_output(ended(theirs, theirs.run_now(own.job_id).run_id).run_id).logs
    assert "I am visitor@example.com\n" in said
    stack.call("DELETE", f"/api/2.0/penstock/tokens/{token['id']}")


def test_p6_5_the_command_line(stack: Stack, files: Path) -> None:
    declared = files / "job.json"
    task = {"task_key": "a", "spark_python_task": {"python_file": "echo.py", "parameters": ["{{job.parameters.p}}"]}}
    declared.write_text(json.dumps({"name": "cli", "parameters": [{"name": "p", "default": "1"}], "tasks": [task]}))

    def run(*arguments: str) -> Any:
        return penstock("jobs", *arguments, home=stack.home)

    job_id = json.loads(run("create", "-f", str(declared), "--json").stdout)["job_id"]
    shown = json.loads(run("show", "cli", "--json").stdout)
    assert shown["settings"]["tasks"][0]["spark_python_task"]["python_file"] == str(files / "echo.py")
    assert "cli" in run("list").stdout
    assert "echo.py" in run("show", str(job_id)).stdout
    ran = run("run", "cli", "--param", "p=x=y", "--wait")
    assert ran.returncode == 0, ran.stderr
    assert "SUCCESS" in ran.stdout
    declared.write_text(
        json.dumps({"name": "cli", "tasks": [{**task, "spark_python_task": {"python_file": "fail.py"}}]})
    )
    assert run("update", "cli", "-f", str(declared)).returncode == 0
    failed = run("run", "cli", "--wait", "--json")
    assert (failed.returncode, json.loads(failed.stdout)["state"]["result_state"]) == (1, "FAILED")
    assert run("cancel", str(json.loads(failed.stdout)["run_id"])).returncode == 0, "nothing is left to cancel"
    assert run("pause", "cli").returncode == 5
    assert run("show", "nope").returncode == run("logs", "999999999").returncode == 4
    assert run("run", "cli", "--param", "p").returncode == 2
    assert run("create", "-f", str(files / "echo.py")).returncode == 2
    assert run("delete", "cli").returncode == 0
    assert run("runs").returncode == 0
