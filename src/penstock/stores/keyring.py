"""The keys that encrypt secrets: a file outside the database, one key a line, the newest first.

Values are sealed with the newest key (Fernet: AES-128 in CBC mode with HMAC-SHA256) and opened with any. The file is
replaced whole, so that whoever reads it after a crash finds the keys of before or those of after.
"""

import os
import uuid
from collections.abc import Iterable
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from penstock.domain.secrets import Sealed

_FOR_OTHERS = 0o077


class KeyFileUnusable(Exception):
    """The key file cannot be read or written, or is not as it must be; the message says what to do."""


class Undecryptable(Exception):
    """No key of the file opens a sealed value."""


class KeyRing:
    """The keys of one file."""

    def __init__(self, file: Path, keys: Iterable[str]) -> None:
        self._file = file
        self._keys = tuple(keys)
        self._cipher = _cipher_of(self._keys)

    @classmethod
    def load(cls, file: Path, *, is_needed: bool) -> "KeyRing":
        """The keys of a file, which is made with a first key if there is none.

        Args:
            file: where the keys are kept.
            is_needed: whether anything is sealed already, so that a new key would be of no use.

        Raises:
            KeyFileUnusable: it cannot be used, or it is needed and holds no key.
        """
        keys = _read(file)
        if not keys and is_needed:
            raise KeyFileUnusable(
                f"{file} is missing or empty, and there are secrets that only its keys open. Put the file back from a "
                "backup. If it is lost, docs/howto/secrets.md says how to begin anew."
            )
        ring = cls(file, keys or (_new_key(),))
        if not keys:
            ring._write(ring._keys)
        return ring

    @property
    def file(self) -> Path:
        """Where the keys are kept."""
        return self._file

    def seal(self, value: bytes) -> Sealed:
        """A value, encrypted, under a version of its own."""
        return Sealed(uuid.uuid4().hex, self._cipher.encrypt(value).decode())

    def open(self, sealed: Sealed) -> bytes:
        """The value in clear.

        Raises:
            Undecryptable: no key opens it.
        """
        try:
            return self._cipher.decrypt(sealed.ciphertext.encode())
        except InvalidToken:
            raise Undecryptable(f"no key in {self._file} opens it") from None

    def reseal(self, sealed: Sealed) -> Sealed:
        """The same value and version, encrypted with the newest key; raises as `open` does."""
        return Sealed(sealed.version, self._cipher.encrypt(self.open(sealed)).decode())

    def add_key(self) -> None:
        """Put a new key in front, in the file first.

        If there are several already, a rotation was cut off: its new key is the one in front, and is used.

        Raises:
            KeyFileUnusable: the file cannot be written; the keys are those of before.
        """
        if len(self._keys) == 1:
            self._replace((_new_key(), *self._keys))

    def drop_old_keys(self) -> None:
        """Keep the newest key only: everything is sealed with it. Raises as `add_key` does."""
        self._replace(self._keys[:1])

    def _replace(self, keys: tuple[str, ...]) -> None:
        self._write(keys)
        self._keys, self._cipher = keys, _cipher_of(keys)

    def _write(self, keys: tuple[str, ...]) -> None:
        temporary = self._file.with_suffix(".key.new")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                os.fchmod(descriptor, 0o600)
                file.writelines(f"{key}\n" for key in keys)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(self._file)
            _sync_folder(self._file.parent)
        except OSError as exc:
            raise KeyFileUnusable(f"{self._file} cannot be written: {exc}.") from exc


def _read(file: Path) -> tuple[str, ...]:
    try:
        mode = file.stat().st_mode
        lines = file.read_text().splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as exc:
        raise KeyFileUnusable(
            f"{file} cannot be read: {exc}. Put it back from a backup, or give it back to you."
        ) from exc
    if mode & _FOR_OTHERS:
        raise KeyFileUnusable(f"{file} has mode {mode & 0o777:04o}, so others may read it. Run: chmod 600 {file}")
    keys = [line.strip() for line in lines if line.strip()]
    for number, key in enumerate(keys, 1):
        try:
            Fernet(key)
        except ValueError:
            raise KeyFileUnusable(f"Key {number} of {file} is none. Put the file back from a backup.") from None
    return tuple(keys)


def _new_key() -> str:
    return Fernet.generate_key().decode()


def _cipher_of(keys: Iterable[str]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
