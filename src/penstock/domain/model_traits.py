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

    @property
    def is_talking(self) -> bool:
        """Whether it is a chat model, an agent, or streams: such models mostly wait for others."""
        return self.is_streamable or (self.task or "").startswith(_TALKING)

    @property
    def executor(self) -> ExecutorKind:
        """The executor that suits it, unless its served entity asks for another."""
        return ExecutorKind.THREADS if self.is_talking else ExecutorKind.PROCESS
