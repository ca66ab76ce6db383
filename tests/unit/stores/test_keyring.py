"""The key file: made once, never replaced by accident, and good for every value at every step of a rotation."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from penstock.domain.secrets import Sealed
from penstock.stores.keyring import KeyFileUnusable, KeyRing, Undecryptable


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "secrets.key"


def keys_in(file: Path) -> list[str]:
    return file.read_text().split()


def test_the_first_start_makes_a_key_that_the_next_one_finds(file: Path) -> None:
    sealed = KeyRing.load(file, is_needed=False).seal(b"canary")
    assert "canary" not in sealed.ciphertext
    assert len(keys_in(file)) == 1
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    again = KeyRing.load(file, is_needed=True)
    assert again.open(sealed) == b"canary"
    assert again.seal(b"canary").version != sealed.version


@pytest.mark.parametrize("content", [None, "", "\n\n"])
def test_a_missing_key_that_is_needed_is_not_made_anew(file: Path, content: str | None) -> None:
    if content is not None:
        file.write_text(content)
        file.chmod(0o600)
    with pytest.raises(KeyFileUnusable, match=r"secrets\.key is missing or empty.*backup"):
        KeyRing.load(file, is_needed=True)
    assert (file.read_text() if file.exists() else None) == content
    KeyRing.load(file, is_needed=False)
    assert len(keys_in(file)) == 1


@pytest.mark.parametrize("content", ["no key: canary", "canary\n", "ü", "x" * 43 + "=\n" + "canary"])
def test_what_is_no_key_is_refused_and_not_shown(file: Path, content: str) -> None:
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(KeyFileUnusable, match=r"Key \d of .* is none") as refused:
        KeyRing.load(file, is_needed=False)
    assert "canary" not in str(refused.value)
    assert file.read_text() == content


def test_what_cannot_be_read_is_refused(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(KeyFileUnusable, match="cannot be read"):
        KeyRing.load(file, is_needed=False)
    file.unlink()
    file.mkdir()
    with pytest.raises(KeyFileUnusable, match="cannot be read"):
        KeyRing.load(file, is_needed=False)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_may_read_is_refused(file: Path, mode: int) -> None:
    KeyRing.load(file, is_needed=False)
    file.chmod(mode)
    with pytest.raises(KeyFileUnusable, match=f"mode {mode:04o}.*chmod 600"):
        KeyRing.load(file, is_needed=False)


def test_every_step_of_a_rotation_leaves_a_file_that_opens_everything(file: Path) -> None:
    ring = KeyRing.load(file, is_needed=False)
    old = ring.seal(b"canary")
    (old_key,) = keys_in(file)

    ring.add_key()
    new_key, second = keys_in(file)
    assert second == old_key != new_key
    resealed = ring.reseal(old)
    assert resealed.version == old.version
    for found in (ring, KeyRing.load(file, is_needed=True)):
        assert found.open(old) == found.open(resealed) == b"canary"

    cut_off = KeyRing.load(file, is_needed=True)
    cut_off.add_key()
    assert keys_in(file) == [new_key, old_key]  # it goes on with the key that was made

    ring.drop_old_keys()
    assert keys_in(file) == [new_key]
    assert file.stat().st_mode & 0o777 == 0o600
    for found in (ring, KeyRing.load(file, is_needed=True)):
        assert found.open(resealed) == b"canary"
        with pytest.raises(Undecryptable):
            found.open(old)


def test_a_file_that_cannot_be_written_changes_no_key(file: Path) -> None:
    ring = KeyRing.load(file, is_needed=False)
    before = keys_in(file)
    sealed = ring.seal(b"canary")
    (file.parent / "secrets.key.new").mkdir()
    with pytest.raises(KeyFileUnusable, match="cannot be written"):
        ring.add_key()
    assert keys_in(file) == before
    (file.parent / "secrets.key.new").rmdir()
    assert KeyRing.load(file, is_needed=True).open(sealed) == ring.open(sealed) == b"canary"
    assert KeyRing.load(file, is_needed=True).open(ring.seal(b"later")) == b"later"


@pytest.mark.parametrize("ciphertext", ["", "x", "ü", "AAAA"])
def test_what_is_no_ciphertext_opens_with_no_key(file: Path, ciphertext: str) -> None:
    with pytest.raises(Undecryptable, match=r"secrets\.key"):
        KeyRing.load(file, is_needed=False).open(Sealed("v", ciphertext))


def test_a_key_of_somebody_else_opens_nothing(file: Path) -> None:
    sealed = KeyRing.load(file, is_needed=False).seal(b"canary")
    before = file.read_text()
    file.write_text(Fernet.generate_key().decode())
    with pytest.raises(Undecryptable):
        KeyRing.load(file, is_needed=True).open(sealed)
    file.write_text(file.read_text() + "\n" + before)  # put back beside the new one
    assert KeyRing.load(file, is_needed=True).open(sealed) == b"canary"
