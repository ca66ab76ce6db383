"""A replica whose model does what it is told: `python replica.py LISTENING_FD EXECUTOR`.

A query's body is one command and its argument: `echo TEXT`, `bytes COUNT`, `hold FIFO` (answers when the FIFO is
closed), `touch PATH`, `exit CODE`, `lines FIFO` (a stream of the lines that come), `endless PATH` and `doomed PATH`
(streams that make a file once they are closed).
"""

import logging
import socket
import sys
from collections.abc import Generator
from pathlib import Path

from penstock.domain.prediction import Answer, AnswerStream, ExecutorKind, Note, Query
from penstock.worker import server

MAX_ANSWER_BYTES = 3 << 20
"""Instead of 256 MiB, which nobody wants to send in a test."""
NOTE = Note("id-7", {"team": "blue"}, 3, 4)


def model(query: Query) -> Answer | AnswerStream:
    """Do what the body says."""
    command, _, argument = query.body.decode().partition(" ")
    match command:
        case "echo":
            return Answer(200, f"{argument} {query.api} {query.request_id} {query.endpoint}".encode(), note=NOTE)
        case "bytes":
            return Answer(200, bytes(int(argument)), "application/octet-stream")
        case "hold":
            return Answer(200, Path(argument).read_bytes())
        case "touch":
            Path(argument).touch()
            return Answer(200, b"")
        case "exit":
            sys.exit(int(argument))
        case "lines":
            note = Note()
            return AnswerStream(_lines(Path(argument), note), note)
        case "endless":
            return AnswerStream(_endless(Path(argument)))
        case "doomed":
            return AnswerStream(_doomed(Path(argument)))
    raise AssertionError(f"no such command: {command}")


def _lines(fifo: Path, note: Note) -> Generator[bytes, None, None]:
    with fifo.open("rb") as lines:
        yield from lines
    note.output_tokens = 9  # known at the end only


def _endless(marker: Path) -> Generator[bytes, None, None]:
    try:
        while True:
            yield b"again"
    finally:
        marker.touch()


def _doomed(marker: Path) -> Generator[bytes, None, None]:
    try:
        yield b"one"
        raise SystemExit(7)
    finally:
        marker.touch()


if __name__ == "__main__":
    logging.disable()
    server.MAX_ANSWER_BYTES = MAX_ANSWER_BYTES
    server.Server(socket.socket(fileno=int(sys.argv[1])), model, ExecutorKind(sys.argv[2])).run()
