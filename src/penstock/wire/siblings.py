"""What gateways of one home say to each other: which predictions they hold whose clients have left.

Each gateway serves HTTP/1.1 on a socket of its own (`run/<gateway>.sock`):

    GET /held                a stream of JSON lines that does not end: `Held` for each orphan that there is, then `Held`
                             for each that comes to be, and `LetGo` for each that is joined or given up
    POST /held/<request id>  the answer that its client would have got, once there is one; 204 if it is not held

Bodies are never told, only their digests.
"""

from typing import NamedTuple

import msgspec

from penstock.domain.prediction import Api

HELD_PATH = "/held"


class Asked(NamedTuple):
    """What two requests must have in common, beside their bodies, to be the same."""

    principal: str
    endpoint_id: str
    entity_name: str | None
    """The served entity, if the request named one."""
    api: Api
    content_type: bytes


class Held(msgspec.Struct, tag=True, frozen=True):
    """A prediction that a replica has begun and whose client has left: the same request may have its answer."""

    request_id: str
    asked: Asked
    size_bytes: int
    """Of the request's body."""
    digest: bytes
    """Of the request's body."""
    ends_by_s: float
    """When there is an answer at the latest, if only that it took too long; by the machine's monotonic clock."""
    is_idempotent: bool
    """Whether it may be begun again should its gateway be lost."""


class LetGo(msgspec.Struct, tag=True, frozen=True):
    """It has been joined or given up: nobody else can have it."""

    request_id: str


Change = Held | LetGo

changes = msgspec.json.Decoder(Change)
