"""Files that declare endpoints: found, read and checked, all that is wrong with them told at once."""

import difflib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from penstock.cli.documents import MAX_BYTES, Located, Malformed, Place, read_documents
from penstock.domain.errors import InvalidParameterValue
from penstock.wire.declared import Declared, EndpointInFile, decode_declared
from penstock.wire.serving_endpoints import ServedEntityInput
from penstock.wire.unknown_keys import unknown_keys

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})


class BadFiles(Exception):
    """Files cannot be applied; each problem begins with its place."""

    def __init__(self, problems: Iterable[str]) -> None:
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True)
class DeclaredInFile:
    """An endpoint of a file and where it stands there."""

    endpoint: Declared
    located: Located


@dataclass(frozen=True, slots=True)
class FilesRead:
    """What came of reading files."""

    endpoints: tuple[DeclaredInFile, ...]
    remarks: tuple[str, ...]
    """What is not wrong and should be known."""


def read_endpoint_files(sources: Iterable[Path]) -> FilesRead:
    """The endpoints of files; of all YAML and JSON files of a folder; of standard input, which is `-`.

    Raises:
        BadFiles: naming all that is wrong, each with its place.
    """
    problems: list[str] = []
    remarks: list[str] = []
    found: dict[str, DeclaredInFile] = {}
    for located in _endpoints(sources, problems):
        unknown = unknown_keys(EndpointInFile, located.value)
        for key in unknown:
            place, name = located.place(key.path), key.path.rsplit(".", 1)[-1]
            if key.suggestion is None and key.model == ServedEntityInput.__name__:
                remarks.append(f"{place}: {key.path}: unknown here; it is passed on to the API as it is, not compared.")
            else:
                hint = f"; did you mean '{key.suggestion}'?" if key.suggestion else "."
                problems.append(f"{place}: {key.path}: there is no '{name}'{hint}")
        try:
            declared = DeclaredInFile(decode_declared(located.value), located)
        except InvalidParameterValue as exc:
            problems.append(located.told(str(exc)))
            continue
        first = found.setdefault(declared.endpoint.name, declared)
        if first is not declared:
            place = located.place("name")
            problems.append(
                f"{place}: name: '{declared.endpoint.name}' is declared already at {first.located.place()}."
            )
    if problems:
        raise BadFiles(problems)
    return FilesRead(tuple(found.values()), tuple(remarks))


def _endpoints(sources: Iterable[Path], problems: list[str]) -> Iterator[Located]:
    for file, data in _contents(sources, problems):
        is_empty = True
        try:
            for document in read_documents(data, file):
                is_empty = False
                yield from _endpoints_of(document, problems)
        except Malformed as exc:
            problems.append(str(exc))
        else:
            if is_empty:
                problems.append(f"{Place(file, 1, 1)}: nothing is declared here; wanted 'endpoints'.")


def _endpoints_of(document: Located, problems: list[str]) -> Iterator[Located]:
    """The endpoints of one document: a list under `endpoints`, or the document itself."""
    value = document.value
    if not isinstance(value, dict):
        problems.append(f"{document.place()}: got {_kind(value)}; wanted a mapping with 'endpoints', a list.")
        return
    if "endpoints" not in value:
        if "name" in value:
            yield document
        else:
            meant = next((key for key in value if difflib.get_close_matches(key, ["endpoints"])), "")
            hint = f"'{meant}', but no 'endpoints'" if meant else "neither 'endpoints' nor 'name'"
            problems.append(f"{document.place(meant)}: got {hint}; wanted a list of endpoints, or an endpoint.")
        return
    problems += [
        f"{document.place(key)}: {key}: there is no '{key}' beside 'endpoints'." for key in value if key != "endpoints"
    ]
    listed = value["endpoints"]
    if not isinstance(listed, list):
        problems.append(f"{document.place('endpoints')}: endpoints: got {_kind(listed)}; wanted a list.")
        return
    for item in document.items("endpoints"):
        if isinstance(item.value, dict):
            yield item
        else:
            problems.append(f"{item.place()}: got {_kind(item.value)}; wanted an endpoint, a mapping with 'name'.")


def _contents(sources: Iterable[Path], problems: list[str]) -> Iterator[tuple[str, bytes]]:
    for source in sources:
        try:
            if str(source) == "-":
                yield _checked("<stdin>", sys.stdin.buffer.read(MAX_BYTES + 1), problems)
            elif source.is_dir():
                files = sorted(file for file in source.iterdir() if file.suffix in _SUFFIXES and file.is_file())
                if not files:
                    problems.append(f"{source}: holds no .yaml, .yml or .json file.")
                for file in files:
                    yield _checked(str(file), file.read_bytes(), problems)
            else:
                yield _checked(str(source), source.read_bytes(), problems)
        except OSError as exc:
            problems.append(f"{exc.filename or source}: cannot be read: {exc.strerror or exc}.")


def _checked(name: str, data: bytes, problems: list[str]) -> tuple[str, bytes]:
    if len(data) <= MAX_BYTES:
        return name, data
    problems.append(f"{name}: longer than {MAX_BYTES >> 20} MiB.")
    return name, b"endpoints: []"


def _kind(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a mapping"
