"""The view of predictions beside what was told of them, as the catalog shows it."""

from pathlib import Path
from typing import Any

from deltalake import write_deltalake

from penstock.catalog.query import run
from penstock.domain.feedback import Feedback
from penstock.inference_tables.feedback import FEEDBACK
from penstock.inference_tables.row_kinds import decode_row
from penstock.wire.feedback_row import encode_row
from support.payload_tables import logged, write_payload
from unit.catalog.source import FixedSource

PAYLOAD, TOLD = "main.default.x_payload", "main.default.x_feedback"


def write_feedback(folder: Path, *told: Feedback) -> Path:
    """A feedback table with these, told a second after each other."""
    found = [decode_row(TOLD, encode_row(item, "x", "ann", at * 1_000_000)) for at, item in enumerate(told)]
    assert {(table, kind) for table, kind, _ in found} == {(TOLD, FEEDBACK)}
    folder.mkdir()
    write_deltalake(str(folder), FEEDBACK.columns([row for _, _, row in found]), partition_by=["feedback_date"])
    return folder


def rows(source: FixedSource, sql: str) -> list[dict[str, Any]]:
    """All rows of a statement."""
    return [row for batch in run(source, sql).batches for row in batch.to_pylist()]


def test_p5_6_the_joined_view_shows_predictions_beside_truth(tmp_path: Path) -> None:
    payload = write_payload(
        tmp_path / "payload",
        logged({"inputs": [1, 2]}, [10, 20], databricks_request_id="r1"),
        logged({"inputs": [3]}, [30], databricks_request_id="r2", client_request_id="mine"),
        logged({"inputs": [4]}, [40], databricks_request_id="r3"),
    )
    feedback = write_feedback(
        tmp_path / "feedback",
        Feedback("1", "r1", None, 1, label="21"),
        Feedback("2", None, "mine", label="33", rating=0.5),
        Feedback("3", "r9", None, label="never"),
    )
    source = FixedSource({PAYLOAD: str(payload), TOLD: str(feedback)})
    sql = (
        "SELECT databricks_request_id AS id, position, prediction, feedback_label AS label FROM x_joined ORDER BY 1, 2"
    )
    assert rows(source, sql) == [
        {"id": "r1", "position": 0, "prediction": "10", "label": None},
        {"id": "r1", "position": 1, "prediction": "20", "label": "21"},
        {"id": "r2", "position": 0, "prediction": "30", "label": "33"},
        {"id": "r3", "position": 0, "prediction": "40", "label": None},
    ]
    assert rows(source, "SELECT sum(feedback_count) AS n FROM main.default.x_joined") == [{"n": 2}]


def test_p5_6_without_feedback_there_is_no_such_view(tmp_path: Path) -> None:
    source = FixedSource({PAYLOAD: str(write_payload(tmp_path / "payload", logged({"inputs": [1]}, [10])))})
    assert "main.default.x_joined" not in map(str, (table.name for table in source.tables()))
