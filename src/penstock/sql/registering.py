"""Where programs begin that ask endpoints from SQL."""

from typing import TYPE_CHECKING, Any

from penstock.domain.errors import InvalidParameterValue
from penstock.sql.asking import Asker
from penstock.sql.connection import connection_of
from penstock.sql.limits import BATCH_ROWS, CONCURRENCY, RETRY_TIMEOUT_S, Limits, check_limits

if TYPE_CHECKING:
    from pyspark.sql import Column

_NESTED = ("array", "map", "struct")


def register(
    session: Any,
    *,
    host: str | None = None,
    token: str | None = None,
    batch_rows: int = BATCH_ROWS,
    concurrency: int = CONCURRENCY,
    retry_timeout_s: float = RETRY_TIMEOUT_S,
) -> None:
    """Give a DuckDB connection or a Spark session the function `ai_query`.

    Args:
        session: a DuckDB connection, or a Spark session.
        host: the stack's address; `DATABRICKS_HOST` by default.
        token: of who asks; `DATABRICKS_TOKEN` by default.
        batch_rows: how many rows go into one request.
        concurrency: how many requests are open at once, in each process that asks.
        retry_timeout_s: how long a request that is put off (429, 503) is sent again.

    Raises:
        InvalidParameterValue: an argument cannot be; the message names it.
    """
    limits = check_limits(Limits(batch_rows, concurrency, retry_timeout_s))
    library = type(session).__module__.partition(".")[0]
    if library in {"duckdb", "_duckdb"}:
        from penstock.sql.in_duckdb import register_in_duckdb  # noqa: PLC0415 - only who has one of them needs it

        register_in_duckdb(session, Asker(connection_of(host, token), limits))
    elif library == "pyspark":
        from penstock.sql.in_spark import register_in_spark  # noqa: PLC0415 - see above

        register_in_spark(session, connection_of(host, token), limits)
    else:
        raise InvalidParameterValue(
            f"session: got {type(session).__name__}; wanted a DuckDB connection or a Spark session."
        )


def ai_query(
    endpoint: str,
    request: "Column | str",
    *,
    return_type: str = "string",
    fail_on_error: bool = True,
    model_parameters: "Column | None" = None,
) -> "Column":
    """A column of a Spark DataFrame with an endpoint's answers; the session has to be registered before.

    Args:
        endpoint: its name.
        request: a column, or its name: a struct of the model's inputs, the body as JSON, or the one input.
        return_type: what the answer is, as Spark's DDL writes types.
        fail_on_error: whether a row without an answer fails the job; else the column is a struct of `result` and
            `errorMessage`.
        model_parameters: a struct.
    """
    from pyspark.sql import functions as f  # noqa: PLC0415 - the extra `spark` has it

    asked = [f.lit(endpoint), f.col(request) if isinstance(request, str) else request]
    asked += [] if model_parameters is None else [model_parameters]
    if fail_on_error:
        return _typed(f.call_function("ai_query", *asked), return_type)
    answer = f.call_function("try_ai_query", *asked)
    return f.struct(_typed(answer["result"], return_type).alias("result"), answer["errorMessage"].alias("errorMessage"))


def _typed(text: "Column", return_type: str) -> "Column":
    from pyspark.sql import functions as f  # noqa: PLC0415 - see above

    kind = return_type.strip().lower()
    if kind in {"string", "varchar"}:
        return text
    return f.from_json(text, return_type) if kind.startswith(_NESTED) else text.cast(return_type)
