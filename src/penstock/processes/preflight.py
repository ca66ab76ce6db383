"""The check of a model before it is served: load it, ask it its own input example, say what that took.

It is one function for replicas and for `penstock models check`, so that what the command says is what a deployment
would find.
"""

import faulthandler
import os
import platform
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import mlflow

from penstock.domain.environment import EnvManager
from penstock.domain.model_check import ModelCheck, Preflight, Sample, is_example_asked
from penstock.domain.prediction import Query
from penstock.flavors.example import Example, read_example
from penstock.flavors.failed_file import failed_file
from penstock.flavors.fast_path import FastPath
from penstock.flavors.judgement import Judgement, judge
from penstock.flavors.pyfunc import Predictor, load, one_line, root_cause
from penstock.processes.check_plan import Plan
from penstock.processes.tiering import Report, choose_tier
from penstock.runtime.own_memory import own_memory
from penstock.worker.server import MAX_ANSWER_BYTES

_MAX_REASON = 1000
_NO_SIGNATURE = "It was logged without a signature, so its inputs are not checked and not described."


class CheckFailed(Exception):
    """The model is not fit to be served; `check` is what is known of it all the same."""

    def __init__(self, message: str, check: ModelCheck) -> None:
        super().__init__(message)
        self.check = check


class Checked(NamedTuple):
    """A model that is fit to be served."""

    predictor: Predictor
    check: ModelCheck
    fast_path: FastPath | None
    """Its short way, if it has one."""


def check_model(plan: Plan, on_hang: Callable[[CheckFailed], None], on_change: Report = lambda _: None) -> Checked:
    """Load a model, ask it its example, if it is to be asked, and find the shortest way to it.

    Args:
        plan: what to find out.
        on_hang: called in a thread of its own if the example takes too long; this process ends after it.
        on_change: told if what was found turns out wrong while the model serves.

    Raises:
        CheckFailed: it cannot be loaded, or does not answer its own example; its traceback is printed.
    """
    started_s = time.perf_counter()
    check = ModelCheck(
        python_version=platform.python_version(),
        mlflow_version=mlflow.__version__,
        executor=plan.executor,
        load_s=0.0,
        sample=Sample.NOT_REACHED,
        env_manager=EnvManager.UV if plan.python_environment else EnvManager.LOCAL,
        is_forked=plan.is_forked,
    )
    try:
        predictor = load(plan.folder, plan.traits)
    except (Exception, SystemExit) as exc:
        traceback.print_exc()
        check = replace(check, load_s=_seconds_since(started_s))
        raise CheckFailed(f"Loading {plan.name} failed: {_reason(exc, plan.folder)}.", check) from exc
    problems = () if predictor.has_signature else (_NO_SIGNATURE,)
    check = replace(check, load_s=_seconds_since(started_s), problems=problems)
    example = read_example(predictor.metadata, plan.folder)
    check = _sampled(plan, predictor, check, example, on_hang)
    examples = [example.body] if example.body is not None and check.sample is Sample.ANSWERED else []
    fast_path, check = choose_tier(plan, predictor, check, examples, on_change)
    return Checked(predictor, _measured(check, plan.earlier), fast_path)


def _sampled(
    plan: Plan, predictor: Predictor, check: ModelCheck, example: Example, on_hang: Callable[[CheckFailed], None]
) -> ModelCheck:
    """The check with what came of the example."""
    if not is_example_asked(plan.preflight, is_talking=plan.traits.is_talking, earlier=plan.earlier):
        if plan.earlier is None or plan.preflight is Preflight.LOAD:
            return replace(check, sample=Sample.SKIPPED)
        earlier = plan.earlier
        return replace(check, sample=earlier.sample, sample_ms=earlier.sample_ms, problems=earlier.problems)
    if example.body is None:
        return replace(check, sample=Sample.NO_EXAMPLE, problems=(*check.problems, example.problem))
    hung = _failed(plan, check, f"its own input example was not answered within {plan.timeout_s:g} s")
    started_s = time.perf_counter()
    try:
        with _ending_after(plan.timeout_s, lambda: on_hang(hung)):
            judgement = judge(predictor.answer(Query(example.body)), MAX_ANSWER_BYTES)
    except SystemExit as exc:
        traceback.print_exc()
        judgement = Judgement(f"it called exit({exc.code})")
    check = replace(check, sample=Sample.ANSWERED, sample_ms=round((time.perf_counter() - started_s) * 1000, 3))
    if judgement.failure:
        sys.stderr.write(judgement.trace)
        raise _failed(plan, check, f"its own input example got: {judgement.failure[:_MAX_REASON].rstrip('.')}")
    return replace(check, problems=(*check.problems, judgement.problem)) if judgement.problem else check


def _failed(plan: Plan, check: ModelCheck, reason: str) -> CheckFailed:
    return CheckFailed(
        f"Checking {plan.name} failed: it was loaded, but {reason}. "
        "To serve it without being asked, set PENSTOCK_PREFLIGHT=load in its environment_vars.",
        replace(check, sample=Sample.FAILED),
    )


def _measured(check: ModelCheck, earlier: ModelCheck | None) -> ModelCheck:
    """The check with memory; measured once a deployment, because measuring takes longer than a small model's load."""
    if earlier is not None and earlier.memory_bytes is not None and earlier.is_forked == check.is_forked:
        return replace(check, memory_bytes=earlier.memory_bytes, peak_memory_bytes=earlier.peak_memory_bytes)
    memory = own_memory()
    if memory is None:
        return check
    return replace(check, memory_bytes=memory.bytes, peak_memory_bytes=memory.peak_bytes)


@contextmanager
def _ending_after(timeout_s: float, on_timeout: Callable[[], None]) -> Iterator[None]:
    """End this process if the block takes longer; where it hangs is printed."""

    def end() -> None:
        faulthandler.dump_traceback(sys.stderr)
        on_timeout()
        os._exit(1)

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _reason(error: BaseException, folder: Path) -> str:
    """Why a model could not be loaded, with the file that was being read if the error does not name it itself."""
    cause = root_cause(error)
    reason = one_line(cause)
    file = failed_file(cause, folder) or failed_file(error, folder)
    return reason if file is None or file.rpartition("/")[2] in reason else f"{reason} (in {file})"


def _seconds_since(started_s: float) -> float:
    return round(time.perf_counter() - started_s, 4)
