"""Databricks' source format of notebooks: a Python file with marks between cells, and other languages in comments."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

FIRST_LINE = "# Databricks notebook source"
_SEPARATOR = "# COMMAND ----------"
_MAGIC = "# MAGIC"
_TITLE = "# DBTITLE"


class NotANotebook(Exception):
    """The text does not begin as notebooks in source format do."""


class BadRun(Exception):
    """A `%run` cannot be understood."""


class Language(StrEnum):
    """What a cell is written in; the words are those of its magic command."""

    PYTHON = "python"
    MARKDOWN = "md"
    RUN = "run"
    PIP = "pip"
    SQL = "sql"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell."""

    language: Language | str
    """A word that is none of ours where the notebook uses a magic command that is not to be had."""
    text: str
    line: int
    """Of its first line of text in the file, from 1."""


@dataclass(frozen=True, slots=True)
class RunOf:
    """What a `%run` asks for."""

    path: str
    widgets: dict[str, str] = field(default_factory=dict)


def cells_of(source: str) -> list[Cell]:
    """The cells of a notebook that hold anything.

    Raises:
        NotANotebook: it is none.
    """
    lines = source.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].strip() != FIRST_LINE:
        raise NotANotebook(f"wanted '{FIRST_LINE}' as its first line")
    return [cell for number, block in _blocks(lines) for cell in _cells(number, block)]


def run_of(text: str) -> RunOf:
    """What stands behind `%run`: a path, and values of widgets as in `$day="2026-01-01"`.

    Raises:
        BadRun: it is something else.
    """
    try:
        words = shlex.split(text)
    except ValueError as exc:
        raise BadRun(f"'%run {text}': {exc}") from exc
    if not words:
        raise BadRun("'%run' without the path of a notebook")
    path, *rest = words
    widgets = {}
    for word in rest:
        name, equals, value = word.partition("=")
        if not name.startswith("$") or not equals or len(name) == 1:
            raise BadRun(f"'%run {text}': got '{word}'; wanted $name=\"value\"")
        widgets[name[1:]] = value
    return RunOf(path, widgets)


def _blocks(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Lines between separators, each block with the number of its first line."""
    first = 1
    for index in range(1, len(lines) + 1):
        if index == len(lines) or lines[index].strip() == _SEPARATOR:
            yield first + 1, lines[first:index]
            first = index + 1


def _cells(number: int, block: list[str]) -> Iterator[Cell]:
    """The cell of a block; a title is no part of it, nor are empty lines around it."""
    while block and (not block[0].strip() or block[0].startswith(_TITLE)):
        number, block = number + 1, block[1:]
    while block and not block[-1].strip():
        block = block[:-1]
    if not block:
        return
    if not _is_magic(block[0]):
        yield Cell(Language.PYTHON, "\n".join(block), number)
        return
    text = "\n".join(_unwrapped(line) for line in block)
    if not text.startswith("%"):
        yield Cell(Language.PYTHON, text, number)
        return
    command, _, rest = text[1:].partition("\n")
    word, _, first_line = command.partition(" ")
    yield Cell(_language(word.strip()), f"{first_line}\n{rest}" if rest else first_line, number)


def _unwrapped(line: str) -> str:
    """A line without the mark of magic; one without the mark is taken as it is."""
    if not _is_magic(line):
        return line
    return line.removeprefix(_MAGIC).removeprefix(" ")


def _is_magic(line: str) -> bool:
    return line == _MAGIC or line.startswith(f"{_MAGIC} ")


def _language(word: str) -> Language | str:
    return Language(word) if word in set(Language) else word
