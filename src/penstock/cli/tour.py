"""The tour of `penstock quickstart`: real data, real models, the unmodified clients.

Everything here is what a user would write. Nothing is done twice: on a home where the models are registered and the
endpoint exists, only the queries are sent.
"""

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from statistics import quantiles
from typing import Any

import mlflow
import pandas as pd
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import OperationFailed, ResourceDoesNotExist
from databricks.sdk.errors.base import DatabricksError
from databricks.sdk.service.serving import (
    EndpointCoreConfigInput,
    EndpointStateReady,
    Route,
    ServedEntityInput,
    TrafficConfig,
)
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from penstock.cli.session import CommandFailed, RunningStack, stderr
from penstock.settings import Home

MODEL = "breast_cancer"
ENDPOINT = "breast-cancer"
QUERIES = 200
ROWS_SHOWN = 5


def take_tour(stack: RunningStack, home: Home) -> dict[str, Any]:
    """Walk through registering, serving and querying; returns what was seen."""
    for noisy in ("mlflow", "alembic", "databricks"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    if stack.mlflow_url == stack.url:
        os.environ["MLFLOW_TRACKING_TOKEN"] = stack.token
    mlflow.set_tracking_uri(stack.local_url if stack.mlflow_url == stack.url else stack.mlflow_url)

    data = load_breast_cancer(as_frame=True)
    train, test, train_labels, test_labels = train_test_split(
        data.data, data.target, test_size=0.3, random_state=0, stratify=data.target
    )
    workspace = WorkspaceClient(host=stack.local_url, token=stack.token)
    try:
        _register(train, train_labels)
        _serve(workspace)
    except OperationFailed as exc:
        raise CommandFailed(f"The endpoint did not come up. {' '.join(_failures(workspace))}") from exc
    except (MlflowException, DatabricksError) as exc:
        raise CommandFailed(f"The tour cannot go on: {exc}") from exc
    summary = _query(workspace, test, [str(data.target_names[label]) for label in test_labels])
    _show_how(stack, home, test)
    return {"url": stack.url, "endpoint": ENDPOINT, **summary}


def _register(train: pd.DataFrame, labels: "pd.Series[int]") -> None:
    client = mlflow.MlflowClient()
    try:
        client.get_model_version_by_alias(MODEL, "challenger")
    except MlflowException:
        pass
    else:
        stderr.print(f"[green]✓[/] models   {MODEL} v1 (champion) and v2 (challenger) are registered already")
        return
    candidates = (
        ("champion", "logistic regression", make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))),
        ("challenger", "random forest", RandomForestClassifier(n_estimators=50, random_state=0)),
    )
    mlflow.set_experiment("penstock-quickstart")
    for alias, kind, model in candidates:
        with _step(f"models   {kind}: train, log, register as @{alias}"), _quiet(), mlflow.start_run(run_name=kind):
            model.fit(train, labels)
            info = mlflow.sklearn.log_model(
                model,
                name="model",
                # MLflow's default format, skops, refuses tree models unless their types are trusted one by one.
                serialization_format="cloudpickle",
                signature=infer_signature(train, model.predict(train)),
                input_example=train.head(2),
                registered_model_name=MODEL,
            )
            client.set_registered_model_alias(MODEL, alias, str(info.registered_model_version))


def _serve(workspace: WorkspaceClient) -> None:
    try:
        workspace.serving_endpoints.get(ENDPOINT)
    except ResourceDoesNotExist:
        pass
    else:
        with _step(f"endpoint {ENDPOINT} exists already: wait until it is ready"):
            workspace.serving_endpoints.wait_get_serving_endpoint_not_updating(ENDPOINT)
            while not _is_ready(workspace):
                time.sleep(0.2)
        return
    with _step(f"endpoint {ENDPOINT}: 90 % to @champion, 10 % to @challenger"):
        workspace.serving_endpoints.create_and_wait(
            name=ENDPOINT,
            config=EndpointCoreConfigInput(
                name=ENDPOINT,
                served_entities=[
                    ServedEntityInput(name=alias, entity_name=MODEL, entity_version=f"@{alias}", workload_size="Small")
                    for alias in ("champion", "challenger")
                ],
                traffic_config=TrafficConfig(
                    routes=[
                        Route(served_entity_name="champion", traffic_percentage=90),
                        Route(served_entity_name="challenger", traffic_percentage=10),
                    ]
                ),
            ),
        )


