"""One request before a load: what is wrong with it is said once, and not a million times."""

import http.client
import ssl
from collections.abc import Mapping
from typing import NamedTuple

from penstock.client.load.target import Target


class Unanswered(Exception):
    """The request got no answer; the message says why."""


class ProbeAnswer(NamedTuple):
    """What came back."""

    status: int
    body: bytes


def ask_once(target: Target, body: bytes, headers: Mapping[str, str], timeout_s: float) -> ProbeAnswer:
    """The answer to one request on a connection of its own.

    Raises:
        Unanswered: there was none.
    """
    connection = (
        http.client.HTTPSConnection(target.host, target.port, timeout=timeout_s, context=ssl.create_default_context())
        if target.is_tls
        else http.client.HTTPConnection(target.host, target.port, timeout=timeout_s)
    )
    try:
        connection.request("POST", target.path, body, dict(headers))
        response = connection.getresponse()
        return ProbeAnswer(response.status, response.read())
    except TimeoutError as exc:
        raise Unanswered(f"{target.authority} did not answer within {timeout_s:g} s.") from exc
    except (OSError, http.client.HTTPException) as exc:
        raise Unanswered(f"{target.authority} does not answer: {exc or type(exc).__name__}.") from exc
    finally:
        connection.close()
