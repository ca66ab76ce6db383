"""Backups: what is in them, what is not, and that a damaged one puts nothing back."""

import io
import json
import os
import random
import socket
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.domain.access import Token
from penstock.settings import Home
from penstock.stores import backup as module
from penstock.stores.backup import BackupFailed, write_backup
from penstock.stores.database import Database
from penstock.stores.restore import occupants, restore_backup


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with a bit of everything."""
    home = Home(tmp_path / "home")
    for folder in (home.path, home.run, home.mlflow_artifacts / "1/models", home.artifacts / "abc", home.logs):
        folder.mkdir(parents=True, exist_ok=True)
    database = Database.open(f"sqlite:///{home.database}")
    database.insert_token(Token("t1", "ann", "d1"))
    database.close()
    home.token_file.write_text("pst_1\n")
    home.secrets_key_file.write_text("key\n")
    with sqlite3.connect(home.mlflow_database) as raw:
        raw.execute("CREATE TABLE runs (id)")
    raw.close()
    (home.mlflow_artifacts / "1/models/MLmodel").write_text("flavors: {}")
    (home.mlflow_artifacts / "1/models/bytes.db").write_bytes(random.Random(1).randbytes(200_000))
    (home.path / "spool").mkdir()
    (home.path / "spool/1.segment").write_text("s")
    log = home.path / "warehouse/main/default/x/_delta_log"
    log.mkdir(parents=True)
    (log / "0.json").write_text("{}")
    (log.parent / "a.parquet").write_text("p")
    (home.artifacts / "abc/MLmodel").write_text("fetched")
    (home.run / "penstock.json").write_text("{}")
    (home.mlflow_artifacts / "link").symlink_to("/etc/passwd")
    os.mkfifo(home.mlflow_artifacts / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home.mlflow_artifacts / "s"))
    return home


def restored(source: Path, to: Path) -> Home:
    target = Home(to)
    target.run.mkdir(parents=True)
    restore_backup(source, target)
    return target


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["b.tar.gz", "b.tgz", "b.tar"])
def test_p3_12_a_backup_holds_what_cannot_be_made_again_and_comes_back_as_it_was(
    home: Home, tmp_path: Path, name: str
) -> None:
    contents = write_backup(home, tmp_path / name, with_key=True)
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    with tarfile.open(tmp_path / name) as archive:
        order = archive.getnames()
        assert {member.mode for member in archive} == {0o600}
    assert order == [
        *("token", "secrets.key", "penstock.db", "mlflow/mlflow.db"),
        *("mlflow/artifacts/1/models/MLmodel", "mlflow/artifacts/1/models/bytes.db", "spool/1.segment"),
        *("warehouse/main/default/x/_delta_log/0.json", "warehouse/main/default/x/a.parquet", "manifest.json"),
    ]
    assert contents.files == len(order) - 1
    back = restored(tmp_path / name, tmp_path / "back")
    databases = {"penstock.db", "mlflow/mlflow.db"}
    before = {name: data for name, data in files(home.path).items() if name in order and name not in databases}
    assert {name: data for name, data in files(back.path).items() if name not in databases} == before
    database = Database.open(f"sqlite:///{back.database}")
    assert database.tokens() == [Token("t1", "ann", "d1")]
    database.close()
    assert {path.stat().st_mode & 0o777 for path in back.path.rglob("*") if path.is_file()} == {0o600}


def test_the_keys_of_secrets_can_be_left_out(home: Home, tmp_path: Path) -> None:
    assert not write_backup(home, tmp_path / "b.tar.gz", with_key=False).has_key
    back = restored(tmp_path / "b.tar.gz", tmp_path / "back")
    assert not back.secrets_key_file.exists()
    assert back.token_file.exists()


def test_a_database_that_is_written_to_is_copied_as_it_is_at_one_moment(home: Home, tmp_path: Path) -> None:
    with sqlite3.connect(home.database) as writing:
        writing.execute("INSERT INTO tokens VALUES ('t2', 'bob', 'd2', '', 0)")
        write_backup(home, tmp_path / "b.tar.gz", with_key=True)  # before the writer commits
    writing.close()
    back = restored(tmp_path / "b.tar.gz", tmp_path / "back")
    database = Database.open(f"sqlite:///{back.database}")
    assert [token.id for token in database.tokens()] == ["t1"]
    database.close()


def test_the_keys_are_those_of_the_copied_database(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = module._snapshot
    keys = iter(["rotated\n"])

    def rotate_meanwhile(database: Path, copy: Path) -> None:
        copied(database, copy)
        if database == home.database and (key := next(keys, None)) is not None:
            home.secrets_key_file.write_text(key)

    monkeypatch.setattr(module, "_snapshot", rotate_meanwhile)
    write_backup(home, tmp_path / "b.tar.gz", with_key=True)
    assert restored(tmp_path / "b.tar.gz", tmp_path / "back").secrets_key_file.read_text() == "rotated\n"


def test_a_backup_that_cannot_be_written_leaves_nothing(home: Home, tmp_path: Path) -> None:
    with pytest.raises(BackupFailed, match="holds no stack"):
        write_backup(Home(tmp_path / "none"), tmp_path / "b.tar", with_key=True)
    with pytest.raises(BackupFailed, match="No such file"):
        write_backup(home, tmp_path / "none/b.tar", with_key=True)
    home.database.write_bytes(b"no database" * 100)
    with pytest.raises(BackupFailed, match="not a database"):
        write_backup(home, tmp_path / "b.tar", with_key=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


@pytest.mark.parametrize("name", ["b.tar.gz", "b.tar"])
def test_a_backup_that_is_cut_anywhere_puts_nothing_back(home: Home, tmp_path: Path, name: str) -> None:
    write_backup(home, tmp_path / name, with_key=True)
    whole = (tmp_path / name).read_bytes()
    with tarfile.open(tmp_path / name) as archive:
        last = max(member.offset_data + member.size for member in archive)
    end = len(whole) if name.endswith("gz") else last  # what follows in a .tar is but padding
    target = Home(tmp_path / "back")
    target.run.mkdir(parents=True)
    for length in (0, 1, 100, *range(512, end, end // 40), end - 1):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(BackupFailed):
            restore_backup(tmp_path / "cut", target)
        assert occupants(target) == []
        assert list(target.path.iterdir()) == [target.run]


def test_a_compressed_backup_that_was_altered_is_refused(home: Home, tmp_path: Path) -> None:
    write_backup(home, tmp_path / "b.tar.gz", with_key=True)
    whole = bytearray((tmp_path / "b.tar.gz").read_bytes())
    target = Home(tmp_path / "back")
    target.run.mkdir(parents=True)
    for at in range(len(whole) // 2, len(whole), len(whole) // 20):
        altered = bytearray(whole)
        altered[at] ^= 0x10
        (tmp_path / "altered").write_bytes(altered)
        with pytest.raises(BackupFailed):
            restore_backup(tmp_path / "altered", target)
        assert occupants(target) == []


Change = Callable[[tarfile.TarFile], None]


def member(name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE) -> Change:
    def add(archive: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.type, info.linkname = len(data), kind, "/etc/passwd"
        archive.addfile(info, io.BytesIO(data))

    return add


def manifest(**changes: object) -> Change:
    told = {"format": 1, "files": 0, "size_bytes": 0, "created_at_ms": 1, "release": "1", "has_key": True, **changes}
    return member("manifest.json", json.dumps(told).encode())


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ([member("../evil")], "'../evil'"),
        ([member("/etc/evil")], "'/etc/evil'"),
        ([member("mlflow/artifacts/../../../evil")], "evil"),
        ([member("run/lock")], "run/lock"),
        ([member("token", b"", tarfile.SYMTYPE)], "token"),
        ([member("mlflow/artifacts/l", b"", tarfile.LNKTYPE)], "mlflow/artifacts/l"),
        ([member("mlflow", b"", tarfile.DIRTYPE)], "mlflow"),
        ([member("token")], "its end is missing"),
        ([member("token"), manifest()], "0 files were put in, and 1 came out"),
        ([manifest(format=2)], "format 2"),
        ([manifest(), member("token")], "token"),
        ([member("manifest.json", b"[]")], ""),
        ([member("manifest.json", b"{")], ""),
        ([member("token"), member("token"), manifest(files=2, size_bytes=2)], "exists"),
        ([member("penstock.db", b"no database"), manifest(files=1, size_bytes=11)], "not a database"),
    ],
)
def test_what_is_no_backup_is_refused(tmp_path: Path, changes: list[Change], fragment: str) -> None:
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        for change in changes:
            change(archive)
    target = Home(tmp_path / "back")
    target.run.mkdir(parents=True)
    with pytest.raises(BackupFailed) as refused:
        restore_backup(tmp_path / "b.tar", target)
    assert fragment in str(refused.value)
    assert occupants(target) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar", "back"]


def test_a_folder_with_anything_of_a_stack_in_it_is_not_empty(tmp_path: Path) -> None:
    target = Home(tmp_path / "back")
    assert occupants(target) == []
    for name in ("run", "lost+found", ".restoring"):
        (target.path / name).mkdir(parents=True)
    assert occupants(target) == []
    target.token_file.touch()
    assert occupants(target) == ["token"]