def _failures(workspace: WorkspaceClient) -> Iterator[str]:
    pending = workspace.serving_endpoints.get(ENDPOINT).pending_config
    for entity in (pending.served_entities if pending else None) or ():
        if entity.state is not None and entity.state.deployment_state_message:
            yield f"{entity.name}: {entity.state.deployment_state_message}"


def _is_ready(workspace: WorkspaceClient) -> bool:
    state = workspace.serving_endpoints.get(ENDPOINT).state
    return state is not None and state.ready is EndpointStateReady.READY


def _query(workspace: WorkspaceClient, test: pd.DataFrame, labels: list[str]) -> dict[str, Any]:
    names = [str(name) for name in load_breast_cancer().target_names]
    records = test.to_dict(orient="records")
    served: Counter[str] = Counter()
    latencies_ms: list[float] = []
    right = 0
    shown: list[tuple[str, str, str]] = []
    with _step(f"queries  {QUERIES} rows, one request each, through databricks-sdk"):
        for index in range(QUERIES):
            row = index % len(records)
            started = time.perf_counter()
            answer = workspace.serving_endpoints.query(ENDPOINT, dataframe_records=[records[row]])
            latencies_ms.append((time.perf_counter() - started) * 1000)
            by = answer.served_model_name or "?"
            predicted = names[int((answer.predictions or [0])[0])]
            served[by] += 1
            right += predicted == labels[row]
            if index < ROWS_SHOWN:
                shown.append((predicted, labels[row], by))
    stderr.print()
    for predicted, actual, by in shown:
        stderr.print(f"    predicted {predicted:<10} was {actual:<10} answered by {by}")
    cuts = quantiles(latencies_ms, n=100)
    split = {name: round(100 * count / QUERIES, 1) for name, count in sorted(served.items())}
    stderr.print(f"\n    right     {right} of {QUERIES}")
    stderr.print("    split     " + ", ".join(f"{name} {share} %" for name, share in split.items()))
    stderr.print(f"    latency   p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms (as this client sees it)")
    return {"queries": QUERIES, "right": right, "split": split, "p50_ms": cuts[49], "p99_ms": cuts[98]}


def _show_how(stack: RunningStack, home: Home, test: pd.DataFrame) -> None:
    record = "{" + ", ".join(f'"{name}": {value:g}' for name, value in test.iloc[0].items()) + "}"
    url = f"{stack.url}/serving-endpoints/{ENDPOINT}/invocations"
    lines = f"""
API      {stack.url}
MLflow   {stack.mlflow_url}{"/mlflow/" if stack.mlflow_url == stack.url else ""}   (penstock login prints a link)
token    {home.token_file}

# curl
TOKEN=$(cat {home.token_file})
ROW='{record}'
curl -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\
  -d "{{\\"dataframe_records\\": [$ROW]}}" {url}

# requests
import requests
token = open("{home.token_file}").read().strip()
row = {record}
answer = requests.post("{url}",
                       headers={{"Authorization": f"Bearer {{token}}"}}, json={{"dataframe_records": [row]}})
print(answer.json(), answer.headers["served-model-name"])

# databricks-sdk
from databricks.sdk import WorkspaceClient
w = WorkspaceClient(host="{stack.url}", token=token)
print(w.serving_endpoints.query("{ENDPOINT}", dataframe_records=[row]).predictions)"""
    stderr.print(lines, markup=False, soft_wrap=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """MLflow prints addresses and progress of its own, which say nothing here that a step does not."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


@contextmanager
def _step(title: str) -> Iterator[None]:
    started = time.perf_counter()
    with stderr.status(title):
        yield
    stderr.print(f"[green]✓[/] {title}  [dim]{time.perf_counter() - started:.1f} s[/]")
