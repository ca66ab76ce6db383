"""TLS: what gateways serve with, and under which name."""

import ssl

from penstock.settings import TlsFiles


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """What gateways serve with: TLS 1.2 or newer.

    Raises:
        OSError: the files cannot be read, or do not belong together (ssl.SSLError).
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(files.certificate, files.key, password=_no_passphrase)
    return context


def host_for_clients(hosts: tuple[str, ...], names: tuple[str, ...]) -> str:
    """By which host clients are told to reach us.

    Args:
        hosts: what we listen on, as asked for and as it came out.
        names: what the certificate is for; clients refuse any other.
    """
    return next((host for host in hosts if host in names), names[0] if names else hosts[-1])


def _no_passphrase() -> str:
    """Asked for by OpenSSL for a key that is encrypted; without this it would ask on the terminal."""
    return ""
