"""What a logged model says of itself that decides how it is served."""

from dataclasses import dataclass

from penstock.domain.prediction import ExecutorKind

_TALKING = ("llm/", "agent/")


@dataclass(frozen=True, slots=True)
class ModelTraits:
    """Read from a model's `MLmodel` file, without loading it."""

    task: str | None = None
    """What it does, in MLflow's words: `llm/v1/chat`, `agent/v1/responses`; classic models say nothing."""
    is_streamable: bool = False
    """Whether it has a `predict_stream` of its own."""
    is_native: bool = False
    """Whether a library's own flavor logged it, not only as a Python function: then no code of its author runs."""

    @property
    def is_talking(self) -> bool:
        """Whether it is a chat model, an agent, or streams: such models mostly wait for others."""
        return self.is_streamable or (self.task or "").startswith(_TALKING)

    @property
    def is_idempotent(self) -> bool:
        """Whether asking it twice is as good as once, unless its served entity says otherwise."""
        return self.is_native and not self.is_talking

    @property
    def executor(self) -> ExecutorKind:
        """The executor that suits it, unless its served entity asks for another."""
        return ExecutorKind.THREADS if self.is_talking else ExecutorKind.PROCESS
