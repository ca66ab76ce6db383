"""Where programs begin that read the tables of a home folder.

>>> from penstock.catalog.local import open_home
>>> rows = open_home(".penstock").rows("main.default.my-endpoint_view", where="request_date >= date '2026-01-01'")
>>> frame, left_out = rows.to_pandas(), rows.left_out
"""

from pathlib import Path

from penstock.catalog.home import HomeSource
from penstock.catalog.tables import Tables
from penstock.settings import Home


def open_home(path: str | Path = ".penstock") -> Tables:
    """The tables of a home folder, whether its stack runs or not. Nothing is written."""
    return Tables(HomeSource.read_only(Home(Path(path).expanduser().resolve())))
