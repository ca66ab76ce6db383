"""Rows of `system.access.audit`, under the names of Databricks' public documentation."""

import uuid
from typing import Any

import msgspec

from penstock.domain.audit import AuditEvent

TABLE = "system.access.audit"


def encode_row(event: AuditEvent, workspace_id: int) -> bytes:
    """The row of an event: a value for each column that has one."""
    row: dict[str, Any] = {
        "workspace_id": str(workspace_id),
        "version": "2.0",
        "event_time": event.at_ms * 1000,
        "event_date": event.at_ms // 86_400_000,
        "source_ip_address": event.address or None,
        "user_agent": event.user_agent or None,
        "session_id": event.session_id,
        "user_identity": {"email": event.principal, "subject_name": None},
        "service_name": event.service,
        "action_name": event.action,
        "request_id": str(uuid.uuid4()),
        "request_params": event.params,
        "response": {"status_code": event.status, "error_message": event.error_code, "result": None},
        "audit_level": "WORKSPACE_LEVEL",
        "event_id": str(uuid.uuid4()),
        "identity_metadata": {
            "run_by": event.principal,
            "run_as": event.run_as or event.principal,
            "acting_resource": event.acting_resource,
        },
    }
    return msgspec.json.encode(row)
