"""Tables registered by path."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "registered_tables",
        sa.Column("catalog", sa.String, primary_key=True),
        sa.Column("schema", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("creator", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("registered_tables")
