"""Rows of the audit log: what they tell, and what they never do."""

import json

import pytest

from penstock.domain.audit import MAX_VALUE_LENGTH, Allowance, AuditEvent
from penstock.inference_tables.audit import AUDIT
from penstock.inference_tables.row_kinds import decode_row
from penstock.wire.audit import TABLE, encode_row
from penstock.wire.audited_calls import action_of, params_of
from penstock.wire.secrets import PutSecret
from penstock.wire.serving_endpoints import CreateEndpoint

SECRET = "hunter2-canary"


def test_p5_7_a_row_fits_the_table() -> None:
    event = AuditEvent(1_700_000_000_123, "secrets", "putSecret", "ann", {"scope": "s"}, 403, "PERMISSION_DENIED")
    name, kind, row = decode_row(TABLE, encode_row(event, 42))
    assert (name, kind) == (TABLE, AUDIT)
    (told,) = kind.columns([row]).to_pylist()
    assert told["user_identity"] == {"email": "ann", "subject_name": None}
    assert told["event_time"].isoformat() == "2023-11-14T22:13:20.123000+00:00"
    assert told["event_date"].isoformat() == "2023-11-14"
    assert dict(told["request_params"]) == {"scope": "s"}
    assert told["response"] == {"status_code": 403, "error_message": "PERMISSION_DENIED", "result": None}
    assert told["identity_metadata"] == {"run_by": "ann", "run_as": "ann", "acting_resource": None}
    assert (told["workspace_id"], told["version"], told["account_id"]) == ("42", "2.0", None)


def test_p5_7_a_body_is_told_by_names_of_fields_and_never_by_values_that_may_be_secret() -> None:
    secret = PutSecret.model_validate_json(json.dumps({"scope": "s", "key": "k", "string_value": SECRET}))
    assert params_of({}, {"code": SECRET, "token": SECRET}, body=secret) == {
        "scope": "s",
        "key": "k",
        "fields": "key, scope, string_value",
    }
    entity = {"entity_name": "m", "entity_version": "3", "environment_vars": {"API_KEY": SECRET}}
    endpoint = CreateEndpoint.model_validate_json(json.dumps({"name": "e", "config": {"served_entities": [entity]}}))
    told = params_of({"name": "e"}, body=endpoint)
    assert told == {"name": "e", "served_entities": "m/3", "fields": "config, name"}


def test_p5_7_a_long_value_is_cut_off() -> None:
    assert params_of({"name": "x" * 5000}) == {"name": "x" * MAX_VALUE_LENGTH}


@pytest.mark.parametrize(
    ("operation", "path", "expected"),
    [
        ("create_endpoint", "/api/2.0/serving-endpoints", ("serverlessRealTimeInference", "createServingEndpoint")),
        ("put_secret", "/api/2.0/secrets/put", ("secrets", "putSecret")),
        ("roll_back", "/api/2.0/serving-endpoints/e/config:rollback", ("serverlessRealTimeInference", "rollBack")),
        ("list_processes", "/api/2.0/penstock/ps", ("penstock", "listProcesses")),
    ],
)
def test_p5_7_actions_have_the_names_of_the_documentation_or_of_their_form(
    operation: str, path: str, expected: tuple[str, str]
) -> None:
    assert action_of(operation, path) == expected


def test_p5_7_what_is_too_much_in_a_minute_is_counted_and_told_once() -> None:
    allowance = Allowance(3)
    assert [allowance.take(1000) for _ in range(5)] == [True, True, True, False, False]
    allowance.refuse(10)
    assert allowance.refused_before(2000) == 0
    assert allowance.refused_before(61_000) == 12
    assert allowance.refused_before(122_000) == 0
    assert allowance.take(122_000)
