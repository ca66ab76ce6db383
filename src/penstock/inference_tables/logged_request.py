"""A request as it was logged: what its records say of it, put together and decoded."""

import msgspec

from penstock.spool.record import NOTHING_MISSING, Context, Flag

TOO_LARGE_REQUEST, TOO_LARGE_RESPONSE = "MAX_REQUEST_SIZE_EXCEEDED", "MAX_RESPONSE_SIZE_EXCEEDED"
"""The contract's codes; those that follow are ours."""
NOT_UTF8_REQUEST, NOT_UTF8_RESPONSE = "REQUEST_NOT_UTF8", "RESPONSE_NOT_UTF8"
NOT_REDACTED = "REQUEST_NOT_REDACTED"
INCOMPLETE = "RESPONSE_INCOMPLETE"


class Notes(msgspec.Struct, frozen=True):
    """What the replica told of its answer."""

    execution_us: int | None = None
    client_request_id: str | None = None
    usage_context: dict[str, str] | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def execution_ms(self) -> int | None:
        """How long the model took, rounded to milliseconds."""
        return None if self.execution_us is None else (self.execution_us + 500) // 1000


NO_NOTES = Notes()
_decode_notes = msgspec.json.Decoder(Notes).decode


def read_notes(data: bytes) -> Notes:
    """What the replica told; nothing if that cannot be read."""
    try:
        return _decode_notes(data) if data else NO_NOTES
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return NO_NOTES


class LoggedRequest(msgspec.Struct, frozen=True, gc=False):
    """One request and what came of it."""

    context: Context
    request_id: str
    received_us: int
    status: int
    flags: Flag
    notes: Notes
    request: bytes
    answer: bytes
    is_stream: bool = False
    is_incomplete: bool = False
    """Its stream never ended."""

    @property
    def is_sampled(self) -> bool:
        """Whether it is among those that become rows of inference tables."""
        return self.flags is NOTHING_MISSING or not self.flags & Flag.NOT_SAMPLED

    @property
    def received_ms(self) -> int:
        """When it came, milliseconds of Unix time."""
        return self.received_us // 1000

    def texts(self) -> tuple[str | None, str | None, list[str]]:
        """Request and answer as text, null where there is none, and the codes of what is missing."""
        try:
            if self.flags is NOTHING_MISSING and not self.is_incomplete:
                return self.request.decode(), self.answer.decode(), []
        except UnicodeDecodeError:
            pass
        return self._incomplete_texts()

    def _incomplete_texts(self) -> tuple[str | None, str | None, list[str]]:
        codes: list[str] = []
        request = _text(self.request, NOT_UTF8_REQUEST, codes)
        answer = _text(self.answer, NOT_UTF8_RESPONSE, codes)
        if self.flags & Flag.REQUEST_TOO_LARGE:
            request = None
            codes.append(TOO_LARGE_REQUEST)
        if self.flags & Flag.NOT_REDACTED:
            request = None
            codes.append(NOT_REDACTED)
        if self.flags & Flag.ANSWER_TOO_LARGE:
            answer = None
            codes.append(TOO_LARGE_RESPONSE)
        if self.is_incomplete:
            codes.append(INCOMPLETE)
        return request, answer, codes


def _text(data: bytes, code: str, codes: list[str]) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        codes.append(code)
        return None
