"""Headers of answers: pairs of words; of predictions those most of which are the same for every answer of a replica."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

Headers = Iterable[tuple[str, str]]


class PredictionHeaders:
    """The headers of a prediction's answer. They are pairs like any others, and know how to become bytes fast."""

    __slots__ = ("_cold_start_s", "_content_type", "_entity_name", "_replica", "_request_id")

    def __init__(
        self, content_type: str, entity_name: str, request_id: str, replica: str | None, cold_start_s: float | None
    ) -> None:
        self._content_type = content_type
        self._entity_name = entity_name
        self._request_id = request_id
        self._replica = replica
        self._cold_start_s = cold_start_s

    def __iter__(self) -> Iterator[tuple[str, str]]:
        yield from _constant(self._content_type, self._entity_name, self._replica)
        yield "x-databricks-request-id", self._request_id
        yield "databricks-request-id", self._request_id
        if self._cold_start_s is not None:
            yield "x-penstock-cold-start", f"{self._cold_start_s * 1000:.0f}"

    def encode(self) -> bytes:
        """The lines that they make in an answer."""
        if self._cold_start_s is not None:
            return encode_headers(self)
        request_id = self._request_id.encode()
        constant = _encoded_constant(self._content_type, self._entity_name, self._replica)
        return b"%bx-databricks-request-id: %b\r\ndatabricks-request-id: %b\r\n" % (constant, request_id, request_id)


def encode_headers(headers: Headers) -> bytes:
    """The lines that headers make in an answer."""
    return "".join([f"{name}: {value}\r\n" for name, value in headers]).encode("latin-1", "replace")


def _constant(content_type: str, entity_name: str, replica: str | None) -> tuple[tuple[str, str], ...]:
    headers = (("content-type", content_type), ("served-model-name", entity_name))
    return headers if replica is None else (*headers, ("x-penstock-replica", replica))


@lru_cache(maxsize=1024)
def _encoded_constant(content_type: str, entity_name: str, replica: str | None) -> bytes:
    return encode_headers(_constant(content_type, entity_name, replica))
