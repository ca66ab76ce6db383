"""Where to send a request, and its bytes: the same for every request of a load."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

_PORTS = {"http": 80, "https": 443}


class BadUrl(ValueError):
    """Not an address to which requests could be sent."""


class Target(msgspec.Struct, frozen=True):
    """A server and a path on it."""

    host: str
    port: int
    path: str
    is_tls: bool = False

    @property
    def authority(self) -> str:
        """Host and port as a `Host` header tells them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.is_tls else "http"] else f"{host}:{self.port}"

    def is_at(self, url: str) -> bool:
        """Whether it is on the server that another URL names, reached the same way; raises BadUrl."""
        other = target_of(url)
        return (self.host, self.port, self.is_tls) == (other.host, other.port, other.is_tls)


def target_of(url: str) -> Target:
    """The target that a URL names.

    Raises:
        BadUrl: it names none.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise BadUrl(f"got '{url}': {exc}") from exc
    if parts.scheme not in _PORTS or not parts.hostname:
        raise BadUrl(f"got '{url}'; wanted http://HOST:PORT/PATH or https://HOST:PORT/PATH")
    if not url.isascii() or any(character.isspace() for character in url):
        raise BadUrl(f"got '{url}'; wanted it without spaces, and what is not ASCII percent-encoded")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.hostname, port or _PORTS[parts.scheme], path, parts.scheme == "https")


def request_bytes(target: Target, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A POST of a body, as it goes over a connection that is kept."""
    lines = [f"POST {target.path} HTTP/1.1", f"host: {target.authority}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode() + body
