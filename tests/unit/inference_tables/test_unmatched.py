"""Feedback to requests that never were is found, and none of any other."""

from pathlib import Path

from deltalake import write_deltalake

from penstock.domain.feedback import Feedback
from penstock.inference_tables.feedback import FEEDBACK
from penstock.inference_tables.row_kinds import decode_row
from penstock.inference_tables.unmatched import Unmatched, unmatched
from penstock.wire.feedback_row import encode_row
from support.payload_tables import logged, write_payload

TOLD = "main.default.x_feedback"


def tell(folder: Path, at_s: int, *told: Feedback) -> Path:
    """Feedback that came at that time."""
    rows = [decode_row(TOLD, encode_row(item, "x", "ann", at_s * 1_000_000))[2] for item in told]
    write_deltalake(str(folder), FEEDBACK.columns(rows), mode="append", partition_by=["feedback_date"])
    return folder


def test_p5_6_what_belongs_to_nothing_is_found_in_the_time_that_is_asked_for(tmp_path: Path) -> None:
    payload = write_payload(tmp_path / "payload", logged({}, [], databricks_request_id="r1", client_request_id="mine"))
    tell(tmp_path / "told", 10, Feedback("1", "r1", None), Feedback("2", "r9", None), Feedback("3", None, "mine"))
    feedback = tell(tmp_path / "told", 20, Feedback("4", None, "yours"), Feedback("5", None, "yours"))
    assert unmatched(feedback, payload, 0, 10_000_000) == Unmatched(1, ("r9",))
    assert unmatched(feedback, payload, 10_000_000, 20_000_000) == Unmatched(2, ("yours",))
    assert unmatched(feedback, payload, 0, 30_000_000) == Unmatched(3, ("r9", "yours"))
    assert unmatched(feedback, payload, 20_000_000, 30_000_000) == Unmatched(0, ())


def test_p5_6_without_a_payload_table_everything_belongs_to_nothing(tmp_path: Path) -> None:
    feedback = tell(tmp_path / "told", 10, *(Feedback(f"{n}", f"r{n}", None) for n in range(9)))
    assert unmatched(feedback, tmp_path / "payload", 0, 10_000_000) == Unmatched(9, ("r0", "r1", "r2", "r3", "r4"))
