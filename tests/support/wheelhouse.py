"""A folder of wheels made without a network: of what is installed here, and of tiny packages written by hand."""

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_NOT_PACKED = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")

_SLOW_PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
_SLOW_BACKEND = """\
import pathlib, time, zipfile


def build_wheel(folder, config_settings=None, metadata_directory=None):
    pathlib.Path({begun!r}).touch()
    while not pathlib.Path({go_on!r}).exists():
        time.sleep(0.05)
    name = "{module}-{version}-py3-none-any.whl"
    pathlib.Path(folder, name).write_bytes(bytes.fromhex("{wheel}"))
    return name
"""


def pack_installed(folder: Path, names: Iterable[str]) -> None:
    """Wheels of installed packages and of all that they require, as they lie on disk, but without their own tests."""
    todo, packed = list(names), set()
    while todo:
        try:
            found = distribution(todo.pop())
        except PackageNotFoundError:
            continue  # for another Python or system, or optional
        if found.name not in packed:
            packed.add(found.name)
            _pack(folder, found)
            todo += [r.name for r in map(Requirement, found.requires or ()) if not r.marker or r.marker.evaluate()]


def _pack(folder: Path, found: Distribution) -> None:
    wheel = found.read_text("WHEEL")
    assert wheel is not None, found.name
    assert found.files is not None, found.name
    tags = [line.removeprefix("Tag: ").split("-") for line in wheel.splitlines() if line.startswith("Tag: ")]
    tag = "-".join(".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True))
    record = []
    name = canonicalize_name(found.name).replace("-", "_")
    with zipfile.ZipFile(folder / f"{name}-{found.version}-{tag}.whl", "w") as archive:
        for file in found.files:
            if file.parts[0] == ".." or {"__pycache__", "tests"} & set(file.parts) or file.name in _NOT_PACKED:
                continue
            archive.write(file.locate(), str(file))
            record.append(f"{file},{file.hash.mode}={file.hash.value},{file.size}" if file.hash else f"{file},,")
        record_file = next(file for file in found.files if file.name == "RECORD")
        archive.writestr(str(record_file), "\n".join([*record, f"{record_file},,", ""]))


def write_wheel(folder: Path, name: str, version: str) -> None:
    """A wheel of one module that tells its version."""
    module = name.replace("-", "_")
    (folder / f"{module}-{version}-py3-none-any.whl").write_bytes(_wheel(name, version))


def write_slow_package(folder: Path, name: str, version: str, begun: Path, go_on: Path) -> None:
    """A source package whose build makes the file `begun`, and ends when there is a file `go_on`."""
    module = name.replace("-", "_")
    backend = _SLOW_BACKEND.format(
        begun=str(begun), go_on=str(go_on), module=module, version=version, wheel=_wheel(name, version).hex()
    )
    files = {"pyproject.toml": _SLOW_PYPROJECT, "backend.py": backend, "PKG-INFO": _metadata(name, version)}
    with tarfile.open(folder / f"{module}-{version}.tar.gz", "w:gz") as archive:
        for file, text in files.items():
            entry = tarfile.TarInfo(f"{module}-{version}/{file}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))


def _wheel(name: str, version: str) -> bytes:
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": _metadata(name, version),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},{_digest(text)},{len(text)}\n" for file, text in files.items())
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(file, text)
    return data.getvalue()


def _metadata(name: str, version: str) -> str:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


def _digest(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
