"""External models: kept, named, given back without their keys, and honest about not being served."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.stack import MANAGEMENT, Stack, entity, refused

CANARY = "sk-canary-7f3a9c1e5b8d2046"


def openai(**config: Any) -> dict[str, Any]:
    return {"provider": "openai", "name": "gpt-4.1:mini", "task": "llm/v1/chat", "openai_config": config}


def body(name: str, *models: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "config": {"served_entities": [{"external_model": model} for model in models]}}


def everything_at_rest(home: Path) -> bytes:
    """All files of a home but sockets."""
    return b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())


def test_c08_c37_an_external_model_is_named_kept_and_its_key_never_seen(
    stack: Stack, fresh: Callable[[str], str]
) -> None:
    name = fresh("outside")
    created = stack.call("POST", MANAGEMENT, body(name, openai(openai_api_key_plaintext=CANARY)))
    assert created.status_code == 200, created.text
    (served,) = created.json()["pending_config"]["served_entities"]
    assert served["name"] == "gpt-4-1-mini"
    assert served["external_model"] == openai()
    assert created.json()["task"] == "llm/v1/chat"
    after = stack.wait(name)
    assert after["state"] == {"ready": "NOT_READY", "config_update": "UPDATE_FAILED", "suspend": "NOT_SUSPENDED"}
    state = after["pending_config"]["served_entities"][0]["state"]
    assert state["deployment"] == "DEPLOYMENT_FAILED"
    assert "not served by this release" in state["deployment_state_message"]
    refused(stack.ask(name, {"messages": []}), 400, "BAD_REQUEST", "first deployment failed")
    told = [created.text, *(stack.call("GET", path).text for path in (f"{MANAGEMENT}/{name}", MANAGEMENT))]
    assert CANARY not in "".join(told)
    assert CANARY.encode() not in everything_at_rest(stack.home)


@pytest.mark.parametrize(
    "given",
    [
        {"served_entities": {"external_model": openai(openai_api_key_plaintext=CANARY)}},
        {"served_entities": [{"external_model": [openai(openai_api_key_plaintext=CANARY)]}]},
        {"served_entities": [{"external_model": {**openai(openai_api_key_plaintext=CANARY), "task": "no"}}]},
        {"served_entities": [{"external_model": openai(openai_api_key_plaintext=CANARY, openai_api_key=CANARY)}]},
        {"served_entities": [{"external_model": openai(openai_api_key=CANARY)}]},
        {"served_entities": [{"external_model": openai(openai_api_key_plaintext=[CANARY])}]},
        {"served_entities": [{"external_model": openai(openai_api_key_plaintext=CANARY), "entity_name": "m"}]},
    ],
)
def test_c37_no_message_shows_a_key(stack: Stack, given: dict[str, Any]) -> None:
    answer = stack.call("POST", MANAGEMENT, {"name": "outside-bad", "config": given})
    refused(answer, 400, "INVALID_PARAMETER_VALUE", "served_entities")
    assert CANARY not in answer.text
    assert CANARY.encode() not in everything_at_rest(stack.home)


KEYED = openai(openai_api_key_plaintext="k")
BEDROCK = {"provider": "amazon-bedrock", "name": "x", "task": "llm/v1/chat", "amazon_bedrock_config": {}}


@pytest.mark.parametrize(
    ("models", "told"),
    [
        ([{**openai(), "provider": "nobody"}], "provider"),
        ([openai()], "openai_api_key"),
        ([{**KEYED, "task": "llm/v1/embeddings"}, {**KEYED, "name": "other"}], "another task"),
        ([openai(openai_api_key="{{secrets/nowhere/key}}")], "{{secrets/nowhere/key}}"),
        ([BEDROCK], "aws_region"),
    ],
)
def test_what_an_external_model_may_not_be(stack: Stack, models: list[dict[str, Any]], told: str) -> None:
    answer = stack.call("POST", MANAGEMENT, body("outside-bad", *models))
    refused(answer, 400, "INVALID_PARAMETER_VALUE", told)


def test_external_and_registered_models_do_not_mix(stack: Stack, create: Callable[..., dict[str, Any]]) -> None:
    external = {"external_model": openai(openai_api_key_plaintext="k")}
    routes = [{"served_entity_name": n, "traffic_percentage": 50} for n in ("m-1", "gpt-4-1-mini")]
    mixed = {"served_entities": [entity(), external], "traffic_config": {"routes": routes}}
    refused(stack.call("POST", MANAGEMENT, {"name": "mixed", "config": mixed}), 400, "INVALID_PARAMETER_VALUE", "mixed")
    create("registered")
    changed = stack.call("PUT", f"{MANAGEMENT}/registered/config", {"served_entities": [external]})
    refused(changed, 400, "INVALID_PARAMETER_VALUE", "cannot change between")


def test_a_key_may_be_a_reference_and_is_given_back_as_written(stack: Stack, fresh: Callable[[str], str]) -> None:
    secrets = stack.workspace().secrets
    secrets.create_scope("outside")
    try:
        secrets.put_secret("outside", "key", string_value=CANARY)
        config = {
            "custom_provider_url": "http://127.0.0.1:9/v1",
            "bearer_token_auth": {"token": "{{secrets/outside/key}}"},
        }
        model = {"provider": "custom", "name": "c", "task": "llm/v1/chat", "custom_provider_config": config}
        created = stack.call("POST", MANAGEMENT, body(fresh("outside-custom"), model))
        assert created.status_code == 200, created.text
        assert created.json()["pending_config"]["served_models"][0]["external_model"] == model
        assert CANARY.encode() not in everything_at_rest(stack.home)
    finally:
        secrets.delete_scope("outside")
