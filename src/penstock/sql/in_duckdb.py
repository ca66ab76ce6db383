"""`ai_query` in a DuckDB connection.

A function of Python, which takes whole vectors (2,048 rows at most), does the asking. The macro around it gives the
call the form that Databricks documents, named arguments included, and the value the type that is asked for.
"""

import itertools
import json
from collections.abc import Callable

import duckdb
import msgspec
import pyarrow as pa
from duckdb.func import ARROW, SPECIAL

from penstock.domain.errors import InvalidParameterValue
from penstock.sql.asking import Answer, Asker
from penstock.sql.grouping import groups

_MACRO = """
CREATE OR REPLACE TEMP MACRO ai_query(
    endpoint, request, returnType := 'VARCHAR', failOnError := true, modelParameters := NULL
) AS from_json(
    CASE WHEN failOnError THEN {ask}(endpoint, request, modelParameters)
         ELSE {attempt}(endpoint, request, modelParameters) END,
    CASE WHEN failOnError THEN '"' || returnType || '"'
         ELSE '{{"result":"' || returnType || '","errorMessage":"VARCHAR"}}' END
)
"""
_numbers = itertools.count()
"""Functions belong to a database, and only the connection that made one can take it away; macros are a connection's
own. So each registration has functions of its own, and a cursor can ask somebody else, or as somebody else."""


def register_in_duckdb(connection: duckdb.DuckDBPyConnection, asker: Asker) -> None:
    """Give a connection `ai_query(endpoint, request, returnType, failOnError, modelParameters)`; anew, if it has it.

    Raises:
        InvalidParameterValue: the connection is closed.
    """
    number = next(_numbers)
    ask, attempt = f"penstock_ai_query_{number}", f"penstock_try_ai_query_{number}"
    try:
        for name, fails in ((ask, True), (attempt, False)):
            connection.create_function(
                name,
                _vectorised(asker, fails=fails),
                return_type="varchar",  # without parameters: any number of arguments of any type
                type=ARROW,
                null_handling=SPECIAL,
                side_effects=True,  # two equal rows may have different answers
            )
        connection.execute(_MACRO.format(ask=ask, attempt=attempt))
    except duckdb.ConnectionException as exc:
        raise InvalidParameterValue(f"session: {exc}") from exc


def _vectorised(asker: Asker, *, fails: bool) -> Callable[..., pa.ChunkedArray]:
    """What DuckDB calls with a vector for each argument."""

    def ask(*arguments: pa.ChunkedArray) -> pa.ChunkedArray:
        endpoints, requests, params = (argument.to_pylist() for argument in arguments)
        found: list[str | None] = [None] * len(requests)
        for (endpoint, shared), rows in groups(endpoints, params).items():
            asked = [requests[row] for row in rows]
            answers = asker.answers(endpoint, asked, json.loads(shared), fail_on_error=fails)
            for row, answer in zip(rows, answers, strict=True):
                found[row] = None if requests[row] is None else _document(answer, fails=fails)
        return pa.chunked_array([pa.array(found, pa.string())])

    return ask


def _document(answer: Answer, *, fails: bool) -> str:
    """What the macro's `from_json` reads; NaN becomes null, for JSON has none."""
    return msgspec.json.encode(
        answer.value if fails else {"result": answer.value, "errorMessage": answer.error}
    ).decode()
