"""What a security test tells of itself, for its report in JSON."""

from dataclasses import dataclass, field


@dataclass
class Report:
    """What a module covered, for its JSON report."""

    test: str
    covered: dict[str, object] = field(default_factory=dict)
