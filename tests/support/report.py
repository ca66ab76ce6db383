"""What a security test tells of itself, for its report in JSON."""

from dataclasses import dataclass, field


@dataclass
class Report:
    """What a module covered."""

    test: str
    covered: dict[str, object] = field(default_factory=dict)
    requests: int = 0
    seconds: float = 0.0

    def document(self, errors: int) -> dict[str, object]:
        """As JSON, with the number of tests that failed."""
        return {
            "test": self.test,
            "passed": errors == 0,
            "requests": self.requests,
            "errors": errors,
            "seconds": self.seconds,
            "covered": self.covered,
        }
