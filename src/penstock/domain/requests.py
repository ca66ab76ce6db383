"""What callers ask for, decoded and not yet resolved: a version may still be an alias, a name may be missing."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from penstock.domain.endpoint import JsonObject
from penstock.domain.external_model import ExternalModel
from penstock.domain.inference_log import AutoCapture
from penstock.domain.names import check_served_entity_name, default_entity_name
from penstock.domain.secrets import Plaintext
from penstock.domain.served_entity import ModelVersion, ServedEntity
from penstock.domain.sizing import Sizing
from penstock.domain.traffic import Route


@dataclass(frozen=True, slots=True)
class EntityRequest:
    """A served entity as it was asked for: its version may still be an alias."""

    at: str
    """Where it stands in the request, for messages."""
    model_name: str
    version: str | None
    alias: str | None
    name: str | None
    sizing: Sizing
    environment: dict[str, str]
    instance_profile_arn: str | None
    external: ExternalModel | None = None
    """Comes in place of a model's name and version."""
    plaintexts: dict[str, Plaintext] = field(default_factory=dict)
    """Keys of an external model that came in clear, by the path of their field."""
    references: dict[str, str] = field(default_factory=dict)
    """Keys of an external model that came as references to secrets."""
    follow_alias: bool = False

    def resolved(self, entity_id: str, model: ModelVersion | None, creator: str, now_ms: int) -> ServedEntity:
        """The served entity, once the registry has told which version it is; None for an external model."""
        name = self.name or self._default_name(model)
        check_served_entity_name(f"{self.at}.name", name)
        return ServedEntity(
            entity_id,
            name,
            model,
            self.sizing,
            self.environment,
            self.instance_profile_arn,
            self.alias,
            creator,
            now_ms,
            external=self.external,
            follow_alias=self.follow_alias,
        )

    def _default_name(self, model: ModelVersion | None) -> str:
        if model is not None and self.follow_alias:
            return default_entity_name(model.name, self.alias or "")  # a version would soon be wrong
        if model is not None:
            return default_entity_name(model.name, model.version)
        return "" if self.external is None else self.external.default_name


@dataclass(frozen=True, slots=True)
class ConfigRequest:
    """A config as it was asked for."""

    entities: tuple[EntityRequest, ...]
    routes: tuple[Route, ...]
    percentages: tuple[int, ...] = ()
    """The older form: a share inside each entity, in the entities' order."""
    auto_capture: AutoCapture | None = None
    """The older form of an inference table; its prefix is empty where the endpoint's name is to stand for it."""

    def routes_for(self, entities: Sequence[ServedEntity]) -> tuple[Route, ...]:
        """The split that was asked for, in either form."""
        shares = zip(entities, self.percentages, strict=True) if self.percentages else ()
        return self.routes or tuple(Route(entity.name, share) for entity, share in shares)


@dataclass(frozen=True, slots=True)
class EndpointRequest:
    """A create, decoded."""

    name: str
    config: ConfigRequest | None
    description: str = ""
    route_optimized: bool = False
    tags: dict[str, str | None] = field(default_factory=dict)
    budget_policy_id: str | None = None
    email_notifications: dict[str, list[str]] = field(default_factory=dict)
    rate_limits: list[JsonObject] = field(default_factory=list)
    ai_gateway: JsonObject = field(default_factory=dict)
    telemetry: JsonObject = field(default_factory=dict)
