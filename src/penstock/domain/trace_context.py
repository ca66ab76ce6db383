"""W3C Trace Context: the header `traceparent`, by which a request belongs to a trace that somebody else began."""

import re
from dataclasses import dataclass

_HEADER = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1
_NO_VERSION = "ff"
_FIRST_VERSION = "00"


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A trace, and the span in it under which others are to come."""

    trace_id: int
    span_id: int
    is_sampled: bool

    @property
    def header(self) -> str:
        """As the header `traceparent` has it."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.is_sampled):02x}"


def parse_traceparent(header: str) -> TraceContext | None:
    """What a header says; None if it is none, which is to be taken as if it were not there."""
    found = _HEADER.fullmatch(header)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == _NO_VERSION or (version == _FIRST_VERSION and more):
        return None
    context = TraceContext(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED))
    return context if context.trace_id and context.span_id else None
