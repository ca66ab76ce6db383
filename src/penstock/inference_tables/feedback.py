"""The tables of feedback: `<prefix>_feedback` beside a payload table, a row for each thing that was told."""

import pyarrow as pa

from penstock.inference_tables.table_kind import STRING, TIMESTAMP, TableKind

FEEDBACK = TableKind(
    "feedback",
    pa.schema(
        [
            ("feedback_id", STRING),
            ("feedback_date", pa.date32()),
            ("feedback_time", TIMESTAMP),
            ("databricks_request_id", STRING),
            ("client_request_id", STRING),
            ("row_position", pa.int32()),
            ("label", STRING),
            ("rating", pa.float64()),
            ("value", pa.float64()),
            ("comment", STRING),
            ("author", STRING),
            ("reviewer", STRING),
            ("observed_time", TIMESTAMP),
            ("endpoint_name", STRING),
        ]
    ),
    date="feedback_date",
)
