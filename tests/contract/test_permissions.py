"""Permissions that hold: at the gateway for queries, at the API for everything else. Names bear the numbers."""

from collections.abc import Iterator

import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import PermissionDenied
from databricks.sdk.service.serving import ServingEndpointAccessControlRequest, ServingEndpointPermissionLevel

from penstock.api.app import make_app
from support.stack import MANAGEMENT, QUERY, ROW, Stack, refused

PERMISSIONS = "/api/2.0/permissions/serving-endpoints"
BODY = {"dataframe_records": [ROW]}


class Person:
    """Somebody with a token of their own."""

    def __init__(self, stack: Stack, name: str) -> None:
        answer = stack.call("POST", "/api/2.0/penstock/tokens", {"user": name}).json()
        self.name, self.token_id, self._token, self._url = name, answer["id"], answer["token"], stack.url

    def call(self, method: str, path: str, body: object = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {self._token}"}
        return requests.request(method, self._url + path, json=body, headers=headers, timeout=30)

    def workspace(self) -> WorkspaceClient:
        return WorkspaceClient(host=self._url, token=self._token)

    def may(self, endpoint: str) -> tuple[bool, bool, bool]:
        """Whether they can see, query and change an endpoint."""
        statuses = (
            self.call("GET", f"{MANAGEMENT}/{endpoint}").status_code,
            self.call("POST", f"{QUERY}/{endpoint}/invocations", BODY).status_code,
            self.call("PATCH", f"{MANAGEMENT}/{endpoint}/tags", {}).status_code,
        )
        assert set(statuses) <= {200, 403}
        see, query, change = (status == 200 for status in statuses)
        return see, query, change


@pytest.fixture
def ann(stack: Stack) -> Iterator[Person]:
    person = Person(stack, "ann@example.com")
    yield person
    stack.call("DELETE", f"/api/2.0/penstock/tokens/{person.token_id}")
    stack.call("PUT", f"/api/2.0/penstock/principals/{person.name}", {"groups": []})


@pytest.fixture
def live_id(stack: Stack, live: str) -> Iterator[str]:
    endpoint_id = stack.get(live)["id"]
    yield endpoint_id
    admin = {"user_name": "admin", "permission_level": "CAN_MANAGE"}
    stack.call("PUT", f"{PERMISSIONS}/{endpoint_id}", {"access_control_list": [admin]})


def test_c42_levels_hold_and_are_told(stack: Stack, live: str, live_id: str, ann: Person) -> None:
    endpoints = stack.workspace().serving_endpoints
    assert ann.may(live) == (False, False, False)
    assert live not in [e.name for e in ann.workspace().serving_endpoints.list()]
    seen = {
        ServingEndpointPermissionLevel.CAN_VIEW: (True, False, False),
        ServingEndpointPermissionLevel.CAN_QUERY: (True, True, False),
        ServingEndpointPermissionLevel.CAN_MANAGE: (True, True, True),
    }
    for level, expected in seen.items():
        grant = ServingEndpointAccessControlRequest(user_name=ann.name, permission_level=level)
        answer = endpoints.update_permissions(live_id, access_control_list=[grant])
        assert answer.object_type == "serving-endpoint"
        assert answer.object_id == f"/serving-endpoints/{live_id}"
        direct = {
            entry.user_name: [p.permission_level for p in entry.all_permissions or []]
            for entry in answer.access_control_list or []
            if entry.user_name
        }
        assert direct == {"admin": [ServingEndpointPermissionLevel.CAN_MANAGE], ann.name: [level]}
        assert endpoints.get_permissions(live_id).as_dict() == answer.as_dict()
        assert ann.may(live) == expected  # at once: the call has returned when every gateway knows
        assert ann.call("GET", f"{MANAGEMENT}/{live}").json()["permission_level"] == level.value
    levels = endpoints.get_permission_levels(live_id).permission_levels or []
    assert [entry.permission_level for entry in levels] == list(seen)
    admin = ServingEndpointAccessControlRequest(
        user_name="admin", permission_level=ServingEndpointPermissionLevel.CAN_MANAGE
    )
    endpoints.set_permissions(live_id, access_control_list=[admin])
    assert ann.may(live) == (False, False, False)


def test_c42_the_sdk_raises_permission_denied(live: str, ann: Person) -> None:
    endpoints = ann.workspace().serving_endpoints
    with pytest.raises(PermissionDenied, match="CAN_QUERY"):
        endpoints.query(live, dataframe_records=[ROW])
    with pytest.raises(PermissionDenied, match="CAN_MANAGE"):
        endpoints.delete(live)


def test_groups_and_admins(stack: Stack, live: str, live_id: str, ann: Person) -> None:
    group = {"access_control_list": [{"group_name": "analysts", "permission_level": "CAN_QUERY"}]}
    assert stack.call("PATCH", f"{PERMISSIONS}/{live_id}", group).status_code == 200
    assert ann.may(live) == (False, False, False)
    path = f"/api/2.0/penstock/principals/{ann.name}"
    assert stack.call("PUT", path, {"groups": ["analysts"]}).json() == {"name": ann.name, "groups": ["analysts"]}
    assert ann.may(live) == (True, True, False)
    assert ann.workspace().current_user.me().groups[0].display == "analysts"
    stack.call("PUT", path, {"groups": ["admins"]})
    assert ann.may(live) == (True, True, True)
    stack.call("PUT", path, {"groups": []})
    assert ann.may(live) == (False, False, False)


def test_a_creator_manages_what_they_created(stack: Stack, ann: Person) -> None:
    try:
        created = ann.call("POST", MANAGEMENT, {"name": "anns-own"}).json()
        assert created["permission_level"] == "CAN_MANAGE"
        assert "anns-own" in [e["name"] for e in stack.call("GET", MANAGEMENT).json()["endpoints"]]
        path = f"{PERMISSIONS}/{created['id']}"
        refused(
            ann.call("PUT", path, {"access_control_list": []}), 400, "INVALID_PARAMETER_VALUE", "its own CAN_MANAGE"
        )
        assert ann.call("DELETE", f"{MANAGEMENT}/anns-own").status_code == 200
    finally:
        stack.call("DELETE", f"{MANAGEMENT}/anns-own")


def test_bad_grants_name_the_field_and_change_nothing(stack: Stack, live_id: str) -> None:
    path = f"{PERMISSIONS}/{live_id}"
    before = stack.call("GET", path).json()
    for entry, fragment in (
        ({"permission_level": "CAN_VIEW"}, "access_control_list[0]: got 0 grantees"),
        ({"user_name": "a", "group_name": "b", "permission_level": "CAN_VIEW"}, "got 2 grantees"),
        ({"user_name": "a", "permission_level": "CAN_FLY"}, "access_control_list[0].permission_level"),
        ({"user_name": "a"}, "access_control_list[0].permission_level"),
    ):
        refused(stack.call("PATCH", path, {"access_control_list": [entry]}), 400, "INVALID_PARAMETER_VALUE", fragment)
    assert stack.call("GET", path).json() == before
    refused(stack.call("GET", f"{PERMISSIONS}/nope"), 404, "RESOURCE_DOES_NOT_EXIST", "nope")


def test_tokens_and_groups_of_others_are_for_admins(stack: Stack, ann: Person) -> None:
    admins = [t["id"] for t in stack.call("GET", "/api/2.0/penstock/tokens").json()["tokens"] if t["user"] == "admin"]
    assert [t["user"] for t in ann.call("GET", "/api/2.0/penstock/tokens").json()["tokens"]] == [ann.name]
    for method, path, body in (
        ("POST", "/api/2.0/penstock/tokens", {"user": "admin"}),
        ("DELETE", f"/api/2.0/penstock/tokens/{admins[0]}", None),
        ("PUT", f"/api/2.0/penstock/principals/{ann.name}", {"groups": ["admins"]}),
    ):
        refused(ann.call(method, path, body), 403, "PERMISSION_DENIED", ann.name)
    own = ann.call("POST", "/api/2.0/penstock/tokens", {"user": ann.name}).json()
    assert ann.call("DELETE", f"/api/2.0/penstock/tokens/{own['id']}").json() == {}
    itself = stack.call("PUT", "/api/2.0/penstock/principals/admin", {"groups": []})
    refused(itself, 400, "INVALID_PARAMETER_VALUE", "admins")


JOBS = "/api/2.2/jobs"
JOB = {"name": "guarded", "tasks": [{"task_key": "t", "spark_python_task": {"python_file": "/nowhere.py"}}]}
ROUTES = [
    (method.upper(), path)
    for path, methods in make_app(lambda _: None).openapi()["paths"].items()  # type: ignore[arg-type, return-value]
    for method in methods
]
OPEN_TO_ALL = {
    ("GET", "/api/2.0/serving-endpoints"),
    ("POST", "/api/2.0/serving-endpoints"),
    ("GET", "/api/2.0/preview/scim/v2/Me"),
    ("POST", "/api/2.0/external-function"),
    ("POST", "/api/2.0/serving-endpoints/pt"),
    ("PUT", "/api/2.0/serving-endpoints/pt/{name}/config"),
    ("GET", "/api/2.0/penstock/ps"),
    ("GET", "/metrics"),
    ("GET", "/api/2.0/penstock/tables"),
    ("GET", "/api/2.0/penstock/tables/{name}"),
    ("GET", "/api/2.0/penstock/models"),
    ("GET", "/api/2.0/penstock/tokens"),
    ("GET", "/api/2.0/penstock/principals"),
    ("POST", "/api/2.0/secrets/scopes/create"),
    ("GET", "/api/2.0/secrets/scopes/list"),
    ("GET", "/api/2.0/secrets/get"),
    ("GET", "/api/2.0/secrets/acls/list"),
    ("GET", "/api/2.0/secrets/acls/get"),
    ("POST", "/api/2.0/secrets/acls/put"),
    ("POST", "/api/2.0/secrets/acls/delete"),
    ("POST", "/api/2.0/penstock/login-codes"),
    ("POST", f"{JOBS}/create"),
    ("GET", f"{JOBS}/list"),
    ("POST", f"{JOBS}/runs/submit"),
    ("GET", f"{JOBS}/runs/list"),
}
UNITY_CATALOG = "/api/2.1/unity-catalog/"
"""Shows what the caller may see, and changes nothing for anybody: see `test_unity_catalog.py`."""
GUARDED = {route for route in set(ROUTES) - OPEN_TO_ALL if not route[1].startswith(UNITY_CATALOG)}


@pytest.fixture(scope="module")
def guarded(stack: Stack) -> Iterator[str]:
    """A scope of secrets that is the admin's."""
    stack.workspace().secrets.create_scope("guarded")
    yield "guarded"
    stack.workspace().secrets.delete_scope("guarded")


@pytest.fixture(scope="module")
def job(stack: Stack) -> Iterator[dict[str, int]]:
    """A job of the admin, and a run of it."""
    job_id = stack.call("POST", f"{JOBS}/create", JOB).json()["job_id"]
    run_id = stack.call("POST", f"{JOBS}/run-now", {"job_id": job_id}).json()["run_id"]
    yield {"job_id": job_id, "run_id": run_id}
    stack.call("POST", f"{JOBS}/delete", {"job_id": job_id})


@pytest.mark.parametrize(("method", "path"), sorted(GUARDED))
def test_every_route_asks_who_calls(
    stack: Stack, live: str, live_id: str, guarded: str, job: dict[str, int], ann: Person, method: str, path: str
) -> None:
    """The list comes from the router: a new route without a rule, and without a word here, fails."""
    token_id = stack.call("GET", "/api/2.0/penstock/tokens").json()["tokens"][0]["id"]
    filled = (
        path.replace("{name}", live if "principals" not in path else "somebody")
        .replace("{served_model}", "m-1")
        .replace("{endpoint_id}", live_id)
        .replace("{token_id}", token_id)
    )
    if path == "/api/2.0/secrets/list":
        filled += f"?scope={guarded}"
    if path.startswith(JOBS) and method == "GET":
        filled += "?job_id={job_id}&run_id={run_id}".format_map(job)
    secret = {"scope": guarded, "key": "k", "string_value": "v"}
    table = {"name": "t", "path": "/nowhere", "endpoint": live, "feedback": [{"client_request_id": "x", "rating": 1}]}
    body = {"user": "admin", "groups": [], "served_entities": [], "access_control_list": [], **secret, **table, **job}
    body["new_settings"] = JOB
    before = stack.get(live)
    refused(ann.call(method, filled, body), 403, "PERMISSION_DENIED", ann.name)
    assert stack.get(live) == before
