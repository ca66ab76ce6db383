"""What the routes work with, and who calls them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from penstock.client.registry import Registry
from penstock.client.supervisor import SupervisorClient
from penstock.control.audit import Audit
from penstock.control.catalog import Catalog
from penstock.control.endpoints import Endpoints
from penstock.control.feedback import FeedbackBox
from penstock.control.history import History
from penstock.control.job_runs import JobRuns
from penstock.control.jobs import Jobs
from penstock.control.metric_history import MetricHistory
from penstock.control.metrics import Metrics
from penstock.control.not_logged import NotLogged
from penstock.control.permissions import Permissions
from penstock.control.secrets import Secrets
from penstock.control.sessions import Sessions
from penstock.control.stack_metrics import StackMetricsSource
from penstock.control.table_watch import TableWatch
from penstock.control.tokens import Tokens
from penstock.domain.errors import Unauthenticated
from penstock.domain.limits import Limits
from penstock.wire.messages import CREDENTIAL_HEADER, PRINCIPAL_HEADER


@dataclass(frozen=True, slots=True)
class Parts:
    """The use cases behind the routes."""

    endpoints: Endpoints
    history: History
    permissions: Permissions
    secrets: Secrets
    audit: Audit
    tokens: Tokens
    sessions: Sessions
    catalog: Catalog
    metrics: Metrics
    metric_history: MetricHistory
    stack_metrics: StackMetricsSource
    not_logged: NotLogged
    feedback: FeedbackBox
    table_watch: TableWatch
    jobs: Jobs
    job_runs: JobRuns
    registry: Registry
    supervisor: SupervisorClient
    logs: Path
    artifacts: Path
    workspace_id: int
    limits: Limits
    is_secure: bool
    """Whether clients reach the stack over TLS."""


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


def caller_of(request: Request) -> str:
    """The principal, as the gateway found it. The socket is open to this user's processes only."""
    principal = request.headers.get(PRINCIPAL_HEADER)
    if not principal:
        raise Unauthenticated("The request did not come through a gateway.")
    return principal


def credential_of(request: Request) -> str:
    """The digest of the token or session id that the request bore; empty if it bore none that holds."""
    return request.headers.get(CREDENTIAL_HEADER, "")


Context = Annotated[Parts, Depends(_parts)]
Caller = Annotated[str, Depends(caller_of)]
Credential = Annotated[str, Depends(credential_of)]
