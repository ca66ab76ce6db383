"""What the process is asked and answers that looks for feedback which belongs to nothing."""

import msgspec


class Question(msgspec.Struct, frozen=True):
    """About the feedback in one table that was told after one time, until another."""

    table: str
    """`catalog.schema.table`."""
    feedback: str
    """Folder of the table."""
    payload: str
    """Folder of the payload table beside it."""
    since_us: int
    until_us: int


class Answer(msgspec.Struct, frozen=True):
    """To one question."""

    count: int = 0
    examples: tuple[str, ...] = ()
    failure: str = ""
    """Why the tables could not be read; empty if they could."""


class Questions(msgspec.Struct, frozen=True):
    """All that one process is asked."""

    parent_pid: int
    questions: list[Question]
