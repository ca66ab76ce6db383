"""What is planned is carried out call by call, up to the first that is refused."""

from typing import Any

from penstock.cli.applying import Outcome, awaited, carry_out
from penstock.client.api import ApiClient, ApiError
from penstock.domain.declaration import Change, Deed, Plan, Section
from penstock.wire.declared import decode_declared

E = {"entity_name": "m", "entity_version": "1"}
DECLARED = decode_declared(
    {
        "name": "x",
        "served_entities": [E],
        "tags": [{"key": "a"}],
        "telemetry_config": {},
        "rate_limits": [{"calls": 1}],
        "ai_gateway": {},
        "email_notifications": {"on_update_failure": ["me"]},
        "permissions": [{"user_name": "ann", "permission_level": "CAN_VIEW"}],
    }
)
THERE = {
    "name": "x",
    "id": "7",
    "tags": [{"key": "a"}, {"key": "b", "value": "1"}],
    "state": {"config_update": "NOT_UPDATING"},
}


class Api(ApiClient):
    """Answers from a script and remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        super().__init__("http://nowhere", "t")
        self.calls: list[tuple[str, str, Any]] = []
        self._answers = iter(answers)

    def call(self, method: str, path: str, body: object = None, query: dict[str, Any] | None = None) -> Any:
        self.calls.append((method, path, body))
        answer = next(self._answers, {})
        if isinstance(answer, Exception):
            raise answer
        return answer


def changing(*sections: Section) -> Plan:
    return Plan("x", Deed.CHANGE, tuple(Change(section, ()) for section in sections))


def test_a_create_is_one_call_and_one_for_permissions() -> None:
    api = Api({"name": "x", "id": "7"})
    assert carry_out(api, Plan("x", Deed.CREATE), DECLARED, None).result == "created"
    (_, path, body), (method, grants, _) = api.calls
    assert path == "/api/2.0/serving-endpoints"
    assert body["config"] == {"served_entities": [E]}
    assert "permissions" not in body
    assert (method, grants) == ("PUT", "/api/2.0/permissions/serving-endpoints/7")


def test_every_section_has_its_call_and_tags_that_are_not_declared_go() -> None:
    api = Api()
    sections = [section for section in Section if section in DECLARED.document]
    assert carry_out(api, changing(*sections), DECLARED, THERE) == Outcome("changed")
    root = "/api/2.0/serving-endpoints/x"
    assert api.calls == [
        ("PATCH", f"{root}/telemetry-config", {"telemetry_config": {}}),
        ("PUT", f"{root}/config", {"served_entities": [E]}),
        ("PATCH", f"{root}/tags", {"add_tags": [{"key": "a"}], "delete_tags": ["b"]}),
        ("PATCH", f"{root}/notifications", {"email_notifications": {"on_update_failure": ["me"]}}),
        ("PUT", f"{root}/rate-limits", {"rate_limits": [{"calls": 1}]}),
        ("PUT", f"{root}/ai-gateway", {}),
        (
            "PUT",
            "/api/2.0/permissions/serving-endpoints/7",
            {"access_control_list": [{"user_name": "ann", "permission_level": "CAN_VIEW"}]},
        ),
    ]


def test_a_conflict_ends_with_5_and_keeps_what_would_come_after_it() -> None:
    api = Api(ApiError(409, "RESOURCE_CONFLICT", "being updated"))
    outcome = carry_out(api, changing(Section.CONFIG, Section.TAGS), DECLARED, THERE)
    assert (outcome.result, outcome.exit_code) == ("conflict", 5)
    assert "being updated" in outcome.message
    assert len(api.calls) == 1
    refused = carry_out(Api(ApiError(400, "INVALID_PARAMETER_VALUE", "no")), changing(Section.TAGS), DECLARED, THERE)
    assert (refused.result, refused.exit_code) == ("failed", 1)


def test_updates_are_awaited_those_of_others_included_and_a_time_out_is_told() -> None:
    updating = {**THERE, "state": {"config_update": "IN_PROGRESS"}}
    keep, done = Plan("x", Deed.KEEP), {**THERE, "state": {"config_update": "NOT_UPDATING"}}
    unchanged = {"x": Outcome("unchanged")}
    assert awaited(Api(done), [keep], unchanged, {"x": updating}, deadline=0.0) == unchanged
    assert awaited(Api(updating), [keep], unchanged, {"x": updating}, deadline=0.0)["x"].result == "timed-out"
    idle = Api()
    assert awaited(idle, [keep], unchanged, {"x": THERE}, deadline=0.0) == unchanged
    assert idle.calls == []
    gone = Api(ApiError(404, "RESOURCE_DOES_NOT_EXIST", "deleted meanwhile"))
    assert awaited(gone, [changing(Section.CONFIG)], {"x": Outcome("changed")}, {"x": THERE}, 0.0)["x"].exit_code == 1
