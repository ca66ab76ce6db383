"""Python environments that were built for models: one folder each, built once, kept while somebody uses it.

    envs/<key>/                a virtual environment; `environment.json` in it is written last, when it is whole
    envs/<key>/used-by/        an empty file for each model that it was used for, as old as the last use
    envs/<key>.lock            held shared by whoever runs in it, alone by whoever builds or removes it
    envs/.cache/, .cache.lock  the installer's cache, held shared while something is built

A lock ends with the last process that holds it, however that ends. So an environment without `environment.json`
whose lock is free is what a builder that was killed has left, and is built anew.
"""

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from pathlib import Path

from penstock.domain.environment import EnvironmentUse, unwanted

_MARKER = "environment.json"
_USED_BY = "used-by"
_LOCK_SUFFIX = ".lock"
_CACHE = ".cache"
_OF_A_PYTHON = frozenset(("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"))


class Environment:
    """One environment, which may not be there yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def key(self) -> str:
        """Its name."""
        return self.folder.name

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def is_whole(self) -> bool:
        """Whether it was built to the end, and its interpreter is still there."""
        return (self.folder / _MARKER).is_file() and self.python.exists()

    def hold(self, build: Callable[[int], None] | None = None, on_wait: Callable[[], None] | None = None) -> None:
        """Keep it from being removed for as long as this process lives.

        Args:
            build: builds it, if it is not whole; told the descriptor of the lock, to be passed on to its processes.
            on_wait: called before waiting for another process that builds it.

        Raises:
            FileNotFoundError: it is not whole, and nothing was given to build it.
            Exception: what `build` raises; what it left is removed then.
        """
        while True:
            lock = self._lock()
            try:
                _wait_for(lock, fcntl.LOCK_SH, on_wait)
                if self.is_whole and self._is_of(lock):
                    os.dup(lock)  # kept open until this process ends
                    return
                if build is None:
                    raise FileNotFoundError(f"the environment {self.folder} is not whole")
                fcntl.flock(lock, fcntl.LOCK_UN)  # two that wait for each other's share would wait for ever
                _wait_for(lock, fcntl.LOCK_EX, on_wait)
                if self._is_of(lock) and not self.is_whole:
                    self._build(build, lock)
            finally:
                os.close(lock)

    def note_use(self, model: str) -> None:
        """Remember that the model of that key was loaded in it, now."""
        with contextlib.suppress(OSError):  # a full disk is no reason not to serve
            (self.folder / _USED_BY).mkdir(exist_ok=True)
            (self.folder / _USED_BY / model).touch()

    def variables(self, environment: Mapping[str, str], own: Collection[str]) -> dict[str, str]:
        """The variables of a replica that runs in it: nothing leads back to another environment.

        Args:
            environment: of the replica in Penstock's own.
            own: names of variables that its served entity sets, which stay as they are.
        """
        kept = {name: value for name, value in environment.items() if name not in _OF_A_PYTHON or name in own}
        paths = [str(self.folder / "bin"), *filter(None, [environment.get("PATH")])]
        return {**kept, "PATH": os.pathsep.join(paths), "VIRTUAL_ENV": str(self.folder)}

    def complete(self, contents: dict[str, object]) -> None:
        """Say that it is whole; `contents` is for people who look."""
        temporary = self.folder / f"{_MARKER}.new"
        with temporary.open("w") as file:
            json.dump(contents, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / _MARKER)

    def use(self) -> EnvironmentUse:
        """What it was used for."""
        models, last_s = set(), 0.0
        with contextlib.suppress(OSError):
            for entry in (self.folder / _USED_BY).iterdir():
                models.add(entry.name)
                last_s = max(last_s, entry.stat().st_mtime)
        return EnvironmentUse(self.key, frozenset(models), last_s)

    def remove(self) -> bool:
        """Remove it unless somebody holds it; whether it is gone."""
        lock = self._lock()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            # The marker first: what is left if this is cut short is not taken for a whole environment.
            (self.folder / _MARKER).unlink(missing_ok=True)
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lock_file.unlink(missing_ok=True)
            return True
        finally:
            os.close(lock)

    @property
    def _lock_file(self) -> Path:
        return self.folder.with_name(self.key + _LOCK_SUFFIX)

    def _lock(self) -> int:
        self.folder.parent.mkdir(mode=0o700, exist_ok=True)
        return os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _is_of(self, lock: int) -> bool:
        """Whether the descriptor is that of the lock file, and not of one that was removed meanwhile."""
        try:
            return os.path.samestat(os.fstat(lock), self._lock_file.stat())
        except FileNotFoundError:
            return False

    def _build(self, build: Callable[[int], None], lock: int) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            build(lock)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lock_file.unlink(missing_ok=True)
            raise


class Environments:
    """All environments of a home folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __iter__(self) -> Iterator[Environment]:
        with contextlib.suppress(FileNotFoundError):
            for entry in sorted(self.folder.iterdir()):
                if entry.is_dir() and not entry.name.startswith("."):
                    yield Environment(entry)

    def of(self, key: str) -> Environment:
        """The environment of that name."""
        return Environment(self.folder / key)

    def current(self) -> Environment | None:
        """The one that this process runs in; None if that is Penstock's own."""
        prefix = Path(sys.prefix)
        return Environment(prefix) if prefix.parent == self.folder else None

    @property
    def cache(self) -> Path:
        """Of the installer. It lies beside the environments, so that their files are links into it."""
        return self.folder / _CACHE

    @contextlib.contextmanager
    def using_cache(self) -> Iterator[None]:
        """Keep the cache from being removed meanwhile."""
        with self._cache_lock() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def remove_unfinished(self) -> None:
        """Remove what builders that were killed have left; for a start, when nobody builds."""
        for environment in self:
            if not environment.is_whole:
                environment.remove()
        for lock in self.folder.glob(f"*{_LOCK_SUFFIX}"):
            if not lock.with_suffix("").is_dir():
                lock.unlink(missing_ok=True)

    def sweep(self, models: Set[str], now_s: float | None = None) -> tuple[str, ...]:
        """Remove environments that none of the models uses, and the cache with them; which were removed."""
        now_s = time.time() if now_s is None else now_s
        wanted_no_more = unwanted((environment.use() for environment in self), models, now_s)
        removed = tuple(key for key in wanted_no_more if self.of(key).remove())
        if removed:
            self._remove_cache()
        return removed

    def _remove_cache(self) -> None:
        with self._cache_lock() as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(self.cache, ignore_errors=True)

    @contextlib.contextmanager
    def _cache_lock(self) -> Iterator[int]:
        lock = os.open(self.folder / f"{_CACHE}{_LOCK_SUFFIX}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield lock
        finally:
            os.close(lock)


def _wait_for(lock: int, kind: int, on_wait: Callable[[], None] | None) -> None:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        if on_wait is not None:
            on_wait()
        fcntl.flock(lock, kind)
