"""The table of a config's `auto_capture_config`, the older form of the contract: a row for each request."""

import pyarrow as pa

from penstock.inference_tables.table_kind import STRING, STRING_MAP, TableKind

LEGACY_PAYLOAD = TableKind(
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
    partition_by=("date",),
)
