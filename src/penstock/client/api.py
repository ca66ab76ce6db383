"""HTTP client of our own API, for the command line."""

import re
from typing import Any
from urllib.parse import quote

import requests

_TIMEOUT_S = 330.0
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]+)?")


class ApiError(Exception):
    """The API refused a call."""

    def __init__(self, status: int, error_code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error_code = error_code
        self.retry_after_s = retry_after_s
        """After how many seconds it may be sent again, if the answer says so."""


class Unreachable(Exception):
    """Nothing answers at the address."""


class ApiClient:
    """Calls a running stack with a token."""

    def __init__(self, url: str, token: str, timeout_s: float = _TIMEOUT_S) -> None:
        self.url = url
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, body: object = None, query: dict[str, Any] | None = None) -> Any:
        """The JSON answer of a call.

        Raises:
            ApiError: with the status, code and message of a refusal.
            Unreachable: nothing answers.
        """
        response = self._send(method, path, json=body, params=query)
        return response.json()

    def query(self, endpoint: str, body: bytes, entity: str | None, content_type: str) -> requests.Response:
        """The raw answer of a prediction; raises as `call` does."""
        which = f"/served-models/{_quoted(entity)}" if entity else ""
        path = f"/serving-endpoints/{_quoted(endpoint)}{which}/invocations"
        return self._send("POST", path, data=body, headers={"content-type": content_type})

    def _send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        try:
            response = self._session.request(method, self.url + path, timeout=self._timeout_s, **arguments)
        except requests.RequestException as exc:
            raise Unreachable(f"{self.url} does not answer: {exc}") from exc
        if response.ok:
            return response
        try:
            document = response.json()
            code, message = document["error_code"], document["message"]
        except (ValueError, KeyError, TypeError):
            code, message = "INTERNAL_ERROR", response.text[:500]
        raise ApiError(response.status_code, code, message, _seconds(response.headers.get("retry-after")))


def endpoint_path(name: str, rest: str = "") -> str:
    """The management path of an endpoint."""
    return f"/api/2.0/serving-endpoints/{_quoted(name)}{rest}"


def _seconds(text: str | None) -> float | None:
    """What `retry-after` says in seconds; a date, its other form, counts as nothing."""
    return float(text) if text is not None and _SECONDS.fullmatch(text.strip()) else None


def _quoted(name: str) -> str:
    return quote(name, safe="")
