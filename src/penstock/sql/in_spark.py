"""`ai_query` in a Spark session, as a function of its SQL."""

import functools
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from penstock.sql.asking import Answer, Asker
from penstock.sql.connection import Connection
from penstock.sql.grouping import groups
from penstock.sql.limits import Limits

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_TRIED = "struct<result string, errorMessage string>"


def register_in_spark(spark: "SparkSession", connection: Connection, limits: Limits) -> None:
    """Give a session `ai_query(endpoint, request)` and `try_ai_query(endpoint, request)`.

    The first gives a text, and fails the job for a row without an answer; the second gives a struct of `result` and
    `errorMessage`. A third argument, a struct, holds parameters of the model. The connection's token goes with the
    functions to the session's workers.
    """
    from pyspark.sql.functions import arrow_udf  # noqa: PLC0415 - the extra `spark` has it

    def ask(endpoint: pa.Array, request: pa.Array, modelParameters: pa.Array = None) -> pa.Array:
        answers = _answers(connection, limits, endpoint, request, modelParameters, fails=True)
        return pa.array([_text(answer.value) for answer in answers], pa.string())

    def try_to_ask(endpoint: pa.Array, request: pa.Array, modelParameters: pa.Array = None) -> pa.Array:
        answers = _answers(connection, limits, endpoint, request, modelParameters, fails=False)
        results = pa.array([_text(answer.value) for answer in answers], pa.string())
        errors = pa.array([answer.error for answer in answers], pa.string())
        return pa.StructArray.from_arrays([results, errors], ["result", "errorMessage"])

    for name, function, kind in (("ai_query", ask, "string"), ("try_ai_query", try_to_ask, _TRIED)):
        spark.udf.register(name, arrow_udf(function, kind).asNondeterministic())


def _answers(
    connection: Connection,
    limits: Limits,
    endpoints: pa.Array,
    requested: pa.Array,
    parameters: pa.Array | None,
    *,
    fails: bool,
) -> list[Answer]:
    """An answer for each row of a batch."""
    requests = requested.to_pylist()
    params = [None] * len(requests) if parameters is None else parameters.to_pylist()
    found = [Answer()] * len(requests)
    for (endpoint, shared), rows in groups(endpoints.to_pylist(), params).items():
        asked = [requests[row] for row in rows]
        answers = _asker(connection, limits).answers(endpoint, asked, json.loads(shared), fail_on_error=fails)
        for row, answer in zip(rows, answers, strict=True):
            found[row] = answer
    return found


@functools.lru_cache(maxsize=8)
def _asker(connection: Connection, limits: Limits) -> Asker:
    """One for each worker process: its connections are kept from batch to batch."""
    return Asker(connection, limits)


def _text(value: Any) -> str | None:
    """A value as a text: one as it is, all else as JSON."""
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()
