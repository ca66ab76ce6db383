"""Spools become tables: each row once, whatever dies; what is in trouble is in nobody's way."""

import json
import shutil
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest
from deltalake import DeltaTable

from penstock.domain.inference_log import TableStatus
from penstock.faults import POINTS
from penstock.inference_tables import drain as drain_module
from penstock.inference_tables.drain import GONE_PATIENCE_S
from penstock.spool.record import Flag, Kind
from penstock.wire.table_states import load_states
from support.spooled import RECEIVED_US, TABLE, Spooled, context_of

OTHER = "main.default.other_payload"
USAGE = "system.serving.endpoint_usage"
DAY_US = 86_400_000_000


@pytest.fixture
def spooled(tmp_path: Path) -> Spooled:
    return Spooled(tmp_path)


def kept(spooled: Spooled, what: str) -> list[Any]:
    """What was refused or is damaged, with the reason."""
    return sorted((spooled.home / "table-writer" / what).rglob("*.*"))


def test_p5_2_what_is_read_again_is_not_written_again(spooled: Spooled) -> None:
    asked = []
    for _ in range(4):
        asked.append(spooled.log())
        spooled.drain.run()
        asked.append(spooled.log())
        spooled.new_drain().run()  # knows nothing of the other, as after a crash
    assert spooled.ids() == sorted(asked)
    assert spooled.segments() == ["0000000001.spool"]
    assert spooled.drain.unread_bytes() > 0
    spooled.drain.run()
    assert (spooled.drain.unread_bytes(), spooled.ids()) == (0, sorted(asked))


def test_p5_2_a_segment_goes_when_it_is_over_and_all_of_it_is_committed(spooled: Spooled) -> None:
    spooled.log()
    spooled.drain.run()
    assert len(spooled.segments()) == 1, "more may come"
    spooled.writer.close()
    second = spooled.new_writer()
    spooled.writer = second
    spooled.log()
    spooled.drain.run()
    assert spooled.segments() == ["0000000002.spool"]
    second.close()
    spooled.drain.run()
    assert spooled.segments() == []
    assert len(spooled.ids()) == 2


def test_p5_2_a_stream_is_one_row_when_it_has_ended_across_segments(spooled: Spooled) -> None:
    spooled.writer._max_segment_bytes = 600
    stream = spooled.log(Kind.START, request=b'{"stream":true}')
    others = []
    for index in range(6):
        spooled.log(Kind.CHUNK, stream, answer=b"data: %d\n\n" % index, status=0)
        others.append(spooled.log(answer=bytes(300)))
        spooled.new_drain().run()
    first = spooled.segments()
    assert first[0] == "0000000001.spool", "the stream's beginning is still needed"
    assert spooled.ids() == sorted(others)
    spooled.log(Kind.END, stream, notes=b'{"execution_us":5000,"output_tokens":6}')
    spooled.new_drain().run()
    (row,) = [row for row in spooled.rows() if row["databricks_request_id"] == stream]
    assert row["response"] == "".join(f"data: {index}\n\n" for index in range(6))
    assert (row["request"], row["status_code"], row["execution_duration_ms"]) == ('{"stream":true}', 200, 5)
    assert row["logging_error_codes"] == []
    assert len(spooled.segments()) <= 1


def test_p5_2_a_stream_whose_process_is_gone_is_one_row_marked_incomplete(spooled: Spooled) -> None:
    stream = spooled.log(Kind.START, request=b"q")
    spooled.log(Kind.CHUNK, stream, answer=b"half", status=0)
    whole = spooled.log()
    spooled.drain.run()
    assert spooled.ids() == [whole]
    spooled.writer.close()
    spooled.writer = spooled.new_writer()
    later = spooled.log()
    for _ in range(2):
        spooled.new_drain().run()
    assert spooled.ids() == sorted([stream, whole, later])
    (row,) = [row for row in spooled.rows() if row["databricks_request_id"] == stream]
    assert (row["request"], row["response"], row["logging_error_codes"]) == ("q", "half", ["RESPONSE_INCOMPLETE"])
    assert spooled.segments() == ["0000000002.spool"]


