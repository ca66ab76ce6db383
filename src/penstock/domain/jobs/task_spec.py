"""What the process of one attempt is told to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field

ROLE = "task"
"""What its process is called among those of a stack."""
PREFIX = "task-"


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One attempt at one task, with references replaced and files found. One of the three says what to do."""

    run_id: int
    attempt_id: int
    python: tuple[str, ...] = ()
    """A Python file and its parameters."""
    notebook: str = ""
    """A notebook's file."""
    batch: tuple[str, ...] = ()
    """Arguments of `penstock batch run`."""
    earlier: tuple[int, ...] = ()
    """Earlier attempts at the same task, the newest last: a batch run that one of them has begun is gone on with."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """The notebook's."""
    workspace: str = ""
    """The folder that stands for the workspace, if there is one: where paths of notebooks lead."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those that every task has."""

    @property
    def name(self) -> str:
        """The name of its process, which nothing else ever has."""
        return f"{PREFIX}{self.attempt_id}"


def access_key(attempt_id: int) -> str:
    """What the token of an attempt is made of, with a secret of the stack."""
    return f"job-task/{attempt_id}"


def attempt_of(process_name: str) -> int | None:
    """The attempt whose process bears a name; None if it is no task's."""
    number = process_name.removeprefix(PREFIX)
    return int(number) if number != process_name and number.isdigit() else None
