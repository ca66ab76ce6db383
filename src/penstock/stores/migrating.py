"""The database's schema, brought to this release's by the migrations beside this file."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from penstock.stores.database import DatabaseUnusable


def upgrade(engine: sa.Engine) -> None:
    """Run the migrations that have not been run.

    Raises:
        DatabaseUnusable: it cannot be opened, or a newer release wrote it.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except (sa.exc.DatabaseError, CommandError) as exc:
        raise DatabaseUnusable(f"{engine.url.database}: {exc}") from exc
