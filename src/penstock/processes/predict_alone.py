"""The process in which `penstock bench` times `predict` of a model without a server around it."""

import sys
from pathlib import Path

import msgspec
from mlflow.pyfunc import PyFuncModel

from penstock.client.load.latencies import Latencies
from penstock.flavors.alone import load_alone, signature_of, time_predict
from penstock.flavors.example import read_example
from penstock.flavors.pyfunc import one_line, root_cause
from penstock.processes.launch import PredictLaunch, begin, report_failure, report_ready
from penstock.processes.lone_model import FAILED, lone_model
from penstock.processes.predict_report import REPORT, PredictReport
from penstock.wire.sample_body import sample_body


def main() -> None:
    """Do what the launch document says."""
    launch = begin(PredictLaunch)
    folder, _ = lone_model(launch, "penstock.processes.predict_alone")
    try:
        model = load_alone(folder)
        body, source = _body(launch, folder, model)
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - whatever the model's code trips over
        report_failure(launch, f"{launch.uri}: {_reason(exc)}")
        sys.exit(FAILED)
    latencies = Latencies()
    failure = ""
    try:
        time_predict(model, body, launch.seconds, latencies.add)
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - as above
        failure = _reason(exc)
    (Path(launch.home) / REPORT).write_bytes(msgspec.json.encode(PredictReport(body, source, latencies, failure)))
    report_ready(launch)


def _body(launch: PredictLaunch, folder: Path, model: PyFuncModel) -> tuple[bytes, str]:
    if launch.body is not None:
        return launch.body, "as given"
    example = read_example(model.metadata, folder)
    if example.body is not None:
        return example.body, "the model's input example"
    return sample_body(signature_of(model)), "made of the model's signature"


def _reason(error: BaseException) -> str:
    return f"it called exit({error.code})" if isinstance(error, SystemExit) else one_line(root_cause(error))


if __name__ == "__main__":
    main()
