"""Principals and tokens. A token is kept as its SHA-256 digest only."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

TOKEN_PREFIX = "pst_"  # noqa: S105 - a prefix that lets scanners recognise our tokens, no secret


class Scope(StrEnum):
    """What a token opens."""

    ALL = "all"
    READ_MODELS = "read-models"
    """Only reading the registry and artifacts: what a replica needs to fetch its model."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret."""

    id: str
    principal: str
    digest: str
    comment: str = ""
    created_at_ms: int = 0


def digest_of(token: str) -> str:
    """SHA-256 of a token, as 64 hexadecimal digits: what is stored and what gateways look up."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
