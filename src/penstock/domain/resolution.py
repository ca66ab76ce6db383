"""What an installer says when it fails, told as people ask it: which package, which constraint, who wanted it.

The resolver's own text names packages and not the lines that asked for them, and its form differs from version to
version: it is read for a few turns of phrase, and kept whole behind what was found.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from penstock.domain.requirements import Line

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_SPEC = r"(?:\[[^\]]*\])?(?:[<>=!~]=?[^\s,`]+(?:,[<>=!~]=?[^\s,`]+)*)?"
_PACKAGE = rf"{_NAME}{_SPEC}"
_REQUIRED = re.compile(rf"you require ({_PACKAGE}(?: and {_PACKAGE})*)")
_DEPENDS = re.compile(rf"({_PACKAGE}) depends? on ({_PACKAGE})")
_MISSING = (
    re.compile(rf"no versions? of ({_PACKAGE})"),
    re.compile(rf"({_PACKAGE}) (?:was|were) not found"),
    re.compile(rf"only (?:the following versions of )?({_PACKAGE}) (?:is|are) available"),
    re.compile(rf"({_PACKAGE}) requires Python"),
    re.compile(rf"({_PACKAGE}) has no "),
    re.compile(rf"[Ff]ailed to [a-z ,]*`({_PACKAGE})"),
)
_NOISE = re.compile(r"[×╰─▶│├└]+")  # noqa: RUF001 - as printed
_BEGINS = re.compile(r"(?m)^\s*(?:error:|× )")  # noqa: RUF001 - as printed
_MAX_TEXT = 4000


@dataclass(frozen=True, slots=True)
class _Ask:
    who: str | None
    """The package that asks; None for the model or the replica runtime."""
    what: str

    @property
    def name(self) -> str:
        return _name(self.what)


def explain(output: str, lines: Sequence[Line], runtime: Iterable[str]) -> str:
    """One paragraph for people: the packages at fault with who asked for them, then the installer's own words.

    Args:
        output: all that the installer printed.
        lines: the model's.
        runtime: requirements of the replica runtime.
    """
    text = _flat(output)
    asks = _asks(text)
    sentences = [_sentence(name, asks, lines, tuple(runtime)) for name in _culprits(text, asks)]
    return " ".join([*filter(None, sentences), f"uv: {text}"])


def _flat(output: str) -> str:
    begin = _BEGINS.search(output)
    return " ".join(_NOISE.sub(" ", output[begin.start() :] if begin else output).split())[:_MAX_TEXT]


def _asks(text: str) -> list[_Ask]:
    required = [what for found in _REQUIRED.findall(text) for what in re.split(r" and ", found)]
    asks = [_Ask(None, what) for what in required]
    asks += [_Ask(_name(who), what) for who, what in _DEPENDS.findall(text)]
    return list(dict.fromkeys(asks))


def _culprits(text: str, asks: list[_Ask]) -> list[str]:
    """The packages that cannot be had; if all can, those of which two want different versions."""
    missing = [_name(found) for pattern in _MISSING for found in pattern.findall(text)]
    if not missing:
        names = [ask.name for ask in asks]
        missing = [name for name in names if names.count(name) > 1]
    return list(dict.fromkeys(missing))


def _sentence(name: str, asks: list[_Ask], lines: Sequence[Line], runtime: tuple[str, ...]) -> str:
    """Who asked for a package; who only the text knows is told with who asked for that one."""
    wanted = []
    for ask in asks:
        if ask.name == name and ask.who is not None:
            by = _direct(ask.who, lines, runtime)
            wanted.append(f"{ask.who} asks for {ask.what}" + (f" (and {by[0]})" if by else ""))
    direct = _direct(name, lines, runtime)
    return f"Package '{name}': {'; '.join([*direct, *wanted])}." if direct or wanted else ""


def _direct(name: str, lines: Sequence[Line], runtime: tuple[str, ...]) -> list[str]:
    asked = [f"{line.where} asks for {line.text}" for line in lines if line.name == name]
    return asked + [f"the replica runtime asks for {needed}" for needed in runtime if _name(needed) == name]


def _name(package: str) -> str:
    return canonicalize_name(re.split(r"[\[<>=!~]", package, maxsplit=1)[0])
