"""Served entities as rows of `system.serving.served_entities`, in the JSON that the spool takes."""

from typing import Any

import msgspec

from penstock.domain.endpoint import Endpoint, EndpointConfig
from penstock.domain.served_entity import ServedEntity

TABLE = "system.serving.served_entities"


class ServedEntityRow(msgspec.Struct, frozen=True):
    """A served entity as the table tells it."""

    served_entity_id: str
    workspace_id: str
    created_by: str
    endpoint_name: str
    endpoint_id: str
    served_entity_name: str
    entity_type: str
    entity_name: str | None
    entity_version: str | None
    endpoint_config_version: int
    task: str | None
    external_model_config: dict[str, str] | None
    custom_model_config: dict[str, Any] | None
    change_time: int
    endpoint_delete_time: int | None = None


def served_entity_row(
    endpoint: Endpoint, config: EndpointConfig, entity: ServedEntity, workspace_id: str
) -> ServedEntityRow:
    """The row of an entity that a config has brought."""
    external, model = entity.external, entity.model
    low, high = entity.sizing.bounds()
    custom = {"min_concurrency": low, "max_concurrency": high, "compute_type": entity.sizing.workload_type.value}
    return ServedEntityRow(
        served_entity_id=entity.id,
        workspace_id=workspace_id,
        created_by=entity.creator,
        endpoint_name=endpoint.name,
        endpoint_id=endpoint.id,
        served_entity_name=entity.name,
        entity_type="CUSTOM_MODEL" if external is None else "EXTERNAL_MODEL",
        entity_name=model.name if model is not None else external.name if external is not None else None,
        entity_version=model.version if model is not None else None,
        endpoint_config_version=config.version,
        task=None if external is None else external.task,
        external_model_config=None if external is None else {"provider": external.provider},
        custom_model_config=custom if external is None else None,
        change_time=config.started_at_ms * 1000,
    )
