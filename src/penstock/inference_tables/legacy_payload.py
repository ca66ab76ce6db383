"""The table of a config's `auto_capture_config`, the older form of the contract: a row for each request."""

import pyarrow as pa

from penstock.inference_tables.logged_request import LoggedRequest
from penstock.inference_tables.table_kind import DAY_US, STRING, STRING_MAP, Row, TableKind

LEGACY_PAYLOAD = TableKind(
    "legacy-payload",
    pa.schema(
        [
            ("databricks_request_id", STRING),
            ("client_request_id", STRING),
            ("date", pa.date32()),
            ("timestamp_ms", pa.int64()),
            ("status_code", pa.int32()),
            ("sampling_fraction", pa.float64()),
            ("execution_time_ms", pa.int64()),
            ("request", STRING),
            ("response", STRING),
            ("request_metadata", STRING_MAP),
        ]
    ),
    date="date",
)


def legacy_payload_row(logged: LoggedRequest) -> Row:
    """The row of a request."""
    notes, context = logged.notes, logged.context
    request, answer, _ = logged.texts()
    return (
        logged.request_id,
        notes.client_request_id,
        logged.received_us // DAY_US,
        logged.received_ms,
        logged.status,
        context.sampling_fraction,
        notes.execution_ms,
        request,
        answer,
        {
            "endpoint_name": context.endpoint_name,
            "model_name": context.model_name,
            "model_version": context.model_version,
        },
    )