def test_p5_2_what_streams_take_of_memory_is_bounded(tmp_path: Path) -> None:
    spooled = Spooled(tmp_path, max_answer_bytes=100)
    long = spooled.log(Kind.START, request=b"q")
    for _ in range(30):
        spooled.log(Kind.CHUNK, long, answer=b"0123456789", status=0)
    spooled.log(Kind.END, long)
    spooled.drain.run()
    (row,) = spooled.rows()
    assert (row["request"], row["response"]) == ("q", None)
    assert row["logging_error_codes"] == ["MAX_RESPONSE_SIZE_EXCEEDED"]


def test_p5_3_a_request_outside_the_sample_is_told_as_usage_only(spooled: Spooled) -> None:
    context = context_of(tracks_usage=True, sampling_fraction=0.5)
    told = spooled.log(
        context=context, request=b"q", answer=b"r", notes=b'{"usage_context":{"a":"b"},"input_tokens":3}'
    )
    untold = spooled.log(context=context, flags=int(Flag.NOT_SAMPLED))
    spooled.drain.run()
    (row,) = spooled.rows()
    assert (row["databricks_request_id"], row["sampling_fraction"]) == (told, 0.5)
    used = {row["databricks_request_id"]: row for row in spooled.rows(USAGE)}
    assert set(used) == {told, untold}
    assert (used[told]["input_token_count"], used[told]["usage_context"]) == (3, [("a", "b")])
    assert (used[told]["input_character_count"], used[untold]["input_character_count"]) == (1, None)


def test_p5_2_a_row_that_does_not_fit_is_refused_and_the_others_go_on(spooled: Spooled) -> None:
    rows = [{"served_entity_id": "a"}, {"served_entity_id": 7}, {"served_entity_id": "b"}]
    table = "system.serving.served_entities"
    for row in rows:
        spooled.writer.add_row(lambda: None, table, msgspec.json.encode(row))
    for bad_table, row in ((table, b"{"), (table, b"[1]"), ("nobody.knows.this", b"{}"), ("a.b.c.d", b"{}")):
        spooled.writer.add_row(lambda: None, bad_table, row)
    spooled.writer.flush()
    asked = spooled.log()
    for _ in range(2):
        spooled.new_drain().run()
    assert [row["served_entity_id"] for row in spooled.rows(table)] == ["a", "b"]
    assert spooled.ids() == [asked]
    told = [json.loads(line) for path in kept(spooled, "refused") for line in path.read_text().splitlines()]
    assert len(told) == 5
    assert any("served_entity_id" in one["reason"] for one in told)
    assert load_states(spooled.home / "table-writer" / "tables.json")[table].refused_rows >= 1


@pytest.mark.parametrize("at", [3, 100, 300], ids=["the head", "a record", "the last record"])
def test_p5_2_what_is_damaged_is_kept_and_the_rest_goes_on(spooled: Spooled, at: int) -> None:
    before = [spooled.log() for _ in range(4)]
    spooled.writer.close()
    (path,) = (spooled.home / "spool").glob("*/*.spool")
    data = bytearray(path.read_bytes())
    data[-at if at == 300 else at] ^= 0xFF
    path.write_bytes(data)
    spooled.writer = spooled.new_writer()
    later = spooled.log()
    for _ in range(2):
        spooled.new_drain().run()
    assert later in spooled.ids()
    assert set(spooled.ids()) <= {*before, later}
    (damaged,) = kept(spooled, "damaged")
    assert data.endswith(damaged.read_bytes())
    assert spooled.segments() == ["0000000002.spool"]


def test_p5_2_a_record_that_a_crash_has_torn_is_passed_over(spooled: Spooled) -> None:
    first, second = spooled.log(), spooled.log()
    spooled.writer.close()
    (path,) = (spooled.home / "spool").glob("*/*.spool")
    path.write_bytes(path.read_bytes()[:-10])
    spooled.drain.run()
    assert (spooled.ids(), second in spooled.ids()) == ([first], False)
    assert (spooled.segments(), kept(spooled, "damaged")) == ([], [])


