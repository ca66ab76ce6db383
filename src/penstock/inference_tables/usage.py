"""The tables of `system.serving`: who used what, and which served entities there have been."""

import pyarrow as pa

from penstock.inference_tables.logged_request import LoggedRequest
from penstock.inference_tables.table_kind import STRING, STRING_MAP, TIMESTAMP, Row, TableKind

USAGE_TABLE = "system.serving.endpoint_usage"

ENDPOINT_USAGE = TableKind(
    "usage",
    pa.schema(
        [
            ("account_id", STRING),
            ("workspace_id", STRING),
            ("client_request_id", STRING),
            ("databricks_request_id", STRING),
            ("requester", STRING),
            ("status_code", pa.int32()),
            ("request_time", TIMESTAMP),
            ("input_token_count", pa.int64()),
            ("output_token_count", pa.int64()),
            ("input_character_count", pa.int64()),
            ("output_character_count", pa.int64()),
            ("usage_context", STRING_MAP),
            ("request_streaming", pa.bool_()),
            ("served_entity_id", STRING),
        ]
    ),
)
"""`system.serving.endpoint_usage`: a row for each request to an endpoint whose usage is tracked."""

SERVED_ENTITIES = TableKind(
    "served-entities",
    pa.schema(
        [
            ("served_entity_id", STRING),
            ("account_id", STRING),
            ("workspace_id", STRING),
            ("created_by", STRING),
            ("endpoint_name", STRING),
            ("endpoint_id", STRING),
            ("served_entity_name", STRING),
            ("entity_type", STRING),
            ("entity_name", STRING),
            ("entity_version", STRING),
            ("endpoint_config_version", pa.int32()),
            ("task", STRING),
            ("external_model_config", pa.struct([("provider", STRING)])),
            ("foundation_model_config", pa.struct([("min_provisioned_throughput", pa.int64())])),
            (
                "custom_model_config",
                pa.struct([("min_concurrency", pa.int64()), ("max_concurrency", pa.int64()), ("compute_type", STRING)]),
            ),
            ("feature_spec_config", pa.struct([("min_concurrency", pa.int64())])),
            ("change_time", TIMESTAMP),
            ("endpoint_delete_time", TIMESTAMP),
        ]
    ),
)
"""`system.serving.served_entities`: a row for each served entity of each config, and one more when it is deleted."""


def usage_row(logged: LoggedRequest, workspace_id: str) -> Row:
    """The row of a request; characters are counted of bodies that are there."""
    notes = logged.notes
    request, answer, _ = logged.texts()
    is_there = logged.is_sampled
    return (
        None,
        workspace_id,
        notes.client_request_id,
        logged.request_id,
        logged.context.requester,
        logged.status,
        logged.received_ms * 1000,
        notes.input_tokens,
        notes.output_tokens,
        len(request) if is_there and request is not None else None,
        len(answer) if is_there and answer is not None else None,
        notes.usage_context or {},
        logged.is_stream,
        logged.context.entity_id,
    )
