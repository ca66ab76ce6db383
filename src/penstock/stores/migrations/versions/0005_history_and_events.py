"""Versions of configs and events; the configs that there are begin the history."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    versions = op.create_table(
        "config_versions",
        sa.Column("endpoint_id", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "endpoint_events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("endpoint_id", sa.String, nullable=False, index=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("config_version", sa.Integer),
        sa.Column("entity", sa.String),
    )
    connection = op.get_bind()
    for endpoint_id, text in connection.execute(sa.text("SELECT id, document FROM endpoints")).all():
        endpoint = json.loads(text)
        rows = _rows(endpoint_id, endpoint)
        if rows:
            op.bulk_insert(versions, rows)
            connection.execute(
                sa.text("UPDATE endpoints SET document = :document WHERE id = :id"),
                {"document": json.dumps(endpoint), "id": endpoint_id},
            )


def _rows(endpoint_id: str, endpoint: dict[str, Any]) -> list[dict[str, Any]]:
    """The history of an endpoint; its configs get the author that their entities name."""
    rows = []
    for part in ("active", "pending"):
        config = endpoint.get(part)
        if config is None:
            continue
        config["author"] = next((entity.get("creator") for entity in config["entities"]), None) or endpoint["creator"]
        version: dict[str, Any] = {"config": config, "outcome": "COMPLETED"}
        if part == "pending":
            is_failed = endpoint.get("update") == "UPDATE_FAILED"
            version["outcome"] = "FAILED" if is_failed else "IN_PROGRESS"
            version["failures"] = endpoint.get("failures", {}) if is_failed else {}
        rows.append({"endpoint_id": endpoint_id, "version": config["version"], "document": json.dumps(version)})
    return rows


def downgrade() -> None:
    op.drop_table("endpoint_events")
    op.drop_table("config_versions")
