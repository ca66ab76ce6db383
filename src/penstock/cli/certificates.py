"""Certificate and key of `--tls-cert` and `--tls-key`, checked before anything starts."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from penstock.processes.tls import server_context
from penstock.settings import TlsFiles


class BadCertificate(Exception):
    """A certificate or key that clients could not be served with."""


def checked_files(certificate_file: Path, key_file: Path, now: datetime) -> TlsFiles:
    """Certificate and key, once everything about them is in order.

    Raises:
        BadCertificate: naming the option, what is wrong and what was wanted.
    """
    certificate = _certificate(_read("--tls-cert", certificate_file), certificate_file)
    _read("--tls-key", key_file)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise BadCertificate(
            f"--tls-cert: {certificate_file} is valid from {_day(certificate.not_valid_before_utc)} to "
            f"{_day(certificate.not_valid_after_utc)}; wanted one that is valid now."
        )
    files = TlsFiles(str(certificate_file), str(key_file), _names(certificate))
    try:
        server_context(files)
    except ssl.SSLError as exc:
        raise BadCertificate(_why(files, exc)) from exc
    return files


def _read(option: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise BadCertificate(f"{option}: {file} cannot be read: {exc.strerror or exc}.") from exc


def _certificate(pem: bytes, file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(pem)[0]
    except ValueError as exc:
        raise BadCertificate(f"--tls-cert: {file} holds no certificate in PEM form.") from exc


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    hosts = [name for name in names.get_values_for_type(x509.DNSName) if not name.startswith("*.")]
    return (*hosts, *(str(address) for address in names.get_values_for_type(x509.IPAddress)))


def _why(files: TlsFiles, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"--tls-key: {files.key} is not the key of the certificate {files.certificate}."
    return (
        f"--tls-cert, --tls-key: {files.certificate} and {files.key} cannot be used: {error.reason or error}. "
        "Wanted a certificate, followed by its chain, and a key without a passphrase, both in PEM form."
    )


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).date().isoformat()
