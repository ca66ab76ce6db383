"""`dbutils` of notebooks: widgets, which hold a run's parameters, and leaving early. All else says it is not here."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from penstock.notebook.errors import NotebookExit, NotSupportedHere


class Widgets:
    """Values by name: those of the run's parameters, else the defaults that the notebook gives."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._given = dict(values)
        self._defaults: dict[str, str] = {}

    def text(self, name: str, defaultValue: str = "", label: str | None = None) -> None:
        """Declare a value."""
        self._declare(name, defaultValue)

    def dropdown(
        self,
        name: str,
        defaultValue: str,
        choices: Sequence[str],
        label: str | None = None,
    ) -> None:
        """Declare a value that is one of these."""
        self._declare(name, defaultValue)
        self._check(name, [self.get(name)], choices)

    def combobox(
        self,
        name: str,
        defaultValue: str,
        choices: Sequence[str],
        label: str | None = None,
    ) -> None:
        """Declare a value that may be one of these, or anything else."""
        self._declare(name, defaultValue)

    def multiselect(
        self,
        name: str,
        defaultValue: str,
        choices: Sequence[str],
        label: str | None = None,
    ) -> None:
        """Declare several values, separated by commas, that are some of these."""
        self._declare(name, defaultValue)
        self._check(name, self.get(name).split(","), choices)

    def get(self, name: str) -> str:
        """A value.

        Raises:
            ValueError: nobody has given or declared it.
        """
        if name in self._given:
            return self._given[name]
        if name in self._defaults:
            return self._defaults[name]
        known = ", ".join(sorted(self.getAll())) or "none"
        raise ValueError(
            f"InputWidgetNotDefined: no widget '{name}' is defined, and no parameter of that name given. "
            f"There are: {known}."
        )

    getArgument = get

    def getAll(self) -> dict[str, str]:
        """All values by name."""
        return {**self._defaults, **self._given}

    def remove(self, name: str) -> None:
        """Forget what was declared; what the run was given stays."""
        self._defaults.pop(name, None)

    def removeAll(self) -> None:
        """Forget all that was declared."""
        self._defaults.clear()

    def give(self, values: Mapping[str, str]) -> None:
        """Values that a `%run` gives."""
        self._given |= values

    def _declare(self, name: str, default: str) -> None:
        self._defaults[str(name)] = str(default)

    @staticmethod
    def _check(name: str, values: Sequence[str], choices: Sequence[str]) -> None:
        allowed = [str(choice) for choice in choices]
        for value in values:
            if value not in allowed:
                raise ValueError(f"widget '{name}': got '{value}'; wanted one of {', '.join(allowed)}.")


class NotebookTools:
    """`dbutils.notebook`."""

    def exit(self, value: Any = "") -> NoReturn:
        """End the notebook well; the value is the run's output."""
        raise NotebookExit(str(value))

    def run(self, path: str, *_: Any, **__: Any) -> NoReturn:
        """Not to be had here."""
        raise NotSupportedHere(
            f"dbutils.notebook.run('{path}') is not to be had here; make it a task of its own, or use %run."
        )


class LibraryTools:
    """`dbutils.library`."""

    def restartPython(self) -> None:
        """Nothing: nothing was installed."""
        print("dbutils.library.restartPython() does nothing here.")


class DbUtils:
    """What notebooks find under the name `dbutils`."""

    def __init__(self, widgets: Widgets) -> None:
        self.widgets = widgets
        self.notebook = NotebookTools()
        self.library = LibraryTools()

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotSupportedHere(
            f"dbutils.{name} is not to be had here; there are dbutils.widgets and dbutils.notebook.exit."
        )
