"""YAML and JSON files as plain documents, in which every value still knows its line and column.

Scalars are those of YAML 1.2: `yes`, `on` and dates are text. Keys may come once. JSON is read by the same rules.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

MAX_BYTES = 4 << 20
_MAX_NODES = 200_000
"""Aliases count each time they are used: ten lines of them can stand for a billion values."""
_MAX_DEPTH = 64
_WIDTH = 120

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_COLLECTIONS = (f"{_TAG}map", f"{_TAG}seq")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Located:
    """A document, or a part of one, and the places of everything in it by path: `config.served_entities[0].name`."""

    value: Any
    _places: dict[str, Place]
    _prefix: str = ""

    def place(self, path: str = "") -> Place:
        """Where a path stands, or else what is nearest around it."""
        whole = f"{self._prefix}.{path}" if self._prefix and path else self._prefix or path
        while whole and whole not in self._places:
            shorter = _LAST_STEP.sub("", whole)
            whole = shorter if shorter != whole else ""
        return self._places[whole]

    def told(self, message: str) -> str:
        """A message that begins with a path, with the place of that path in front."""
        path = _PATH_IN_MESSAGE.match(message)
        return f"{self.place(path[1] if path else '')}: {message}"

    def items(self, key: str) -> Iterator["Located"]:
        """The items of the list under a key of this document, which is a whole one."""
        for index, item in enumerate(self.value[key]):
            yield Located(item, self._places, f"{key}[{index}]")


_PATH_IN_MESSAGE = re.compile(r"([A-Za-z_][\w.\[\]-]*)(?=: )")
_LAST_STEP = re.compile(r"(?:\[\d+\]|\.?[^.\[\]]+|\.)$")


class Malformed(Exception):
    """A file is no YAML, or says something that no document can; the message begins with its place."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(f"{place}: {message}")


class _Loader(yaml.SafeLoader):
    """Resolves scalars as YAML 1.2's core schema does."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - as the base class has it


class _Dumper(yaml.SafeDumper):
    """Puts into quotes what either YAML 1.1 or 1.2 would take for something else than text."""

    yaml_implicit_resolvers = {key: list(value) for key, value in yaml.SafeDumper.yaml_implicit_resolvers.items()}  # noqa: RUF012


_SCALARS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
)
for _name, _pattern, _first in _SCALARS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), _first)


def read_documents(data: bytes, file: str) -> Iterator[Located]:
    """The documents of a file; one that is empty is passed over.

    Raises:
        Malformed: naming the file, the line and the column.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise Malformed(_place_of(data[: exc.start].decode("utf-8", "replace"), file), "not UTF-8 text.") from None
    try:
        for node in yaml.compose_all(_without_tabs(text), Loader=_Loader):
            reader = _Reader(file)
            value = reader.value(node, "", 0)
            if value is not None:
                yield Located(value, reader.places)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
        raise Malformed(place, f"{exc.problem or exc.context}.") from None
    except yaml.reader.ReaderError as exc:
        raise Malformed(_place_of(text[: exc.position], file), "a character that may not stand in YAML.") from None
    except RecursionError:
        raise Malformed(Place(file, 1, 1), "nested too deeply.") from None


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Text with line breaks or other signs that nobody sees is written with escapes, in double quotes."""
    return dumper.represent_scalar(f"{_TAG}str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _text)


def written(document: object) -> str:
    """A document as YAML."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)


def _without_tabs(text: str) -> str:
    """JSON may be indented with tabs, which YAML does not take; in its strings there can be none."""
    return text.replace("\t", " ") if text.lstrip()[:1] in {"{", "["} else text


def _place_of(before: str, file: str) -> Place:
    return Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))


class _Reader:
    """Turns nodes into plain values and notes their places."""

    def __init__(self, file: str) -> None:
        self.places: dict[str, Place] = {}
        self._file = file
        self._nodes = 0

    def value(self, node: yaml.Node | None, path: str, depth: int) -> Any:
        if node is None:
            return None
        self._nodes += 1
        if depth > _MAX_DEPTH or self._nodes > _MAX_NODES:
            raise Malformed(self._at(node), "nested too deeply, or too much of it.")
        self.places.setdefault(path, self._at(node))
        match node:
            case yaml.MappingNode(tag=tag) | yaml.SequenceNode(tag=tag) if tag not in _COLLECTIONS:
                raise Malformed(self._at(node), f"the tag {tag} means nothing here.")
            case yaml.MappingNode():
                return {key: self.value(inner, at, depth + 1) for key, inner, at in self._entries(node, path)}
            case yaml.SequenceNode():
                return [self.value(inner, f"{path}[{index}]", depth + 1) for index, inner in enumerate(node.value)]
            case _:
                return self._scalar(node)

    def _entries(self, node: yaml.MappingNode, path: str) -> Iterator[tuple[str, yaml.Node, str]]:
        """The entries of a mapping, those that `<<` brings along included, with the paths of their values."""
        for key, (key_node, inner) in self._pairs(node).items():
            at = f"{path}.{key}" if path else key
            self.places[at] = self._at(key_node)
            yield key, inner, at

    def _pairs(self, node: yaml.Node) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Nodes of keys and values by key. What a mapping says itself goes before what it is given by `<<`."""
        if not isinstance(node, yaml.MappingNode):
            raise Malformed(self._at(node), "'<<' wants a mapping, or a list of them.")
        pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        given: list[yaml.Node] = []
        for key_node, inner in node.value:
            if key_node.tag == _MERGE:
                given += inner.value if isinstance(inner, yaml.SequenceNode) else [inner]
                continue
            key = self._key(key_node)
            if key in pairs:
                first = self._at(pairs[key][0]).line
                raise Malformed(self._at(key_node), f"the key '{key}' came already in line {first}.")
            pairs[key] = (key_node, inner)
        for source in given:
            for key, pair in self._pairs(source).items():
                pairs.setdefault(key, pair)
        return pairs

    def _key(self, node: yaml.Node) -> str:
        key = self._scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            raise Malformed(self._at(node), "a key must be text; put it into quotes.")
        return key

    def _scalar(self, node: yaml.Node) -> str | int | float | bool | None:
        text = str(node.value)
        try:
            match node.tag.removeprefix(_TAG):
                case "str" | "merge":
                    return _joined(text)
                case "null":
                    return None
                case "bool":
                    return text.lower() == "true"
                case "int":
                    return int(text)
                case "float":
                    return float(text)
        except ValueError as exc:
            raise Malformed(self._at(node), f"{exc}.") from None
        raise Malformed(self._at(node), f"the tag {node.tag} means nothing here.")

    def _at(self, node: yaml.Node) -> Place:
        return Place(self._file, node.start_mark.line + 1, node.start_mark.column + 1)


def _joined(text: str) -> str:
    """JSON writes characters beyond the first plane as two escapes, which YAML takes for two characters.

    Raises:
        ValueError: one half stands alone.
    """
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ValueError("half of a surrogate pair stands alone") from None
