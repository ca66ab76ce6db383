"""What becomes of a prediction that is to be logged and cannot be."""

from enum import StrEnum


class SpoolMode(StrEnum):
    """Whether answers or their records come first."""

    AVAILABLE = "available"
    """The answer leaves; that it was not logged is counted."""
    STRICT = "strict"
    """No record, no answer: the caller is told to come again."""
