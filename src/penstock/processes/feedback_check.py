"""The process that looks for feedback which belongs to nothing: questions on its standard input, answers on its output.

It reads whole columns of large tables, for which the control plane is no place.
"""

import sys
from pathlib import Path

import msgspec
from deltalake.exceptions import DeltaError

from penstock.inference_tables.unmatched import unmatched
from penstock.runtime.parent import die_with_parent
from penstock.wire.feedback_check import Answer, Question, Questions


def main() -> None:
    """Answer all questions and end."""
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Questions)
    die_with_parent(asked.parent_pid)
    sys.stdout.buffer.write(msgspec.json.encode([_answer(question) for question in asked.questions]))


def _answer(question: Question) -> Answer:
    try:
        found = unmatched(Path(question.feedback), Path(question.payload), question.since_us, question.until_us)
    except (DeltaError, OSError, ValueError) as exc:
        return Answer(failure=str(exc)[:500])
    return Answer(found.count, found.examples)


if __name__ == "__main__":
    main()
