"""Requirement lines of a model, read as pip reads them, and which of them an environment does not meet."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

_COMMENT = re.compile(r"(^|\s)#.*$")
_LINE_OPTIONS = re.compile(r"\s--")
_EDITABLE = ("-e", "--editable")
OURS = "penstock"
"""Never installed: the package that runs is linked into every environment."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that says something, and where it stands."""

    text: str
    file: str
    number: int
    is_constraint: bool = False
    """Whether it asks for nothing, and only says which versions may be taken."""

    @property
    def where(self) -> str:
        """For people."""
        return f"{self.file} line {self.number}"

    @property
    def is_option(self) -> bool:
        """Whether it is an option of pip's, such as an index to look at."""
        return self.text.startswith("-") and not self.text.startswith(_EDITABLE)

    @property
    def requirement(self) -> Requirement | None:
        """What is asked for by name; None for options, paths and addresses."""
        try:
            return Requirement(_LINE_OPTIONS.split(self.text)[0])
        except InvalidRequirement:
            return None

    @property
    def name(self) -> str | None:
        """The package's name in its one spelling."""
        requirement = self.requirement
        return None if requirement is None else canonicalize_name(requirement.name)

    @property
    def normal_form(self) -> str:
        """The same for lines that mean the same."""
        requirement = self.requirement
        if requirement is None:
            return self.text
        extras = ",".join(sorted(map(canonicalize_name, requirement.extras)))
        url = f"@{requirement.url}" if requirement.url else ""
        options = " ".join(sorted(f"--{option.strip()}" for option in _LINE_OPTIONS.split(self.text)[1:]))
        kind = "-c " if self.is_constraint else ""
        return f"{kind}{self.name}[{extras}]{requirement.specifier}{url};{requirement.marker or ''}{options}"


@dataclass(frozen=True, slots=True)
class Installed:
    """A package that is there."""

    version: str
    requires: tuple[str, ...] = ()
    """What it requires, its extras included."""


Lookup = Callable[[str], Installed | None]
"""Finds an installed package by name."""


def read_lines(file: str, text: str, *, is_constraint: bool = False) -> tuple[Line, ...]:
    """The lines of a requirements file that say something; one that ends with a backslash goes on in the next."""
    lines: list[Line] = []
    begun, begun_at = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        begun_at = begun_at or number
        piece = _COMMENT.sub("", raw).rstrip()
        if piece.endswith("\\"):
            begun += piece[:-1]
            continue
        whole = " ".join((begun + piece).split())
        if whole:
            lines.append(Line(whole, file, begun_at, is_constraint))
        begun, begun_at = "", 0
    if begun.strip():
        lines.append(Line(" ".join(begun.split()), file, begun_at, is_constraint))
    return tuple(lines)


def unmet(lines: Iterable[Line], installed: Lookup) -> tuple[str, ...]:
    """Why an environment does not meet the lines, a sentence for each that it does not."""
    return tuple(reason for line in lines if not line.is_option for reason in _unmet_line(line, installed))


def _unmet_line(line: Line, installed: Lookup) -> Iterator[str]:
    requirement = line.requirement
    if requirement is None or requirement.url:
        yield f"{line.where} asks for '{line.text}', which can only be installed"
    elif line.name != OURS and (not line.is_constraint or installed(requirement.name) is not None):
        for reason in _unmet_requirement(requirement, installed, "", set()):
            yield f"{line.where} asks for {requirement}, but {reason}"


def _unmet_requirement(requirement: Requirement, installed: Lookup, extra: str, seen: set[str]) -> Iterator[str]:
    if str(requirement) in seen or (requirement.marker and not requirement.marker.evaluate({"extra": extra})):
        return
    seen.add(str(requirement))
    found = installed(requirement.name)
    if found is None:
        yield f"{requirement.name} is not installed"
        return
    if not _allows(requirement, found.version):
        yield f"{requirement.name} {found.version} is installed"
        return
    for wanted in requirement.extras:
        for text in found.requires:
            inner = Requirement(text)
            if inner.marker and not inner.marker.evaluate({"extra": ""}):
                yield from _unmet_requirement(inner, installed, wanted, seen)


def _allows(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return False
