"""Ours beside other servers of MLflow models, in one run: interleaved rounds, the same load generator, medians.

    python bench/compare.py [--figures] [--models …] [--peers …] [--rows …] [--concurrency …] [--rounds N] [--seconds S]
                            [--envs DIR | --here] [--env NAME=VALUE] [--json FILE]

Each peer runs in a virtual environment of its own, made in `--envs` by the first run and kept. All servers of a model
run at the same time, are asked whether they answer rightly, and then take turns: in every round each of them gets the
same bytes for so many seconds. Processor time and memory are those of a server's whole family of processes. `--figures`
runs what the goals in `docs/performance.md` are about, and no more; `--here` makes no environments and leaves out peers
that are not installed beside Penstock.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from comparing.environments import Unavailable, environment, this_python, versions
from comparing.figures import Cell, Figure, figures
from comparing.measuring import Round, check_answer, median, memory_mib, one_round
from comparing.models import MODELS, Logged, log
from comparing.peers import PEERS, Served, served_by
from comparing.penstock import OURS, SETTINGS, empty_spool, served_by_penstock
from reporting import machine

from support.stack import Stack, start_stack, use_registry

_WARM_UP_S = 0.5
_WARM_UP_CONCURRENCY = 4
_FIGURES = {
    "lr": ("mlflow", "mosec", "mosec-batch", "mosec-best", "mosec-best-batch"),
    **dict.fromkeys(("forest", "noop", "pipeline"), ("mlflow",)),
}
"""The peers that a goal is about, by model."""
_console = Console(stderr=True, highlight=False)


def main() -> None:
    """Run the bench."""
    os.environ |= {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    chosen = choices()
    with tempfile.TemporaryDirectory(prefix="penstock-compare-") as folder:
        stack = start_stack(Path(folder) / "home", env=SETTINGS)
        try:
            use_registry(stack)
            report = Comparison(chosen, stack, Path(folder)).run()
        finally:
            stack.stop()
    show(report)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(report, indent=1) + "\n")


def choices(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--figures", action="store_true", help="only what the goals are about")
    options.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    options.add_argument("--peers", nargs="+", choices=[*OURS, *PEERS], default=[*OURS, *PEERS])
    options.add_argument("--rows", nargs="+", type=int, default=[1, 100])
    options.add_argument("--concurrency", nargs="+", type=int, default=[1, 16, 64])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=3)
    options.add_argument("--envs", type=Path, default=Path(tempfile.gettempdir()) / "penstock-compare-envs")
    options.add_argument("--here", action="store_true", help="peers run in this very environment")
    options.add_argument("--env", nargs="*", default=[], metavar="NAME=VALUE", help="environment_vars of our entities")
    options.add_argument("--json", type=Path)
    chosen = options.parse_args(arguments)
    if chosen.figures:
        chosen.models = [name for name in chosen.models if name in _FIGURES]
        chosen.rows, chosen.concurrency = [1], [1, 64]
    return chosen


class Comparison:
    """One run, and what it has found so far."""

    def __init__(self, chosen: argparse.Namespace, stack: Stack, folder: Path) -> None:
        self._chosen = chosen
        self._stack = stack
        self._folder = folder
        self._pythons: dict[str, Path] = {}
        self._versions: dict[str, dict[str, str]] = {}
        self._unavailable: list[dict[str, str]] = []
        self._rounds: dict[tuple[Cell, str], list[Round]] = {}
        self._memory_mib: dict[str, dict[str, float | None]] = {}
        self._own_predict_us = 0.0
        self._most_spooled_bytes = 0

    def run(self) -> dict[str, Any]:
        """Everything, in order; the report."""
        began_s, load_before = time.monotonic(), os.getloadavg()
        self._prepare()
        for name in self._chosen.models:
            model = log(name, self._folder)
            if name == "noop":
                self._own_predict_us = own_predict_us(model)
            self._compare(model)
        return self._report(time.monotonic() - began_s, load_before)

    def _prepare(self) -> None:
        for name in self._chosen.peers:
            if name not in PEERS:
                continue
            packages = PEERS[name].packages
            try:
                python = this_python(packages) if self._chosen.here else environment(self._chosen.envs, packages)
            except Unavailable as exc:
                self._give_up(name, "every model", exc)
            else:
                self._pythons[name] = python
                self._versions[name] = versions(python, packages)

    def _compare(self, model: Logged) -> None:
        """All servers of one model: started, checked, warmed up, measured in turns, stopped."""
        with ExitStack() as running:
            served = {}
            for name in self._peers_for(model.name):
                _console.print(f"{model.name}: starting {name}", style="dim")
                try:
                    one = running.enter_context(self._server(name, model))
                    for rows in self._chosen.rows:
                        check_answer(one, model.body(rows), model.answers(rows))
                    one_round(one, model.body(self._chosen.rows[0]), _WARM_UP_CONCURRENCY, _WARM_UP_S)
                except Unavailable as exc:
                    self._give_up(name, model.name, exc)
                else:
                    served[name] = one
            for rows in self._chosen.rows:
                for concurrency in self._chosen.concurrency:
                    self._measure(Cell(model.name, rows, concurrency), served, model.body(rows))
            self._empty_spool()
            self._memory_mib[model.name] = {name: memory_mib(one) for name, one in served.items()}

    def _peers_for(self, model: str) -> list[str]:
        wanted = {*OURS, *_FIGURES[model]} if self._chosen.figures else {*OURS, *PEERS}
        return [name for name in self._chosen.peers if name in wanted and (name in OURS or name in self._pythons)]

    def _server(self, name: str, model: Logged) -> AbstractContextManager[Served]:
        if name in OURS:
            variables = dict(one.split("=", 1) for one in self._chosen.env)
            return served_by_penstock(self._stack, name, model.name, variables)
        work = self._folder / f"{name}-{model.name}"
        return served_by(PEERS[name], self._pythons[name], model.name, model.folder, work, model.body(1))

    def _measure(self, cell: Cell, served: dict[str, Served], body: bytes) -> None:
        for number in range(self._chosen.rounds):
            names = list(served)
            first = number % max(len(names), 1)
            for name in names[first:] + names[:first]:
                self._empty_spool()
                try:
                    seen = one_round(served[name], body, cell.concurrency, self._chosen.seconds)
                except Unavailable as exc:
                    self._give_up(name, cell.model, exc)
                    del served[name]
                else:
                    self._rounds.setdefault((cell, name), []).append(seen)
            _console.print(f"{cell.model}, {cell.rows} rows, c={cell.concurrency}: round {number + 1}", style="dim")

    def _empty_spool(self) -> None:
        self._most_spooled_bytes = max(self._most_spooled_bytes, empty_spool(self._stack.home))

    def _give_up(self, peer: str, model: str, reason: Unavailable) -> None:
        _console.print(f"{peer}, {model}: {reason}", style="yellow", markup=False)
        self._unavailable.append({"peer": peer, "model": model, "reason": str(reason)})

    def _report(self, seconds: float, load_before: tuple[float, float, float]) -> dict[str, Any]:
        medians = {key: median(rounds) for key, rounds in self._rounds.items()}
        return {
            "bench": "compare",
            "rounds": self._chosen.rounds,
            "seconds_a_round": self._chosen.seconds,
            "took_s": round(seconds),
            "environment_vars": self._chosen.env,
            "peers": {**OURS, **{name: PEERS[name].what for name in self._chosen.peers if name in PEERS}},
            "versions": {"here": {name: version(name) for name in ("penstock", "mlflow", "uvloop")}, **self._versions},
            "unavailable": self._unavailable,
            "most_spooled_bytes": self._most_spooled_bytes,
            "own_predict_of_noop_us": self._own_predict_us,
            "figures": {
                ours: [{**asdict(one), "verdict": one.verdict} for one in figures(medians, ours, self._own_predict_us)]
                for ours in OURS
                if ours in self._chosen.peers
            },
            "cells": [
                {
                    **cell._asdict(),
                    "peer": peer,
                    "median": asdict(medians[cell, peer]),
                    "rounds": [asdict(one) for one in rounds],
                }
                for (cell, peer), rounds in self._rounds.items()
            ],
            "memory_mib": self._memory_mib,
            "machine": machine(load_before),
        }


def own_predict_us(model: Logged) -> float:
    """What `predict` of a custom pyfunc takes itself, called with a frame of one row."""
    python_model = mlflow.pyfunc.load_model(str(model.folder), suppress_warnings=True).unwrap_python_model()
    frame, calls = model.frame.head(1), 2000
    began_s = time.process_time()
    for _ in range(calls):
        python_model.predict(None, frame)
    return round((time.process_time() - began_s) * 1e6 / calls, 2)


def show(report: dict[str, Any]) -> None:
    """The report for people."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    table = Table("model", "rows", "c", "server", "p50 ms", "p99 ms", "requests/s", "CPU us", "memory MiB", "errors")
    for cell in sorted(report["cells"], key=lambda one: (one["model"], one["rows"], one["concurrency"])):
        seen = cell["median"]
        table.add_row(
            *(str(cell[name]) for name in ("model", "rows", "concurrency", "peer")),
            *(f"{seen[name]:,.4g}" for name in ("p50_ms", "p99_ms")),
            f"{seen['requests_per_s']:,.0f}",
            f"{seen['cpu_us']:,.1f}",
            str(report["memory_mib"][cell["model"]].get(cell["peer"], "")),
            str(seen["errors"]),
        )
    console.print(table)
    for ours, goals in report["figures"].items():
        table = Table("figure", "reached", "gate", "aim", "verdict", title=ours)
        for one in (Figure(**{name: value for name, value in goal.items() if name != "verdict"}) for goal in goals):
            if one.reached is not None:
                aim = "" if one.aim is None else f"{one.aim:g}"
                table.add_row(one.what, f"{one.reached:,.3g}", f"{one.gate:g}", aim, one.verdict)
        console.print(table)
    for one in report["unavailable"]:
        console.print(f"not compared: {one['peer']} with {one['model']}: {one['reason']}", markup=False)
    console.print(f"{report['rounds']} rounds of {report['seconds_a_round']:g} s; the run took {report['took_s']} s")


if __name__ == "__main__":
    main()
