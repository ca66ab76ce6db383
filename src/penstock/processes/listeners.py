"""The sockets that clients connect to, and by which addresses they are reached."""

import socket
from dataclasses import dataclass

from penstock.processes.tls import host_for_clients
from penstock.settings import Settings, TlsFiles

_BACKLOG = 2048
_LOCAL_HOST = "127.0.0.1"


class CannotListen(Exception):
    """The address is taken, or is none of this machine."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """What gateways serve; the supervisor holds it open while they come and go."""

    public: socket.socket
    """Where clients are served."""
    local: socket.socket | None
    """Where gateways serve plain HTTP to our own processes if they serve TLS to clients."""
    host: str
    """As it was asked for."""
    tls: TlsFiles | None

    @classmethod
    def open(cls, settings: Settings) -> "Listeners":
        """Listen as the settings say.

        Raises:
            CannotListen: the address cannot be had.
        """
        public = _listen(settings.host, settings.port)
        try:
            local = _listen(_LOCAL_HOST, 0) if settings.tls is not None else None
        except CannotListen:
            public.close()
            raise
        return cls(public, local, settings.host, settings.tls)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """All of them."""
        return (self.public,) if self.local is None else (self.public, self.local)

    @property
    def url(self) -> str:
        """The address for clients; without TLS the one for clients on this machine."""
        host, port = _address(self.public)
        if self.tls is None:
            return _origin("http", host, port)
        return _origin("https", host_for_clients((self.host, host), self.tls.names), port)

    @property
    def local_address(self) -> tuple[str, int]:
        """Host and port for our own processes, which need not know what a certificate is for."""
        return _address(self.local or self.public)

    @property
    def local_url(self) -> str:
        """The same as a URL."""
        return _origin("http", *self.local_address)

    def close(self) -> None:
        """Close all of them."""
        for listener in self.sockets:
            listener.close()


def _address(listener: socket.socket) -> tuple[str, int]:
    """Host and port by which a listener is reached from this machine."""
    host, port = listener.getsockname()[:2]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - compared, not bound


def _origin(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _listen(host: str, port: int) -> socket.socket:
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as exc:
        if listener is not None:
            listener.close()
        raise CannotListen(
            f"Cannot listen on {host}:{port}: {exc.strerror or exc}. "
            "Choose another port with --port (0 takes a free one), or another address with --host."
        ) from exc
    return listener
