"""`external_model` of a served entity as Databricks writes it: providers, their fields, and which of them are keys.

Names follow the public REST documentation. A key comes as a reference, `{{secrets/scope/key}}`, or in clear under the
same name with `_plaintext`; what came in clear is never given back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from penstock.domain.errors import InvalidParameterValue
from penstock.domain.external_model import ExternalModel
from penstock.domain.secrets import Plaintext

_PLAINTEXT = "_plaintext"
_CHAT, _COMPLETIONS, _EMBEDDINGS = "llm/v1/chat", "llm/v1/completions", "llm/v1/embeddings"
_ALL = (_CHAT, _COMPLETIONS, _EMBEDDINGS)


@dataclass(frozen=True, slots=True)
class Provider:
    """What one provider's settings may hold."""

    config: str
    tasks: tuple[str, ...]
    fields: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    """Fields that are secret."""
    required: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    """Fields of which at least one is needed."""
    nested: dict[str, "Provider"] = field(default_factory=dict)
    """Settings within the settings."""


_BEARER = Provider("bearer_token_auth", (), keys=("token",), one_of=("token",))
_API_KEY = Provider("api_key_auth", (), ("key",), ("value",), required=("key",), one_of=("value",))

PROVIDERS = {
    "openai": Provider(
        "openai_config",
        _ALL,
        (
            *("openai_api_base", "openai_api_type", "openai_api_version", "openai_deployment_name"),
            *("openai_organization", "microsoft_entra_client_id", "microsoft_entra_tenant_id"),
        ),
        ("openai_api_key", "microsoft_entra_client_secret"),
        one_of=("openai_api_key", "microsoft_entra_client_secret"),
    ),
    "anthropic": Provider(
        "anthropic_config", (_CHAT, _COMPLETIONS), keys=("anthropic_api_key",), one_of=("anthropic_api_key",)
    ),
    "cohere": Provider("cohere_config", _ALL, ("cohere_api_base",), ("cohere_api_key",), one_of=("cohere_api_key",)),
    "ai21labs": Provider("ai21labs_config", (_COMPLETIONS,), keys=("ai21labs_api_key",), one_of=("ai21labs_api_key",)),
    "amazon-bedrock": Provider(
        "amazon_bedrock_config",
        _ALL,
        ("aws_region", "bedrock_provider", "instance_profile_arn", "uc_service_credential_name"),
        ("aws_access_key_id", "aws_secret_access_key"),
        ("aws_region", "bedrock_provider"),
        ("aws_access_key_id", "instance_profile_arn", "uc_service_credential_name"),
    ),
    "google-cloud-vertex-ai": Provider(
        "google_cloud_vertex_ai_config",
        (_CHAT, _EMBEDDINGS),
        ("project_id", "region"),
        ("private_key",),
        ("project_id", "region"),
        ("private_key",),
    ),
    "databricks-model-serving": Provider(
        "databricks_model_serving_config",
        _ALL,
        ("databricks_workspace_url",),
        ("databricks_api_token",),
        ("databricks_workspace_url",),
        ("databricks_api_token",),
    ),
    "palm": Provider("palm_config", (_COMPLETIONS, _EMBEDDINGS), keys=("palm_api_key",), one_of=("palm_api_key",)),
    "custom": Provider(
        "custom_provider_config",
        (_CHAT,),
        ("custom_provider_url",),
        required=("custom_provider_url",),
        nested={"api_key_auth": _API_KEY, "bearer_token_auth": _BEARER},
    ),
}


class Decoded(NamedTuple):
    """An external model, and its keys apart from it, by the path of their field."""

    model: ExternalModel
    plaintexts: dict[str, Plaintext]
    references: dict[str, str]


def decode_external_model(given: Mapping[str, Any], at: str) -> Decoded:
    """An external model as the domain sees it.

    Raises:
        InvalidParameterValue: a field is missing or holds what it may not; the message names it and shows no key.
    """
    provider_name, name, task = (_text(given, key, at) for key in ("provider", "name", "task"))
    provider = PROVIDERS.get(provider_name)
    if provider is None:
        raise InvalidParameterValue(f"{at}.provider: got '{provider_name}'; wanted one of {', '.join(PROVIDERS)}.")
    if task not in provider.tasks:
        raise InvalidParameterValue(
            f"{at}.task: got '{task}'; provider '{provider_name}' has {', '.join(provider.tasks)}."
        )
    decoded = Decoded(ExternalModel(provider_name, name, task, provider.config), {}, {})
    config = _object(given, provider.config, at)
    decoded.model.config.update(_settings(provider, config, f"{at}.{provider.config}", "", decoded))
    return decoded


def encode_external_model(model: ExternalModel) -> dict[str, Any]:
    """An external model as it is given back: without any key that came in clear."""
    return {"provider": model.provider, "name": model.name, "task": model.task, model.config_name: model.config}


def _settings(provider: Provider, config: Mapping[str, Any], at: str, path: str, decoded: Decoded) -> dict[str, Any]:
    kept: dict[str, Any] = {name: _text(config, name, at) for name in provider.fields if config.get(name) is not None}
    for name in provider.required:
        if name not in kept:
            raise InvalidParameterValue(f"{at}.{name}: missing; it is required.")
    given = set(kept)
    for name in provider.keys:
        reference, plaintext = config.get(name), config.get(name + _PLAINTEXT)
        if reference is not None and plaintext is not None:
            raise InvalidParameterValue(f"{at}.{name}: came together with {name}{_PLAINTEXT}; give one.")
        if reference is not None:
            kept[name] = _reference(config, name, at)
            decoded.references[f"{path}{name}"] = kept[name]
            given.add(name)
        elif plaintext is not None:
            if not isinstance(plaintext, str) or not plaintext:
                raise InvalidParameterValue(f"{at}.{name}{_PLAINTEXT}: wanted a string that is not empty.")
            decoded.plaintexts[f"{path}{name}"] = Plaintext(plaintext)
            given.add(name)
    if provider.one_of and given.isdisjoint(provider.one_of):
        raise InvalidParameterValue(f"{at}: wanted one of {', '.join(provider.one_of)}; got none.")
    for name, inner in provider.nested.items():
        if config.get(name) is not None:
            kept[name] = _settings(inner, _object(config, name, at), f"{at}.{name}", f"{path}{name}.", decoded)
    return kept


def _reference(config: Mapping[str, Any], name: str, at: str) -> str:
    value = config[name]
    if not isinstance(value, str) or not value.startswith("{{secrets/"):
        raise InvalidParameterValue(
            f"{at}.{name}: wanted {{{{secrets/<scope>/<key>}}}}; a key in clear goes into {name}{_PLAINTEXT}."
        )
    return value


def _object(given: Mapping[str, Any], name: str, at: str) -> Mapping[str, Any]:
    value = given.get(name)
    if not isinstance(value, dict):
        raise InvalidParameterValue(
            f"{at}.{name}: {'missing' if value is None else 'got no object'}; wanted an object."
        )
    return value


def _text(given: Mapping[str, Any], name: str, at: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidParameterValue(f"{at}.{name}: {'missing' if value is None else 'got no text'}; wanted a string.")
    return value
