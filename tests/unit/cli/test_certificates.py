"""Certificates and keys that are refused before anything starts, and the name under which clients come."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from penstock.cli.certificates import BadCertificate, checked_files
from penstock.processes.tls import host_for_clients
from support.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def check(files: tuple[Path, Path]) -> tuple[str, ...]:
    """The names of a certificate that is in order."""
    return checked_files(*files, datetime.now(UTC)).names


def test_a_good_certificate_tells_its_names(authority: Authority) -> None:
    assert check(authority.issue("localhost", "*.example.com", "127.0.0.1")) == ("localhost", "127.0.0.1")


def no_certificate(authority: Authority) -> tuple[Path, Path]:
    certificate, key = authority.issue("localhost")
    certificate.write_text("hello")
    return certificate, key


def no_key(authority: Authority) -> tuple[Path, Path]:
    certificate, key = authority.issue("localhost")
    key.write_text("hello")
    return certificate, key


BAD: dict[str, tuple[Callable[[Authority], tuple[Path, Path]], str]] = {
    "expired": (lambda a: a.issue("localhost", days=-1), "--tls-cert: .*server.pem is valid from .* valid now"),
    "mismatched": (
        lambda a: (a.issue("localhost")[0], a.issue("localhost", name="other")[1]),
        "--tls-key: .*other.key is not the key of the certificate .*server.pem",
    ),
    "no certificate": (no_certificate, "--tls-cert: .*server.pem holds no certificate"),
    "no key": (no_key, "server.key cannot be used"),
    "locked key": (lambda a: a.issue("localhost", password=b"x"), "key without a passphrase"),
    "missing certificate": (
        lambda a: (Path("/no/such.pem"), a.issue("h")[1]),
        "--tls-cert: /no/such.pem cannot be read",
    ),
    "missing key": (lambda a: (a.issue("h")[0], Path("/no/such.key")), "--tls-key: /no/such.key cannot be read"),
    "a folder": (lambda a: (Path("/"), a.issue("h")[1]), "--tls-cert: / cannot be read"),
}


@pytest.mark.parametrize(("make", "told"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_served_with_is_refused(
    authority: Authority, make: Callable[[Authority], tuple[Path, Path]], told: str
) -> None:
    with pytest.raises(BadCertificate, match=told):
        check(make(authority))


@pytest.mark.parametrize(
    ("hosts", "names", "expected"),
    [
        (("localhost", "127.0.0.1"), ("localhost", "127.0.0.1"), "localhost"),
        (("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), "127.0.0.1"),
        (("127.0.0.1", "127.0.0.1"), ("localhost",), "localhost"),
        (("0.0.0.0", "127.0.0.1"), ("penstock.example.com",), "penstock.example.com"),
        (("penstock.example.com", "10.0.0.1"), ("other", "penstock.example.com"), "penstock.example.com"),
        (("0.0.0.0", "127.0.0.1"), (), "127.0.0.1"),
    ],
)
def test_clients_come_by_a_name_that_the_certificate_is_for(
    hosts: tuple[str, ...], names: tuple[str, ...], expected: str
) -> None:
    assert host_for_clients(hosts, names) == expected
