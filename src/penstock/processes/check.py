"""The process of `penstock models check`: fetch one model, check it as a replica would, report, end."""

import sys
from dataclasses import replace

from penstock.domain.requirements import unmet
from penstock.processes.check_plan import plan_for
from penstock.processes.launch import CheckLaunch, begin, report_failure, report_ready
from penstock.processes.lone_model import FAILED, lone_model
from penstock.processes.model_environment import installed
from penstock.processes.preflight import CheckFailed, check_model
from penstock.stores.model_files import traits_in
from penstock.stores.model_requirements import read_needs


def main() -> None:
    """Check what the launch document names."""
    launch = begin(CheckLaunch)
    folder, environment = lone_model(launch, "penstock.processes.check")
    plan = plan_for(
        folder,
        launch.uri,
        traits_in(folder),
        launch.environment,
        launch.request_timeout_s,
        python_environment=environment,
    )
    try:
        check = check_model(plan, lambda hung: report_failure(launch, str(hung), hung.check)).check
    except CheckFailed as exc:
        report_failure(launch, str(exc), exc.check)
        sys.exit(FAILED)
    problems = (
        () if environment else tuple(f"Not met here: {text}" for text in unmet(read_needs(folder).lines, installed))
    )
    report_ready(launch, replace(check, problems=(*check.problems, *problems)))


if __name__ == "__main__":
    main()
