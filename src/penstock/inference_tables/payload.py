"""The table of an AI Gateway's `inference_table_config`, as the contract has it: a row for each request."""

import pyarrow as pa

from penstock.inference_tables.table_kind import STRING, TIMESTAMP, TableKind

PAYLOAD = TableKind(
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
    partition_by=("request_date",),
)
