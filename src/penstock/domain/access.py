"""Who may do what: principals and their groups, grants on endpoints, tokens.

A token is kept as its SHA-256 digest only. Members of the group `admins` may manage everything. On an endpoint, a
level covers those below it: CAN_VIEW < CAN_QUERY < CAN_MANAGE.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

ADMINS = "admins"

TOKEN_PREFIX = "pst_"  # noqa: S105 - a prefix that lets scanners recognise our tokens, no secret


class Scope(StrEnum):
    """What a token opens."""

    ALL = "all"
    READ_MODELS = "read-models"
    """Only reading the registry and artifacts: what a replica needs to fetch its model."""
    AGENT = "agent"
    """What an agent needs at work: queries, reading endpoints and the registry, writing traces."""
    JOB = "job"
    """What a task of a job may do: all that its principal may, but for what outlives it as somebody's right: tokens,
    groups, grants and secrets."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret."""

    id: str
    principal: str
    digest: str
    comment: str = ""
    created_at_ms: int = 0


class Level(StrEnum):
    """What a grant on an endpoint allows. The words are the contract's."""

    CAN_VIEW = "CAN_VIEW"
    CAN_QUERY = "CAN_QUERY"
    CAN_MANAGE = "CAN_MANAGE"

    def covers(self, wanted: "Level") -> bool:
        """Whether this level includes another."""
        order = list(Level)
        return order.index(self) >= order.index(wanted)


class GranteeKind(StrEnum):
    """What a grant is given to. The words are the contract's field names."""

    USER = "user_name"
    GROUP = "group_name"
    SERVICE_PRINCIPAL = "service_principal_name"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody, or some program, that has tokens; a user and a service principal differ in nothing here."""

    name: str
    groups: tuple[str, ...] = ()

    @property
    def is_admin(self) -> bool:
        """Whether it may manage everything."""
        return ADMINS in self.groups


@dataclass(frozen=True, slots=True)
class Grant:
    """A level on an endpoint, given to somebody."""

    kind: GranteeKind
    name: str
    level: Level

    @property
    def identity(self) -> str:
        """Kind and name in one word."""
        return f"{self.kind}:{self.name}"


@lru_cache(maxsize=4096)
def identities(principal: Principal) -> frozenset[str]:
    """All identities whose grants a principal has."""
    own = {f"{GranteeKind.USER}:{principal.name}", f"{GranteeKind.SERVICE_PRINCIPAL}:{principal.name}"}
    return frozenset(own | {f"{GranteeKind.GROUP}:{group}" for group in principal.groups})


def level_of(principal: Principal, grants: Iterable[Grant]) -> Level | None:
    """The highest level that a principal has; None if it has none."""
    if principal.is_admin:
        return Level.CAN_MANAGE
    own = identities(principal)
    levels = [grant.level for grant in grants if grant.identity in own]
    return max(levels, key=list(Level).index, default=None)


def merged(grants: Iterable[Grant], changes: Iterable[Grant]) -> tuple[Grant, ...]:
    """Grants with changes laid over them: one level for each grantee, the last one given."""
    return tuple({grant.identity: grant for grant in (*grants, *changes)}.values())


_REGISTRY = ("/api/2.0/mlflow/", "/api/3.0/mlflow/", "/api/2.0/mlflow-artifacts/")
_TRACES = ("/v1/traces", "/api/3.0/mlflow/traces", "/api/2.0/mlflow/traces")
_RIGHTS = (
    *("/api/2.0/penstock/tokens", "/api/2.0/penstock/principals", "/api/2.0/penstock/secrets"),
    *("/api/2.0/permissions", "/api/2.0/secrets"),
)
_READ_BY_AGENTS = ("/serving-endpoints/", "/api/2.0/serving-endpoints", "/api/2.0/preview/scim/v2/Me")


def opens(scope: Scope, method: str, path: str) -> bool:
    """Whether a token of that scope covers a request; what its principal may do is asked apart from that."""
    if scope is Scope.ALL:
        return True
    reads = method in {"GET", "HEAD"}
    if reads and path.startswith(_REGISTRY):
        return True
    if scope is Scope.JOB:
        return not path.startswith(_RIGHTS)
    if scope is not Scope.AGENT:
        return False
    if reads:
        return path.startswith(_READ_BY_AGENTS)
    is_query = method == "POST" and path.startswith("/serving-endpoints/")
    return is_query or (method in {"POST", "PATCH"} and path.startswith(_TRACES)) or _is_trace_file(method, path)


def _is_trace_file(method: str, path: str) -> bool:
    return method == "PUT" and path.startswith("/api/2.0/mlflow-artifacts/artifacts/") and "/traces/" in path


def agent_token(secret: str, deployment: str) -> str:
    """The token of the replicas of one deployment, made of a secret that only our own processes know (HMAC-SHA-256)."""
    return TOKEN_PREFIX + hmac.new(secret.encode(), deployment.encode(), hashlib.sha256).hexdigest()


def digest_of(token: str) -> str:
    """SHA-256 of a token, as 64 hexadecimal digits: what is stored and what gateways look up."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
