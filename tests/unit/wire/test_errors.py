"""Errors on the wire: codes that clients know, a status for each, and no text that makes the SDK send again."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.domain import errors
from penstock.wire.errors import KNOWN_CODES, UNITY_CATALOG_CODES, body_of, defused, error_body, headers_of, status_of


def classes(root: type[errors.PenstockError] = errors.PenstockError) -> Iterator[type[errors.PenstockError]]:
    """The whole tree."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from classes(child)


ALL = list(classes())

# Joined here, so that the phrases themselves stand nowhere in the repository.
TRIGGERS = [
    "Unexpected" + " error",
    "Please try again" + " later or try a faster operation.",
    "RPC token" + " bucket limit has been exceeded",
    "Cluster" + "NotReadyException",
    "Unknown worker" + " environment",
    "does not have any" + " associated worker environments",
    "There is no worker" + " environment with id",
    "com.databricks.backend.manager.util.Unknown" + "WorkerEnvironmentException",
]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_a_code_that_clients_know(kind: type[errors.PenstockError]) -> None:
    assert kind.error_code in KNOWN_CODES | UNITY_CATALOG_CODES


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_a_status_of_its_side(kind: type[errors.PenstockError]) -> None:
    side = 4 if issubclass(kind, errors.CallerError | errors.ResourceExhausted) else 5
    assert status_of(kind("x")) // 100 == side


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.InvalidParameterValue("x"), 400, "INVALID_PARAMETER_VALUE"),
        (errors.BadRequest("x"), 400, "BAD_REQUEST"),
        (errors.PayloadTooLarge("x"), 413, "BAD_REQUEST"),
        (errors.UnsupportedMediaType("x"), 415, "BAD_REQUEST"),
        (errors.Unauthenticated("x"), 401, "UNAUTHENTICATED"),
        (errors.PermissionDenied("x"), 403, "PERMISSION_DENIED"),
        (errors.ResourceDoesNotExist("x"), 404, "RESOURCE_DOES_NOT_EXIST"),
        (errors.RouteNotFound("x"), 404, "ENDPOINT_NOT_FOUND"),
        (errors.MethodNotAllowed("x"), 405, "ENDPOINT_NOT_FOUND"),
        (errors.ResourceAlreadyExists("x"), 409, "RESOURCE_ALREADY_EXISTS"),
        (errors.ResourceConflict("x"), 409, "RESOURCE_CONFLICT"),
        (errors.ResourceExhausted("x"), 429, "RESOURCE_EXHAUSTED"),
        (errors.TemporarilyUnavailable("x"), 503, "TEMPORARILY_UNAVAILABLE"),
        (errors.DeadlineExceeded("x"), 504, "DEADLINE_EXCEEDED"),
        (errors.InternalError("x"), 500, "INTERNAL_ERROR"),
    ],
)
def test_rows_of_the_contract(error: errors.PenstockError, status: int, code: str) -> None:
    assert status_of(error) == status
    assert json.loads(body_of(error)) == {"error_code": code, "message": "x"}


def test_an_error_of_an_unlisted_class_has_the_status_of_its_parent() -> None:
    class Refined(errors.ResourceConflict):
        pass

    assert status_of(Refined("x")) == 409


@pytest.mark.parametrize("kind", ALL)
def test_whatever_clients_send_again_tells_them_when(kind: type[errors.PenstockError]) -> None:
    headers = headers_of(kind("x"))
    if status_of(kind("x")) in {429, 503}:
        assert int(headers["retry-after"]) >= 1
    else:
        assert "retry-after" not in headers


def test_an_unauthenticated_caller_is_told_how() -> None:
    assert headers_of(errors.Unauthenticated("x"))["www-authenticate"] == "Bearer"


PARTS = st.one_of(st.sampled_from(TRIGGERS), st.sampled_from([" ", "_", "Unexpected ", "Unknown", "."]), st.text())


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(PARTS, max_size=6).map("".join))
@example(TRIGGERS[3])
@example(TRIGGERS[7])
@example("Unexpected " + TRIGGERS[0])
def test_no_message_makes_the_sdk_send_again(text: str) -> None:
    for message in (defused(text), json.loads(error_body("BAD_REQUEST", text))["message"]):
        assert not [trigger for trigger in TRIGGERS if trigger in message]


@settings(deadline=None, derandomize=True)
@given(st.text())
def test_other_messages_are_left_as_they_are(text: str) -> None:
    if not any(trigger in text for trigger in TRIGGERS):
        assert defused(text) == text


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_defused_message_still_says_what_it_said(trigger: str) -> None:
    text = defused(f"The model failed: {trigger} at 3")
    assert text.startswith("The model failed: ")
    assert text.endswith(" at 3")
    assert trigger.split(maxsplit=1)[0][:7] in text


def test_extra_fields_stand_beside_code_and_message() -> None:
    document = json.loads(error_body("BAD_REQUEST", 'é\n"', stack_trace="Trace"))
    assert document == {"error_code": "BAD_REQUEST", "message": 'é\n"', "stack_trace": "Trace"}
