"""A replica whose model takes several queries at a time: `python batch_replica.py LISTENING_FD LIMIT`.

Each answer tells what `replica.py` would say, and how many queries were taken together. After `rest PATH` the file is
made when nobody waits.
"""

import logging
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import replica  # the script beside this one

from penstock.domain.prediction import Answer, AnswerStream, Query
from penstock.worker.server import Server


class Together:
    """The model of `replica.py`, asked all at once."""

    def __init__(self, limit: int) -> None:
        self.batch_limit = limit
        self.wants_idle_time = False
        self._marker = Path()

    def answer_all(self, queries: Sequence[Query]) -> list[Answer | AnswerStream]:
        answers = []
        for query in queries:
            command, _, argument = query.body.decode().partition(" ")
            if command == "rest":
                self._marker, self.wants_idle_time = Path(argument), True
                answers.append(Answer(200, b""))
                continue
            answer = replica.model(query)
            if isinstance(answer, Answer):
                answer = Answer(200, b"%b of %d" % (answer.body, len(queries)))
            answers.append(answer)
        return answers

    def use_idle_time(self) -> None:
        self.wants_idle_time = False
        self._marker.touch()


if __name__ == "__main__":
    logging.disable()
    listener = socket.socket(fileno=int(sys.argv[1]))
    Server(listener, replica.model, batch_model=Together(int(sys.argv[2])), spin_us=int(sys.argv[3])).run()
