"""What every store of the state database shares: the schema's name space, and transactions."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from penstock.domain.errors import TemporarilyUnavailable

metadata = sa.MetaData()


@contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection whose changes are kept together when the block ends, or none of them if it fails.

    Raises:
        TemporarilyUnavailable: the database is locked, full or gone.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except sa.exc.OperationalError as exc:
        raise TemporarilyUnavailable(f"The state database cannot be used now: {exc.orig}.") from exc
