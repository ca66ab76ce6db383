"""The control plane process: state, loops and the REST API, on one event loop."""

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import uvicorn
from fastapi import FastAPI

from penstock.api.app import make_app, set_parts
from penstock.api.context import Parts
from penstock.catalog.home import HomeSource, State
from penstock.client.feedback_check import find_unmatched
from penstock.client.registry import Registry
from penstock.client.supervisor import SupervisorClient
from penstock.control.audit import Audit
from penstock.control.autoscaler import Autoscaler
from penstock.control.catalog import Catalog
from penstock.control.clock import now_ms
from penstock.control.cluster import Cluster
from penstock.control.endpoints import Endpoints
from penstock.control.environments import sweep_environments
from penstock.control.events import Events
from penstock.control.feedback import FeedbackBox
from penstock.control.follower import Follower
from penstock.control.history import History
from penstock.control.housekeeping import Housekeeping
from penstock.control.job_runner import JobRunner, granted_attempts
from penstock.control.job_runs import JobRuns
from penstock.control.jobs import Jobs
from penstock.control.load import Loads
from penstock.control.metric_history import MetricHistory
from penstock.control.metrics import Metrics
from penstock.control.not_logged import NotLogged
from penstock.control.permissions import Permissions
from penstock.control.publisher import Publisher
from penstock.control.queue import KeyedQueue
from penstock.control.reconciler import Reconciler
from penstock.control.secrets import Secrets
from penstock.control.served_entities import ServedEntities
from penstock.control.sessions import Sessions
from penstock.control.stack_metrics import StackMetricsSource
from penstock.control.table_watch import TableWatch
from penstock.control.tokens import Tokens, issue_token
from penstock.control.unmatched_feedback import UnmatchedFeedback
from penstock.domain.access import ADMINS, Principal, Scope, agent_token, digest_of
from penstock.domain.jobs.task_spec import access_key
from penstock.domain.routing import Access, RoutingTable, build_table
from penstock.faults import fault_point
from penstock.processes.launch import ControlPlaneLaunch, begin, report_failure, report_ready
from penstock.runtime.environments import Environments
from penstock.runtime.job_files import JobFiles
from penstock.settings import Home, workspace_id
from penstock.spool.writer import SpoolWriter
from penstock.stores.database import Database, DatabaseUnusable
from penstock.stores.events import EventStore
from penstock.stores.history import HistoryStore
from penstock.stores.job_runs import RunStore
from penstock.stores.jobs import JobStore
from penstock.stores.keyring import KeyFileUnusable, KeyRing, Undecryptable
from penstock.stores.metric_points import MetricPoints
from penstock.stores.secrets import SecretStore
from penstock.stores.tables import TableStore
from penstock.wire.endpoint_settings import inference_log, payload_of
from penstock.wire.messages import Report
from penstock.wire.sockets import MLFLOW, SocketFolder

FIRST_PRINCIPAL = "admin"

_log = logging.getLogger(__name__)


def main() -> None:
    """Run the control plane until SIGTERM."""
    launch = begin(ControlPlaneLaunch)
    home = Home(Path(launch.home))
    try:
        database = Database.open(f"sqlite:///{home.database}")
    except DatabaseUnusable as exc:
        report_failure(launch, f"The state database cannot be used: {exc}")
        sys.exit(1)
    try:
        secrets = _open_secrets(home, database)
    except KeyFileUnusable as exc:
        report_failure(launch, f"The key file of secrets cannot be used: {exc}")
        sys.exit(1)
    _ensure_first_token(home, database)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _running(launch, home, database, secrets) as parts:
            set_parts(app, parts)
            report_ready(launch)
            yield
        database.close()

    config = uvicorn.Config(make_app(lifespan), log_config=None, access_log=False, timeout_graceful_shutdown=10)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=launch.listen_fd)])


