"""The management routes, by Schemathesis, from our own OpenAPI document; a new route joins by itself.

Its strategies are used, and not its pytest plugin, whose parametrisation does not know pytest 9.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from penstock.api.app import make_app
from support.fuzzing.client import Answer, fault_of
from support.stack import MANAGEMENT, Stack

EXAMPLES = 25
NAME = "schemathesis"
SCHEMA = schemathesis.openapi.from_dict(make_app(lambda _: None).openapi())  # type: ignore[arg-type, return-value]
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}


@dataclass(frozen=True)
class Visitor:
    """A principal of its own, so that nothing that comes of it can hurt another test."""

    url: str
    headers: dict[str, str]
    endpoint: dict[str, str]
    """An endpoint of its own, for routes that take the name or id of one."""


@pytest.fixture(scope="module")
def visitor(stack: Stack) -> Iterator[Visitor]:
    token = stack.call("POST", "/api/2.0/penstock/tokens", {"user": NAME}).json()
    stack.call("PUT", f"/api/2.0/penstock/principals/{NAME}", {"groups": ["admins"]})
    endpoint = stack.call("POST", MANAGEMENT, {"name": NAME}).json()
    yield Visitor(stack.url, {"Authorization": f"Bearer {token['token']}"}, endpoint)
    for left in stack.call("GET", MANAGEMENT).json()["endpoints"]:
        if left["creator"] == NAME or left["name"] == NAME:
            stack.call("DELETE", f"{MANAGEMENT}/{left['name']}")
    stack.call("DELETE", f"/api/2.0/penstock/tokens/{token['id']}")
    stack.call("PUT", f"/api/2.0/penstock/principals/{NAME}", {"groups": []})


def test_the_document_that_is_given_out_is_the_one_that_is_tested(stack: Stack) -> None:
    document = stack.call("GET", "/api/2.0/penstock/openapi.json").json()
    assert sum(len(methods) for methods in document["paths"].values()) == len(OPERATIONS)


@pytest.mark.parametrize("label", OPERATIONS)
def test_r19_no_management_request_causes_a_5xx(label: str, visitor: Visitor) -> None:
    operation = OPERATIONS[label]

    @given(case=operation.as_strategy())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    def every_answer_is_proper(case: schemathesis.Case) -> None:
        check(case, visitor)
        own = {"endpoint_id": visitor.endpoint["id"]}
        if "serving-endpoints" in operation.path:
            own["name"] = visitor.endpoint["name"]
        known = own.keys() & case.path_parameters.keys()
        if known and operation.method != "delete":
            case.path_parameters.update({name: own[name] for name in known})
            check(case, visitor)

    every_answer_is_proper()


def check(case: schemathesis.Case, visitor: Visitor) -> None:
    response = case.call(base_url=visitor.url, headers=visitor.headers, timeout=10)
    content_type = response.headers.get("content-type", [""])[0]
    fault = fault_of(Answer(response.status_code, content_type.encode(), response.content))
    assert fault is None, f"{fault}: {response.content[:500]!r}"
