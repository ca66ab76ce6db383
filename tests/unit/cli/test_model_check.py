"""What `penstock models check` refuses at once, and how it shows a check."""

from dataclasses import replace
from pathlib import Path

import pytest

from penstock.cli.model_check import brief, check_model, findings
from penstock.cli.session import CommandFailed
from penstock.domain.model_check import Sample
from penstock.wire.model_check import encode_check
from unit.builders import CHECK


@pytest.mark.parametrize(
    ("uri", "variables", "code", "told"),
    [
        ("models:/iris", [], 2, "models:/NAME/VERSION"),
        ("models:/iris/1/2", [], 2, "models:/NAME/VERSION"),
        ("models:/@champion", [], 2, "models:/NAME/VERSION"),
        ("no-such-folder", [], 4, "no folder 'no-such-folder'"),
        ("models:/iris/1", ["X"], 2, "wanted NAME=VALUE"),
        ("models:/iris/1", ["1X=1"], 2, "--env"),
        ("models:/iris/1", ["PENSTOCK_EXECUTOR=many"], 2, "--env.PENSTOCK_EXECUTOR"),
        ("models:/iris/1", ["PENSTOCK_ONNX_CONVERSION=maybe"], 2, "--env.PENSTOCK_ONNX_CONVERSION"),
        ("models:/iris/1", ["PENSTOCK_PREDICT_TIER=fast"], 2, "--env.PENSTOCK_PREDICT_TIER"),
        ("models:/iris/1", ["KEY={{secrets/a/b}}"], 2, "give its value"),
        ("models:/iris/1", [], 3, "No stack runs"),
        ("models:/iris@champion", [], 3, "No stack runs"),
        ("models:/m-0123456789abcdef", [], 3, "No stack runs"),
        ("runs:/0123/model", [], 3, "No stack runs"),
    ],
)
def test_what_cannot_be_checked_is_told_at_once(
    tmp_path: Path, uri: str, variables: list[str], code: int, told: str
) -> None:
    with pytest.raises(CommandFailed) as failed:
        check_model(uri, None, variables, 10, tmp_path)
    assert failed.value.exit_code == code
    assert told in str(failed.value)


def test_a_check_for_people() -> None:
    check = replace(CHECK, memory_bytes=20 << 20, peak_memory_bytes=30 << 20, problems=("no signature",))
    shown = dict(findings(check))
    assert shown["environment"] == "local: Python 3.11.9, MLflow 3.4.0"
    assert shown["load time"] == "0.25 s"
    assert (shown["memory"], shown["memory at most"]) == ("20 MiB", "30 MiB")
    assert shown["its input example"] == "answered in 2 ms"
    assert shown["problem"] == "no signature"
    assert brief(encode_check(replace(CHECK, sample=Sample.NO_EXAMPLE))) == "loaded, has no example, 0.2 s"