@asynccontextmanager
async def _running(  # noqa: PLR0915 - a list of parts
    launch: ControlPlaneLaunch, home: Home, database: Database, secrets: Secrets
) -> AsyncIterator[Parts]:
    sockets = SocketFolder(home.run)
    supervisor = SupervisorClient(sockets)
    cluster = Cluster(supervisor)
    replica_access = {launch.replica_token_digest: Access("replica", Scope.READ_MODELS)}

    job_store, run_store, job_files = JobStore(database.engine), RunStore(database.engine), JobFiles(home.jobs)

    def build() -> RoutingTable:
        return build_table(
            database.endpoints(),
            database.tokens(),
            {**replica_access, **_job_access(launch, database, run_store)},
            launch.limits,
            scales,
            database.principals(),
            launch.replica_secret,
            database.sessions(),
            inference_log,
        )

    def wake_all() -> None:
        queue.add([*(endpoint.name for endpoint in database.endpoints()), *cluster.endpoint_names()])

    def on_report(gateway_pid: int, report: Report, now_s: float) -> None:
        loads.take(gateway_pid, report, now_s)
        autoscaler.take(gateway_pid, report.demands, now_s)
        not_logged.take(gateway_pid, report.not_logged)
        audit.failures(report.failures, report.untold_failures)

    def on_scaled(names: Iterable[str]) -> None:
        publisher.publish()
        queue.add(names)

    spool = SpoolWriter(
        home.control_plane_spool,
        launch.spool.max_bytes,
        asyncio.get_running_loop().call_soon,
        sync_s=launch.spool.sync_s,
    )
    audit = Audit(spool, database, workspace_id(home.path))
    loads = Loads()
    metrics = Metrics(cluster, loads)
    publisher = Publisher(home.table_file, build, cluster.gateway_pids, on_settled=wake_all, on_report=on_report)
    event_store = EventStore(database.engine)
    events = Events(event_store)
    metric_history = MetricHistory(database, metrics, loads, MetricPoints.open(home.metrics_database), (loads, events))
    unmatched = UnmatchedFeedback(
        home.warehouse,
        home.feedback_checked,
        database.endpoints,
        payload_of,
        find_unmatched,
        events.record,
    )
    not_logged = NotLogged(home.spool, events.record, cluster.gateway_pids)
    scales = publisher.scales()
    autoscaler = Autoscaler(database, cluster, launch.limits, scales, on_scaled, events.record)
    reconciler = Reconciler(database, cluster, supervisor, publisher, secrets, audit, launch.limits, scales, home.logs)
    housekeeping = Housekeeping(database, HistoryStore(database.engine), cluster, home.artifacts, home.logs)
    table_watch = TableWatch(home.table_states, database.endpoints, inference_log, events.record)
    queue = KeyedQueue(reconciler.reconcile)
    job_runner = JobRunner(
        job_store,
        run_store,
        job_files,
        cluster,
        supervisor,
        publisher.publish_and_settle,
        launch.job_tasks,
        Path(launch.workspace) if launch.workspace else None,
        now_ms,
    )

    is_first_snapshot = True

    def on_change(names: frozenset[str]) -> None:
        nonlocal is_first_snapshot
        if is_first_snapshot:
            is_first_snapshot = False
            wake_all()
        events.look(names, cluster.replicas_of)
        autoscaler.adopt(names)
        queue.add(names)
        job_runner.wake()
        loops.create_task(publisher.gateways_changed())

    async with _tracking_session(launch, sockets) as session, asyncio.TaskGroup() as loops:
        registry = Registry(session, launch.tracking_uri or "http://localhost")
        publisher.publish()
        permissions = Permissions(database, publisher)
        follower = Follower(database, registry, publisher, queue.add, launch.alias_poll_s)
        tasks = [
            loops.create_task(cluster.follow(on_change), name="follow the supervisor"),
            loops.create_task(publisher.serve(socket.socket(fileno=launch.routing_fd)), name="serve gateways"),
            loops.create_task(queue.run(), name="reconcile"),
            loops.create_task(metrics.follow(), name="sample replicas"),
            loops.create_task(follower.run(), name="follow aliases"),
            loops.create_task(sweep_environments(database, Environments(home.environments)), name="sweep environments"),
            loops.create_task(autoscaler.run(), name="scale"),
            loops.create_task(housekeeping.run(), name="clean up"),
            loops.create_task(metric_history.run(), name="keep the past of metrics"),
            loops.create_task(_served_entities(home, database, spool).run(), name="tell served entities"),
            loops.create_task(not_logged.run(), name="look for what is not logged"),
            loops.create_task(unmatched.run(), name="look for feedback to nothing"),
            loops.create_task(table_watch.run(), name="watch tables"),
            loops.create_task(job_runner.run(), name="run jobs"),
        ]
        jobs = Jobs(job_store, permissions, job_runner.wake, now_ms)
        endpoints = Endpoints(database, registry, cluster, publisher, secrets, queue.add, launch.limits)
        yield Parts(
            endpoints=endpoints,
            history=History(
                database, HistoryStore(database.engine), event_store, registry, publisher, secrets, queue.add
            ),
            permissions=permissions,
            secrets=secrets,
            audit=audit,
            tokens=Tokens(database, publisher),
            sessions=Sessions(database, publisher),
            catalog=Catalog(
                HomeSource(home, State.of(database)), TableStore(database.engine), database, permissions, now_ms
            ),
            table_watch=table_watch,
            jobs=jobs,
            job_runs=JobRuns(run_store, jobs, permissions, job_files, job_runner.wake, now_ms),
            metrics=metrics,
            metric_history=metric_history,
            stack_metrics=StackMetricsSource(endpoints, metrics, loads, events, supervisor, spool),
            not_logged=not_logged,
            feedback=FeedbackBox(spool),
            registry=registry,
            supervisor=supervisor,
            logs=home.logs,
            artifacts=home.artifacts,
            workspace_id=workspace_id(home.path),
            limits=launch.limits,
            is_secure=launch.is_secure,
        )
        for task in tasks:
            task.cancel()
        spool.close()
        await supervisor.close()
        metric_history.close()


