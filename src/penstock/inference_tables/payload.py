"""The table of an AI Gateway's `inference_table_config`, as the contract has it: a row for each request."""

import pyarrow as pa

from penstock.inference_tables.logged_request import LoggedRequest
from penstock.inference_tables.table_kind import DAY_US, STRING, TIMESTAMP, Row, TableKind

PAYLOAD = TableKind(
    "payload",
    pa.schema(
        [
            ("databricks_request_id", STRING),
            ("request_date", pa.date32()),
            ("client_request_id", STRING),
            ("request_time", TIMESTAMP),
            ("status_code", pa.int32()),
            ("sampling_fraction", pa.float64()),
            ("execution_duration_ms", pa.int64()),
            ("request", STRING),
            ("response", STRING),
            ("logging_error_codes", pa.list_(STRING)),
            ("served_entity_id", STRING),
            ("requester", STRING),
        ]
    ),
    date="request_date",
)


def payload_row(logged: LoggedRequest) -> Row:
    """The row of a request."""
    notes, context = logged.notes, logged.context
    request, answer, codes = logged.texts()
    return (
        logged.request_id,
        logged.received_us // DAY_US,
        notes.client_request_id,
        logged.received_ms * 1000,
        logged.status,
        context.sampling_fraction,
        notes.execution_ms,
        request,
        answer,
        codes,
        context.entity_id,
        context.requester,
    )
