"""A client that sends a request's target and headers as they are: no normalising, no credentials of its own."""

import http.client
import json
from dataclasses import dataclass
from typing import Any

from support.stack import Stack


@dataclass(frozen=True)
class RawAnswer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class RawClient:
    """Requests one after the other; counts them."""

    def __init__(self, stack: Stack) -> None:
        self._address = stack.url.removeprefix("http://")
        self._connection = http.client.HTTPConnection(self._address, timeout=20)
        self.sent = 0

    def send(self, method: str, target: str, headers: dict[str, str] | None = None, body: object = None) -> RawAnswer:
        """Send a request; a body that is not bytes goes as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **(headers or {})}
        self.sent += 1
        try:
            return self._send(method, target, headers, data)
        except (http.client.RemoteDisconnected, BrokenPipeError):  # an idle connection that was closed meanwhile
            self._connection.close()
            return self._send(method, target, headers, data)

    def _send(self, method: str, target: str, headers: dict[str, str], data: bytes | None) -> RawAnswer:
        self._connection.request(method, target, data, headers)
        response = self._connection.getresponse()
        return RawAnswer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def close(self) -> None:
        self._connection.close()