def _job_access(launch: ControlPlaneLaunch, database: Database, runs: RunStore) -> dict[str, Access]:
    """Access of the tasks of jobs that have a process, by the digest of their tokens."""
    return {
        digest_of(agent_token(launch.replica_secret, access_key(attempt_id))): Access(
            owner, Scope.JOB, database.principal(owner).groups
        )
        for owner, attempt_id in granted_attempts(runs.active())
    }


def _tracking_session(launch: ControlPlaneLaunch, sockets: SocketFolder) -> aiohttp.ClientSession:
    connector = None if launch.tracking_uri else aiohttp.UnixConnector(sockets.address(MLFLOW))
    headers = {"authorization": launch.tracking_authorization} if launch.tracking_authorization else {}
    return aiohttp.ClientSession(connector=connector, headers=headers)


def _served_entities(home: Home, database: Database, spool: SpoolWriter) -> ServedEntities:
    """What tells the table of served entities."""
    workspace = str(workspace_id(home.path))
    return ServedEntities(spool, home.told_entities, database.endpoints, workspace, lambda: time.time_ns() // 1000)


def _open_secrets(home: Home, database: Database) -> Secrets:
    """Secrets with the keys of the key file, which is made on the first start.

    A key that opens nothing of what is stored is no reason to stop: endpoints without secrets are served.

    Raises:
        KeyFileUnusable: there is none though there are secrets, or it is not as it must be.
    """
    store = SecretStore(database.engine)
    sample = store.sample()
    keys = KeyRing.load(home.secrets_key_file, is_needed=sample is not None)
    try:
        if sample is not None:
            keys.open(sample)
    except Undecryptable as exc:
        _log.error("there are secrets that cannot be decrypted: %s; put back the key that they need", exc)
    return Secrets(database, store, keys)


def _ensure_first_token(home: Home, database: Database) -> None:
    """On the first start, and after the token file was deleted: a token for the first principal, 0600."""
    if database.tokens() and home.token_file.exists():
        return
    database.save_principal(Principal(FIRST_PRINCIPAL, (ADMINS,)))
    _, secret = issue_token(database, FIRST_PRINCIPAL, "written by penstock up")
    temporary = home.token_file.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
    fault_point("token-before-rename")
    temporary.replace(home.token_file)


if __name__ == "__main__":
    main()
