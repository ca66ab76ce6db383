"""External models: what is asked of another provider. This release keeps their configs; it does not call providers."""

from dataclasses import dataclass, field

NOT_SERVED = "External models are not served by this release. The config is kept, and its keys are kept encrypted."


@dataclass(frozen=True, slots=True)
class ExternalModel:
    """A model of another provider. Keys that came in clear are not in `config`: the served entity has them sealed."""

    provider: str
    name: str
    task: str
    config_name: str
    """The field that holds the provider's settings, such as `openai_config`."""
    config: dict[str, str | dict[str, str]] = field(default_factory=dict)
    """The provider's settings as they came, references to secrets included."""

    @property
    def default_name(self) -> str:
        """The name of a served entity that has none of its own: `gpt-4.1:mini` -> `gpt-4-1-mini`."""
        return self.name.replace(".", "-").replace(":", "-")
