"""Sessions of browsers: what stands for a log-in, how long, how many, and what a cookie alone may ask for.

A browser sends its cookie along with every request to us, also with one that a page of somebody else made. So a request
with nothing but a cookie is looked at more closely than one with a token: browsers say where a request comes from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

SESSION_LIFETIME_MS = 12 * 3600 * 1000
LOGIN_CODE_LIFETIME_MS = 10 * 60 * 1000
MAX_SESSIONS = 16
"""Of one principal, as many log-in codes, too."""

_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_FOREIGN_SITES = frozenset(("cross-site", "same-site"))


@dataclass(frozen=True, slots=True)
class Session:
    """A log-in of a browser. It ends with its time, with a log-out, and with the token that it was made from."""

    digest: str
    """SHA-256 of the session's id, which nobody but the browser keeps."""
    token_id: str
    principal: str
    created_at_ms: int
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class LoginCode:
    """Logs a browser in, once, as the principal of the token that it was made with."""

    digest: str
    token_id: str
    principal: str
    expires_at_ms: int


def surplus(digests_oldest_first: Sequence[str]) -> Sequence[str]:
    """Which of a principal's sessions or codes must go, so that there is room for another."""
    return digests_oldest_first[: max(0, len(digests_oldest_first) - MAX_SESSIONS + 1)]


def cookie_name(*, is_secure: bool) -> str:
    """The cookie's name. `__Host-` makes browsers refuse one that another host, or a page without TLS, has set."""
    return "__Host-penstock_session" if is_secure else "penstock_session"


def cookie_covers(method: str, site: str | None, mode: str | None) -> bool:
    """Whether a request may be made with a cookie alone.

    What changes something must come from a page of ours, and say so. What only reads may also be typed or followed as
    a link from anywhere, but not be fetched by a page of another origin. Other ports of the same host count as another
    origin here: browsers call them the same site and would send the cookie.

    Args:
        method: the request's.
        site: the header Sec-Fetch-Site, which pages cannot set.
        mode: the header Sec-Fetch-Mode.
    """
    if method not in _SAFE_METHODS:
        return site == "same-origin"
    return site not in _FOREIGN_SITES or mode == "navigate"


def may_log_in_from(site: str | None) -> bool:
    """Whether a form with a token may come from there: not from a page that would log others in under its own token."""
    return site not in _FOREIGN_SITES
