"""`penstock feedback`: tell what came of predictions."""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from penstock.cli.session import USAGE, CommandFailed, HomeOption, JsonOption, api_of, command, print_json, stderr
from penstock.client.api import ApiClient
from penstock.domain.feedback import MAX_ITEMS

app = typer.Typer(no_args_is_help=True, help="Feedback to predictions: labels, ratings, values, comments.")
_FEEDBACK = "/api/2.0/penstock/feedback"


@app.command()
@command
def add(
    endpoint: Annotated[str, typer.Argument(help="Name of the endpoint.")],
    request_id: Annotated[str | None, typer.Option("--request-id", help="The answer's databricks-request-id.")] = None,
    client_request_id: Annotated[
        str | None, typer.Option("--client-request-id", help="The id that the client gave its request.")
    ] = None,
    row: Annotated[
        int | None, typer.Option("--row", help="Position of the input row, from 0; all of them by default.")
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", help="What the prediction should have been, as JSON; else it is taken as text."),
    ] = None,
    rating: Annotated[float | None, typer.Option("--rating", help="How good it was.")] = None,
    value: Annotated[float | None, typer.Option("--value", help="What it was worth.")] = None,
    comment: Annotated[str | None, typer.Option("--comment", help="In words.")] = None,
    reviewer: Annotated[str | None, typer.Option("--reviewer", help="Whose judgement it is, if not yours.")] = None,
    observed_at: Annotated[
        str | None, typer.Option("--observed-at", help="When the truth came to be known, ISO 8601 with an offset.")
    ] = None,
    feedback_id: Annotated[
        str | None, typer.Option("--feedback-id", help="A UUID; what is sent twice under one is taken once.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", help="JSON lines, an object of these fields in each, in place of options; - for standard input."
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what came of one prediction, or with --file of many."""
    one = {
        "databricks_request_id": request_id,
        "client_request_id": client_request_id,
        "row": row,
        "label": None if label is None else _json_or_text(label),
        "rating": rating,
        "value": value,
        "comment": comment,
        "reviewer": reviewer,
        "observed_at": observed_at,
        "feedback_id": feedback_id,
    }
    given = {name: each for name, each in one.items() if each is not None}
    if file is not None and given:
        raise CommandFailed(f"--file: came with {', '.join(given)}; give one or the other.", USAGE)
    api = api_of(home)
    if file is None:
        told = _send(api, endpoint, [given])
    elif str(file) == "-":
        told = _send_all(api, endpoint, sys.stdin, "standard input")
    else:
        try:
            with file.open() as lines:
                told = _send_all(api, endpoint, lines, str(file))
        except (OSError, UnicodeDecodeError) as exc:
            raise CommandFailed(f"--file: {file} cannot be read: {exc}.", USAGE) from exc
    if as_json:
        print_json(told)
    else:
        stderr.print(f"{len(told['feedback_ids'])} taken for {told['table']}.")


def _send_all(api: ApiClient, endpoint: str, lines: TextIO, source: str) -> dict[str, Any]:
    """Send what stands in lines, as many at a time as may be; what was sent before a line that is wrong stays sent."""
    items = _objects(lines, source)
    told: dict[str, Any] = {"table": "", "feedback_ids": []}
    while batch := list(islice(items, MAX_ITEMS)):
        answer = _send(api, endpoint, batch)
        told = {"table": answer["table"], "feedback_ids": told["feedback_ids"] + answer["feedback_ids"]}
    return told


def _send(api: ApiClient, endpoint: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    answer: dict[str, Any] = api.call("POST", _FEEDBACK, {"endpoint": endpoint, "feedback": items})
    return answer


def _objects(lines: TextIO, source: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as exc:
            raise CommandFailed(f"{source}, line {number}: no JSON: {exc}.", USAGE) from exc
        if not isinstance(found, dict):
            raise CommandFailed(f"{source}, line {number}: got {type(found).__name__}; wanted an object.", USAGE)
        yield found


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
