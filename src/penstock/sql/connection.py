"""Which stack is asked, and by whom."""

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from penstock.domain.errors import InvalidParameterValue

HOST, TOKEN = "DATABRICKS_HOST", "DATABRICKS_TOKEN"


@dataclass(frozen=True, slots=True)
class Connection:
    """An address and a token for it."""

    url: str
    token: str = field(repr=False)


def connection_of(host: str | None = None, token: str | None = None) -> Connection:
    """What was given, else what `DATABRICKS_HOST` and `DATABRICKS_TOKEN` say, which `penstock env` prints.

    Raises:
        InvalidParameterValue: one is missing, or the host is no address.
    """
    given_host = (os.environ.get(HOST, "") if host is None else host).strip()
    given_token = (os.environ.get(TOKEN, "") if token is None else token).strip()
    if not given_host:
        raise InvalidParameterValue(f"host: got none; give it, or set {HOST} (`penstock env` prints it).")
    if not given_token:
        raise InvalidParameterValue(f"token: got none; give it, or set {TOKEN} (`penstock env` prints it).")
    url = given_host if "://" in given_host else f"https://{given_host}"  # as the SDK reads it
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise InvalidParameterValue(f"host: got '{given_host}'; wanted an address such as http://127.0.0.1:8080.")
    return Connection(url.rstrip("/"), given_token)
