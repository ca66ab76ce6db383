"""Writes the audit log: rows of a table, from the control plane's spool, before the answers that they tell of leave.

A row that cannot be written is counted as lost, and what it tells of happens all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.control.clock import now_ms
from penstock.domain.access import digest_of
from penstock.domain.audit import SYSTEM, Allowance, AuditEvent, AuthenticationFailure
from penstock.domain.errors import PenstockError
from penstock.domain.replica import ReplicaSpec
from penstock.domain.secrets import reference_in
from penstock.spool.writer import SpoolWriter
from penstock.stores.database import Database
from penstock.wire.audit import TABLE, encode_row

FAILURES_PER_MINUTE = 60
"""Failed authentications that get a row each; the others of a minute share one."""
_UNAUTHENTICATED = 401
_SESSION_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Shown:
    """What may be told of a credential that came with a request."""

    principal: str | None = None
    session_id: str | None = None
    """Tells one session from another, and opens none."""
    acting_resource: str | None = None
    """The token, or the one that the session was begun with."""


class Audit:
    """The audit log of one stack."""

    def __init__(self, spool: SpoolWriter, database: Database, workspace_id: int) -> None:
        self._spool = spool
        self._database = database
        self._workspace_id = workspace_id
        self._allowance = Allowance(FAILURES_PER_MINUTE)

    def record(self, event: AuditEvent) -> None:
        """Write a row now."""
        self._spool.add_row(_nothing, TABLE, encode_row(event, self._workspace_id), event.at_ms * 1000)
        self._spool.flush()

    def shown(self, digest: str) -> Shown:
        """What may be told of the credential of that digest."""
        if not digest:
            return Shown()
        try:
            token = self._database.token_of_digest(digest)
            session = None if token is not None else self._database.session(digest)
        except PenstockError:  # the call that is told of may fail for the same reason
            return Shown()
        if session is not None:
            return Shown(session.principal, digest_of(digest)[:_SESSION_DIGITS], f"tokens/{session.token_id}")
        return Shown() if token is None else Shown(token.principal, None, f"tokens/{token.id}")

    def failures(self, told: Sequence[AuthenticationFailure], untold: int) -> None:
        """A gateway tells of requests without valid credentials, of some only how many there were."""
        at_ms = now_ms()
        more = self._allowance.refused_before(at_ms)
        if more:
            self.record(_failure(at_ms, {"failures_without_a_row": str(more)}))
        self._allowance.refuse(untold)
        for failure in told:
            if self._allowance.take(failure.at_ms):
                params = {"method": failure.method, "path": failure.path, "reason": failure.reason}
                self.record(_failure(failure.at_ms, params, failure.address, failure.user_agent))

    def secrets_used(self, spec: ReplicaSpec, variables: Sequence[str]) -> None:
        """A replica is about to get secrets in these variables."""
        for name in variables:
            value = spec.environment.get(name)
            reference = None if value is None else reference_in(name, value)
            origin = {} if reference is None else {"scope": reference.scope, "key": reference.key}
            params = {
                **origin,
                "variable": name,
                "endpoint_name": spec.endpoint_name,
                "served_model": spec.entity_name,
                "slot": spec.slot,
            }
            self.record(AuditEvent(now_ms(), "secrets", "getSecret", SYSTEM, params))


def _failure(at_ms: int, params: dict[str, str], address: str = "", user_agent: str = "") -> AuditEvent:
    return AuditEvent(
        at_ms, "accounts", "tokenLogin", None, params, _UNAUTHENTICATED, "UNAUTHENTICATED", address, user_agent
    )


def _nothing() -> None:
    """Nothing waits for a row."""
