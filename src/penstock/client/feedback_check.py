"""Starts the process that looks for feedback which belongs to nothing, and waits for its answers."""

import asyncio
import os
import sys
from collections.abc import Sequence

import msgspec

from penstock.wire.feedback_check import Answer, Question, Questions

_TIMEOUT_S = 900.0


class CheckFailed(Exception):
    """The process gave no answers."""


async def find_unmatched(questions: Sequence[Question]) -> list[Answer]:
    """An answer to each question.

    Raises:
        CheckFailed: the process could not be started, failed, or took too long.
    """
    document = msgspec.json.encode(Questions(os.getpid(), list(questions)))
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "penstock.processes.feedback_check"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
    except OSError as exc:
        raise CheckFailed(f"it cannot be started: {exc}") from exc
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            output, _ = await process.communicate(document)
        return msgspec.json.decode(output, type=list[Answer])
    except (TimeoutError, OSError, msgspec.MsgspecError) as exc:
        raise CheckFailed(f"it gave no answer: {exc or 'it took too long'}") from exc
    finally:
        if process.returncode is None:
            process.kill()
