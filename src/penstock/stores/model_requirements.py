"""What a fetched model says that it needs: `requirements.txt`, else `python_env.yaml`, else `conda.yaml`."""

import re
from pathlib import Path
from typing import Any

import yaml

from penstock.domain.environment import ModelNeeds
from penstock.domain.requirements import Line, read_lines
from penstock.stores.yaml_text import parse_yaml

_REQUIREMENTS, _PYTHON_ENV, _CONDA = "requirements.txt", "python_env.yaml", "conda.yaml"
_OTHER_FILE = re.compile(r"(?:-(?P<short>[rc])|--(?P<long>requirement|constraint))[ =]?\s*(?P<file>\S+)$")
_CONDA_NAME = re.compile(r"[A-Za-z0-9_.:/-]+")
_MADE_BY_CONDA_ALONE = frozenset(("python", "pip"))
_NOT_BUILD_DEPENDENCIES = frozenset(("pip", "wheel"))
_MAX_BYTES = 1 << 20
_MAX_DEPTH = 8


class BadRequirements(Exception):
    """A file that says what a model needs cannot be read."""


def read_needs(folder: Path) -> ModelNeeds:
    """What the model in a folder needs.

    Raises:
        BadRequirements: naming the file.
    """
    python_env = _document(folder, _PYTHON_ENV)
    conda = _document(folder, _CONDA)
    conda_lines = [entry for entry in _list(conda, "dependencies") if isinstance(entry, str)]
    pip_lines = next((_list(e, "pip") for e in _list(conda, "dependencies") if isinstance(e, dict)), [])
    if (text := _read(folder, _REQUIREMENTS)) is not None:
        lines = read_lines(_REQUIREMENTS, text)
    elif python_env:
        lines = read_lines(_PYTHON_ENV, "\n".join(map(str, _list(python_env, "dependencies"))))
    else:
        lines = read_lines(_CONDA, "\n".join(map(str, pip_lines)))
    names = {match.group(): entry for entry in conda_lines if (match := _CONDA_NAME.match(entry))}
    lines = _with_other_files(folder, lines)
    asked = _NOT_BUILD_DEPENDENCIES | {line.name for line in lines if not line.is_constraint}
    build = read_lines(_PYTHON_ENV, "\n".join(map(str, _list(python_env, "build_dependencies"))))
    return ModelNeeds(
        lines,
        _python(python_env, names),
        tuple(line.text for line in build if line.name is not None and line.name not in asked),
        tuple(entry for name, entry in names.items() if name not in _MADE_BY_CONDA_ALONE),
    )


def _python(python_env: dict[str, Any], conda_names: dict[str, str]) -> str | None:
    if version := python_env.get("python"):
        return str(version)
    found = re.search(r"=+\s*([0-9.]+)", conda_names.get("python", ""))
    return found.group(1) if found else None


def _with_other_files(folder: Path, lines: tuple[Line, ...], depth: int = 0) -> tuple[Line, ...]:
    """The lines with those of the files that `-r` and `-c` name in their place."""
    whole: list[Line] = []
    for line in lines:
        other = _OTHER_FILE.match(line.text)
        if other is None:
            whole.append(line)
            continue
        if depth == _MAX_DEPTH:
            raise BadRequirements(f"{line.where}: files name each other more than {_MAX_DEPTH} deep.")
        is_constraint = line.is_constraint or other["short"] == "c" or other["long"] == "constraint"
        text = _read(folder, other["file"])
        if text is None:
            raise BadRequirements(f"{line.where}: there is no file {other['file']!r} in the model's folder.")
        inner = read_lines(other["file"], text, is_constraint=is_constraint)
        whole += _with_other_files(folder, inner, depth + 1)
    return tuple(whole)


def _document(folder: Path, name: str) -> dict[str, Any]:
    try:
        document = parse_yaml(_read(folder, name) or "") or {}
    except yaml.YAMLError as exc:
        raise BadRequirements(f"{name} is not YAML: {' '.join(str(exc).split())}") from exc
    if not isinstance(document, dict):
        raise BadRequirements(f"{name}: wanted a mapping, got {type(document).__name__}.")
    return document


def _list(document: dict[str, Any], field: str) -> list[Any]:
    value = document.get(field)
    return value if isinstance(value, list) else []


def _read(folder: Path, name: str) -> str | None:
    """The text of a file in the folder, None if there is none."""
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise BadRequirements(f"{name!r} leads out of the model's folder.")
        if not path.exists():
            return None
        data = path.read_bytes()[: _MAX_BYTES + 1]
    except (OSError, ValueError) as exc:
        raise BadRequirements(f"{name} cannot be read: {exc}.") from exc
    if len(data) > _MAX_BYTES:
        raise BadRequirements(f"{name} has more than {_MAX_BYTES} bytes.")
    return data.decode("utf-8", "replace").removeprefix("\ufeff")
