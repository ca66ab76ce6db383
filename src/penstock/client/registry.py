"""MLflow's model registry over its REST API: what a version is, what an alias points to, what there is."""

from typing import Any

import aiohttp

from penstock.domain.errors import (
    InvalidParameterValue,
    PenstockError,
    ResourceDoesNotExist,
    TemporarilyUnavailable,
)
from penstock.domain.served_entity import ModelVersion

_TIMEOUT = aiohttp.ClientTimeout(total=30)
_BAD_REQUEST = 400
_NOT_FOUND = 404
_SERVER_ERROR = 500


class Registry:
    """The registry behind `base_url`, reached over `session`."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._base = f"{base_url.rstrip('/')}/api/2.0/mlflow"

    async def version(self, field: str, name: str, version: str) -> ModelVersion:
        """One version of a model.

        Raises:
            ResourceDoesNotExist: no such model or version; the message begins with `field`.
            InvalidParameterValue: the version exists and is not ready.
            TemporarilyUnavailable: the registry does not answer.
        """
        missing = f"{field}: registered model '{name}' has no version {version}."
        answer = await self._get("model-versions/get", {"name": name, "version": version}, missing)
        return _model_version(field, answer["model_version"])

    async def version_of_alias(self, field: str, name: str, alias: str) -> ModelVersion:
        """The version that an alias points to at this moment; raises as `version` does."""
        missing = f"{field}: registered model '{name}' has no alias '{alias}'."
        answer = await self._get("registered-models/alias", {"name": name, "alias": alias}, missing)
        return _model_version(field, answer["model_version"])

    async def models(self) -> list[dict[str, Any]]:
        """All registered models: name, latest versions and aliases, as the registry tells them."""
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            query = {"max_results": "500", **({"page_token": token} if token else {})}
            answer = await self._get("registered-models/search", query, "The registry has no search.")
            found += answer.get("registered_models", [])
            token = answer.get("next_page_token", "")
            if not token:
                return found

    async def _get(self, path: str, query: dict[str, str], missing: str) -> dict[str, Any]:
        try:
            async with self._session.get(f"{self._base}/{path}", params=query, timeout=_TIMEOUT) as response:
                answer: dict[str, Any] = await response.json(content_type=None)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
            raise TemporarilyUnavailable(f"The model registry does not answer: {exc or type(exc).__name__}.") from exc
        if status < _BAD_REQUEST:
            return answer
        raise _translate(status, answer, missing)


def _translate(status: int, answer: dict[str, Any], missing: str) -> PenstockError:
    code = answer.get("error_code", "")
    message = str(answer.get("message", ""))
    if status == _NOT_FOUND or code == "RESOURCE_DOES_NOT_EXIST" or "alias" in message.lower():
        return ResourceDoesNotExist(missing)
    if status >= _SERVER_ERROR:
        return TemporarilyUnavailable(f"The model registry answered {status}: {message}")
    return InvalidParameterValue(f"{missing} The registry says: {message}")


def _model_version(field: str, answer: dict[str, Any]) -> ModelVersion:
    status = answer.get("status", "READY")
    name, version = str(answer["name"]), str(answer["version"])
    if status != "READY":
        reason = answer.get("status_message") or "no reason given"
        raise InvalidParameterValue(f"{field}: version {version} of model '{name}' is {status}: {reason}.")
    return ModelVersion(name, version, int(answer.get("creation_timestamp") or 0))