def drop(spooled: Spooled) -> None:
    shutil.move(spooled.path(), spooled.home / "aside")


def bring_back(spooled: Spooled) -> None:
    shutil.move(spooled.home / "aside", spooled.path())


def alter(spooled: Spooled) -> None:
    """Somebody drops a column, which is to say: makes the table anew without it."""
    drop(spooled)
    schema = DeltaTable(str(spooled.home / "aside")).schema()
    fields = [field for field in schema.fields if field.name != "requester"]
    DeltaTable.create(str(spooled.path()), type(schema)(fields))


def put_right(spooled: Spooled) -> None:
    shutil.rmtree(spooled.path())
    bring_back(spooled)


def break_log(spooled: Spooled) -> None:
    log = spooled.path() / "_delta_log"
    log.rename(spooled.path() / "away")
    log.write_text("not a folder")


def mend_log(spooled: Spooled) -> None:
    log = spooled.path() / "_delta_log"
    log.unlink()
    (spooled.path() / "away").rename(log)


@pytest.mark.parametrize(
    ("harm", "mend", "told"),
    [(drop, bring_back, "deleted or renamed"), (alter, put_right, "requester"), (break_log, mend_log, "renamed")],
)
def test_p5_2_a_table_in_trouble_is_in_nobodys_way_and_recovers_by_itself(
    spooled: Spooled, harm: Any, mend: Any, told: str
) -> None:
    asked = [spooled.log()]
    spooled.drain.run()
    harm(spooled)
    others = []
    for _ in range(3):
        asked.append(spooled.log())
        others.append(spooled.log(context=context_of(OTHER)))
        spooled.drain.run()
        spooled.drain = spooled.new_drain()  # it may be killed meanwhile
        spooled.now_s += 5
    assert spooled.ids(OTHER) == sorted(others)
    state = load_states(spooled.home / "table-writer" / "tables.json")[TABLE]
    assert state.status is TableStatus.DEGRADED
    assert told in state.message
    assert spooled.drain.unread_bytes() > 0 or spooled.drain.parked_tables == [TABLE]
    mend(spooled)
    spooled.now_s += 100
    asked.append(spooled.log())
    spooled.drain.run()
    spooled.new_drain().run()
    assert spooled.ids() == sorted(asked)
    assert spooled.drain.parked_tables == []
    assert load_states(spooled.home / "table-writer" / "tables.json")[TABLE].status is TableStatus.READY


def test_p5_2_a_table_that_does_not_come_back_is_made_anew(spooled: Spooled) -> None:
    spooled.log()
    spooled.drain.run()
    shutil.rmtree(spooled.path())
    asked = [spooled.log()]
    spooled.drain.run()
    assert not spooled.path().exists()
    spooled.now_s += GONE_PATIENCE_S + 1
    asked.append(spooled.log())
    spooled.drain.run()
    assert set(asked) <= set(spooled.ids())
    assert spooled.drain.parked_tables == []


def test_p5_2_columns_that_somebody_adds_are_null(spooled: Spooled) -> None:
    spooled.log()
    spooled.drain.run()
    schema = DeltaTable(str(spooled.path())).schema()
    field = type(schema.fields[0])("label", "string")
    DeltaTable(str(spooled.path())).alter.add_columns([field])
    spooled.log()
    spooled.drain.run()
    assert [row["label"] for row in spooled.rows()] == [None, None]


