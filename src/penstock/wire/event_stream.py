"""Server-sent events as the serving contract has them: `data:` lines alone, `[DONE]` at the end.

The `mlflow.deployments` client refuses any other field, even a comment; only the Responses route names its events,
because OpenAI's own does. The format is that of the HTML standard, section 9.2.
"""

import json

from penstock.domain.errors import PenstockError

DONE = b"data: [DONE]\n\n"


def event(document: str, name: str | None = None) -> bytes:
    """One event whose data is a JSON document on one line."""
    field = f"event: {name}\n" if name else ""
    return f"{field}data: {document}\n\n".encode()


def error_event(error: PenstockError) -> bytes:
    """A failure after the stream has begun; OpenAI's client looks for `error`, ours and Databricks' for the rest."""
    return failure(error.error_code, error.message)


def failure(error_code: str, message: str) -> bytes:
    """A failure from its parts. No `[DONE]` follows it."""
    inner = {"message": message, "type": error_code, "code": error_code}
    return event(json.dumps({"error_code": error_code, "message": message, "error": inner}))
