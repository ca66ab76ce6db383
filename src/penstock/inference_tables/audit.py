"""`system.access.audit`: who changed or read what; the columns of Databricks' audit log system table."""

import pyarrow as pa

from penstock.inference_tables.table_kind import STRING, STRING_MAP, TIMESTAMP, TableKind

AUDIT = TableKind(
    "audit",
    pa.schema(
        [
            ("account_id", STRING),
            ("workspace_id", STRING),
            ("version", STRING),
            ("event_time", TIMESTAMP),
            ("event_date", pa.date32()),
            ("source_ip_address", STRING),
            ("user_agent", STRING),
            ("session_id", STRING),
            ("user_identity", pa.struct([("email", STRING), ("subject_name", STRING)])),
            ("service_name", STRING),
            ("action_name", STRING),
            ("request_id", STRING),
            ("request_params", STRING_MAP),
            ("response", pa.struct([("status_code", pa.int32()), ("error_message", STRING), ("result", STRING)])),
            ("audit_level", STRING),
            ("event_id", STRING),
            ("identity_metadata", pa.struct([("run_by", STRING), ("run_as", STRING), ("acting_resource", STRING)])),
        ]
    ),
    date="event_date",
)
"""A row for each call to the management API, each use of a secret and each failed authentication."""
