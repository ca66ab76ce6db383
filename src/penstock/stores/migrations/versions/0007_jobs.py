"""Jobs, their runs, the ids that runs and attempts share, and tokens by which a run is not asked for twice."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("creator", sa.String, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("next_due_ms", sa.BigInteger, index=True),
        sa.Column("runs", sa.Integer, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "job_runs",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("job_id", sa.Integer, index=True),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False, index=True),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "job_run_ids",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Integer, nullable=False, index=True),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "job_run_tokens",
        sa.Column("owner", sa.String, primary_key=True),
        sa.Column("token", sa.String, primary_key=True),
        sa.Column("run_id", sa.Integer, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("job_run_tokens")
    op.drop_table("job_run_ids")
    op.drop_table("job_runs")
    op.drop_table("jobs")