def test_p5_2_a_disk_that_takes_nothing_keeps_everything_in_the_spool(
    spooled: Spooled, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [spooled.log() for _ in range(3)]
    for folder in ("warehouse", "table-writer"):
        (spooled.home / folder).write_text("not a folder")
    for _ in range(2):
        with pytest.raises(OSError, match="table-writer"):
            spooled.drain.run()
    for folder in ("warehouse", "table-writer"):
        (spooled.home / folder).unlink()
    spooled.now_s += 100
    spooled.drain.run()
    assert spooled.ids() == sorted(asked)


def test_p5_2_others_may_compact_and_append_at_the_same_time(spooled: Spooled) -> None:
    asked = [spooled.log()]
    spooled.drain.run()
    is_over = threading.Event()

    def disturb() -> None:
        while not is_over.is_set():
            table = DeltaTable(str(spooled.path()))
            table.optimize.compact()

    other = threading.Thread(target=disturb)
    other.start()
    try:
        for _ in range(40):
            asked.append(spooled.log())
            spooled.drain.run()
    finally:
        is_over.set()
        other.join()
    spooled.now_s += 100
    spooled.drain.run()
    assert spooled.ids() == sorted(asked)


def test_p5_2_small_files_are_made_large_ones(spooled: Spooled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "COMPACT_EVERY", 10)
    asked = []
    for _ in range(24):
        asked.append(spooled.log())
        spooled.drain.run()
        spooled.drain.tidy()
    assert len(DeltaTable(str(spooled.path())).file_uris()) <= 11
    assert spooled.ids() == sorted(asked)


def test_p5_2_rows_that_are_too_old_go(spooled: Spooled) -> None:
    spooled.drain = spooled.new_drain(keeps_days=30)
    spooled.now_s = RECEIVED_US / 1e6
    old = spooled.log(received_us=RECEIVED_US - 31 * DAY_US)
    new = spooled.log(received_us=RECEIVED_US - 29 * DAY_US)
    spooled.drain.run()
    assert spooled.ids() == sorted([old, new])
    spooled.drain.tidy()
    assert spooled.ids() == [new]
    later = spooled.log()
    spooled.drain.run()
    assert spooled.ids() == sorted([new, later])


SCRIPT = """
import sys
from pathlib import Path
from penstock.faults import arm
from support.spooled import Spooled
home, fault = Path(sys.argv[1]), sys.argv[2]
(home / "fired").mkdir(exist_ok=True)
arm(fault, home / "fired")
drain = Spooled(home).drain
for _ in range(2):
    drain.run()
"""


def run_and_die(home: Path, fault: str) -> bool:
    """A table writer that is killed at a point, if it comes there; whether it did."""
    code = subprocess.run([sys.executable, "-c", SCRIPT, str(home), fault], env=_environment()).returncode
    assert code in {0, -9}
    return code == -9


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": ":".join(sys.path)}


@pytest.mark.parametrize("point", [name for name, point in POINTS.items() if point.process == "table-writer"])
def test_p5_2_killed_at_any_point_each_row_is_there_once(tmp_path: Path, point: str) -> None:
    spooled = Spooled(tmp_path)
    spooled.log(context=context_of(OTHER))
    spooled.drain.run()
    shutil.move(spooled.path(OTHER), tmp_path / "aside")  # so that rows are parked
    expected: dict[str, list[str]] = {TABLE: [], OTHER: [], USAGE: []}
    fired = 0
    for nth in range(1, 8):
        for _ in range(3):
            expected[TABLE].append(spooled.log())
            both = spooled.log(context=context_of(OTHER, tracks_usage=True))
            expected[OTHER].append(both)
            expected[USAGE].append(both)
        expected[TABLE].append(spooled.log(Kind.START, str(uuid.uuid4())))
        spooled.writer.close()
        spooled.writer = spooled.new_writer()
        shutil.rmtree(tmp_path / "fired", ignore_errors=True)
        has_fired = run_and_die(tmp_path, f"{point}:{nth}")
        fired += has_fired
        if not has_fired:
            break
    assert fired
    shutil.move(tmp_path / "aside", spooled.path(OTHER))
    spooled.writer.close()
    last = spooled.new_drain()
    last.run()
    assert last.parked_tables == []
    assert spooled.segments() == []
    found = {table: spooled.ids(table) for table in expected}
    found[OTHER] = [request_id for request_id in found[OTHER] if request_id in expected[OTHER]]
    assert found == {table: sorted(ids) for table, ids in expected.items()}
