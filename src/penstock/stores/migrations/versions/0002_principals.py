"""Principals with groups; every endpoint's creator manages it."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_FIRST_PRINCIPAL = "admin"


def upgrade() -> None:
    principals = op.create_table(
        "principals",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("groups", sa.Text, nullable=False),
    )
    connection = op.get_bind()
    names = connection.execute(sa.text("SELECT DISTINCT principal FROM tokens")).scalars().all()
    rows = [{"name": name, "groups": json.dumps(["admins"] if name == _FIRST_PRINCIPAL else [])} for name in names]
    if rows:
        op.bulk_insert(principals, rows)
    for endpoint_id, text in connection.execute(sa.text("SELECT id, document FROM endpoints")).all():
        document = json.loads(text)
        grant = {"kind": "user_name", "name": document["creator"], "level": "CAN_MANAGE"}
        document.setdefault("grants", [grant])
        connection.execute(
            sa.text("UPDATE endpoints SET document = :document WHERE id = :id"),
            {"document": json.dumps(document), "id": endpoint_id},
        )


def downgrade() -> None:
    op.drop_table("principals")
