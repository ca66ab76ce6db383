"""Asks endpoints for many rows: several requests at once, each sent again as long as it is put off."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from penstock.client.api import ApiClient, ApiError, Unreachable, endpoint_path
from penstock.domain.errors import BadRequest, PenstockError
from penstock.sql.calls import Asked, Call, Params, calls, shown, values
from penstock.sql.connection import Connection
from penstock.sql.limits import Limits

_PUT_OFF = {429, 503}
_ABOUT_ALL = {401, 403, 404}
"""What is said of the caller or the endpoint, and not of the rows."""
_WAIT_S = 1.0
_MOST_WAIT_S = 60.0
_MOST_ENDPOINTS = 256

_R = TypeVar("_R")


class QueryFailed(Exception):
    """An endpoint could not be asked, or does not answer for a row; the message names both."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What there is for a row: a value, or why there is none; neither for a row without a request."""

    value: Any = None
    error: str | None = None


class Asker:
    """Asks the endpoints of one stack.

    Args:
        connection: whom to ask.
        limits: how much at a time.
        sleep: waits some seconds.
        clock: tells monotonic seconds.
    """

    def __init__(
        self,
        connection: Connection,
        limits: Limits,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._limits = limits
        self._sleep = sleep
        self._clock = clock
        self._of_thread = threading.local()
        self._endpoints: dict[str, Asked] = {}

    def answers(
        self, endpoint: str, requests: Sequence[Any], params: Params, *, fail_on_error: bool = True
    ) -> list[Answer]:
        """An answer for each request, in their order.

        Args:
            endpoint: its name.
            requests: a row each; None for none.
            params: for each of them.
            fail_on_error: whether a row without an answer fails all.

        Raises:
            QueryFailed: the endpoint does not let itself be asked; or a row has no answer and that is to fail all.
        """
        found = [Answer()] * len(requests)
        if all(request is None for request in requests):
            return found
        with _named(endpoint):
            made = calls(self._asked(endpoint), requests, params, self._limits.batch_rows)
        for answered in self._at_once(lambda call: self._answered(endpoint, call), made):
            for row, answer in answered:
                if answer.error is not None and fail_on_error:
                    raise QueryFailed(
                        f"ai_query('{endpoint}'): row {row + 1} of {len(requests)}, {shown(requests[row])}: "
                        f"{answer.error}"
                    )
                found[row] = answer
        return found

    def _asked(self, endpoint: str) -> Asked:
        known = self._endpoints.get(endpoint)
        if known is None:
            if len(self._endpoints) >= _MOST_ENDPOINTS:
                self._endpoints.clear()
            known = self._endpoints[endpoint] = self._look_up(endpoint)
        return known

    def _look_up(self, endpoint: str) -> Asked:
        path = endpoint_path(endpoint)
        task = self._patiently(lambda: self._client.call("GET", path)).get("task")
        if task:
            return Asked(task, ())
        try:
            return Asked(None, _inputs(self._patiently(lambda: self._client.call("GET", f"{path}/openapi"))))
        except ApiError as exc:
            if exc.status in _PUT_OFF | _ABOUT_ALL:
                raise
            return Asked(None, ())  # a model without a signature, or no replica yet: the query itself will tell

    def _at_once(self, work: Callable[[Call], _R], made: list[Call]) -> Iterator[_R]:
        """What the work gives for each call, in order; several at a time. Those not begun are left if one fails."""
        if len(made) == 1:
            yield work(made[0])
            return
        with ThreadPoolExecutor(min(self._limits.concurrency, len(made)), "ai_query") as pool:
            try:
                yield from pool.map(work, made)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _answered(self, endpoint: str, call: Call) -> list[tuple[int, Answer]]:
        """Answers for the rows of a call. If they fail together, they are asked in halves: one may be at fault."""
        try:
            response = self._patiently(lambda: self._client.query(endpoint, call.body(), None, "application/json"))
            found = values(call, response.json())
        except ApiError as exc:
            if exc.status in _ABOUT_ALL:
                raise QueryFailed(f"ai_query('{endpoint}'): {exc.error_code}: {exc}") from exc
            if len(call.rows) == 1 or exc.status in _PUT_OFF:
                return [(row, Answer(error=f"{exc.error_code}: {exc}")) for row in call.rows]
            found = None
        except Unreachable as exc:
            raise QueryFailed(f"ai_query('{endpoint}'): {exc}") from exc
        except ValueError as exc:
            return [(row, Answer(error=f"its answer is no JSON: {exc}")) for row in call.rows]
        if found is not None:
            return [(row, Answer(value)) for row, value in zip(call.rows, found, strict=True)]
        return [answer for half in call.halves() for answer in self._answered(endpoint, half)]

    def _patiently(self, send: Callable[[], _R]) -> _R:
        """What a request gives; while it is put off, it is sent again when the answer says, for a bounded time."""
        give_up_at = self._clock() + self._limits.retry_timeout_s
        while True:
            try:
                return send()
            except ApiError as exc:
                wait_s = min(_WAIT_S if exc.retry_after_s is None else exc.retry_after_s, _MOST_WAIT_S)
                if exc.status not in _PUT_OFF or self._clock() + wait_s > give_up_at:
                    raise
            self._sleep(wait_s)

    @property
    def _client(self) -> ApiClient:
        """One for each thread: its connections are kept, and are nobody else's."""
        if not hasattr(self._of_thread, "client"):
            self._of_thread.client = ApiClient(self._connection.url, self._connection.token)
        client: ApiClient = self._of_thread.client
        return client


@contextlib.contextmanager
def _named(endpoint: str) -> Iterator[None]:
    """Failures with the endpoint's name."""
    try:
        yield
    except ApiError as exc:
        raise QueryFailed(f"ai_query('{endpoint}'): {exc.error_code}: {exc}") from exc
    except (Unreachable, BadRequest, PenstockError) as exc:
        raise QueryFailed(f"ai_query('{endpoint}'): {exc}") from exc


def _inputs(openapi: Any) -> tuple[str, ...]:
    """The names of a model's inputs, as the endpoint's OpenAPI document tells them; none if it tells none."""
    try:
        operation = next(iter(openapi["paths"].values()))["post"]
        forms = operation["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
        records = next(
            form["properties"]["dataframe_records"] for form in forms if "dataframe_records" in form["properties"]
        )
        return tuple(records["items"]["properties"])
    except (KeyError, StopIteration, TypeError, AttributeError):
        return ()
