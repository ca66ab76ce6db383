"""`penstock backup` and `penstock restore`: the home folder in one file, and back."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli.session import (
    NOT_FOUND,
    REFUSED,
    USAGE,
    CommandFailed,
    HomeOption,
    JsonOption,
    command,
    print_json,
    settings_for,
    stderr,
)
from penstock.runtime.lock import Locked, is_locked, lock
from penstock.settings import Home
from penstock.stores.backup import SUFFIXES, BackupFailed, Contents, write_backup
from penstock.stores.restore import occupants, restore_backup


@command
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write: .tar.gz, .tgz or .tar.", show_default=False)],
    without_key: Annotated[
        bool, typer.Option("--without-key", help="Leave out the keys that open secrets; keep those elsewhere.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy what a stack keeps into one file; the stack may run meanwhile."""
    folder = settings_for(home).home
    target = file.expanduser().resolve()
    if not target.name.endswith(SUFFIXES):
        raise CommandFailed(f"FILE: got '{file}'; wanted a name that ends in {', '.join(SUFFIXES)}.", USAGE)
    if target.is_relative_to(folder.path):
        raise CommandFailed(f"FILE: {target} lies in the home folder, and would be lost with it.", USAGE)
    if target.exists():
        raise CommandFailed(f"{target} exists already; a backup never replaces a file.", REFUSED)
    if not folder.database.exists():
        raise CommandFailed(f"{folder.path} holds no stack: there is no {folder.database.name} in it.", NOT_FOUND)
    try:
        contents = write_backup(folder, target, with_key=not without_key)
    except BackupFailed as exc:
        raise CommandFailed(str(exc)) from exc
    _tell(f"Wrote {target}", target, contents, folder, as_json)


@command
def restore(
    file: Annotated[Path, typer.Argument(help="A file that 'penstock backup' wrote.", show_default=False)],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a backup back into a home folder that is empty or not there yet; then 'penstock up' as ever."""
    folder = settings_for(home).home
    source = file.expanduser().resolve()
    if not source.is_file():
        raise CommandFailed(f"FILE: there is no file {source}.", NOT_FOUND)
    if is_locked(folder.lock_file):
        raise CommandFailed(f"A stack runs on {folder.path}. Stop it, and name another folder with --home.", REFUSED)
    if found := occupants(folder):
        raise CommandFailed(f"{folder.path} is not empty: it holds {found[0]}. Name another with --home.", REFUSED)
    try:
        folder.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.path.chmod(0o700)
        with lock(folder.lock_file):
            contents = restore_backup(source, folder)
    except Locked:
        raise CommandFailed(f"Something else is using {folder.path}.", REFUSED) from None
    except OSError as exc:
        raise CommandFailed(f"{folder.path} cannot be used: {exc}.") from exc
    except BackupFailed as exc:
        raise CommandFailed(str(exc)) from exc
    _tell(f"Restored {folder.path}", source, contents, folder, as_json)
    if not contents.has_key:
        stderr.print(
            f"The keys that open secrets are not in it. If there are secrets, put {folder.secrets_key_file.name} back "
            "before you start the stack.",
            soft_wrap=True,
        )


def _tell(what: str, file: Path, contents: Contents, home: Home, as_json: bool) -> None:
    if as_json:
        print_json({"file": str(file), "home": str(home.path), **asdict(contents)})
    else:
        stderr.print(f"{what}: {contents.files} files, {contents.size_bytes / 1e6:.1f} MB.", soft_wrap=True)
