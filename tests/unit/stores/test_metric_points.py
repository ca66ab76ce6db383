"""Points at rest: added up, bounded, gone with their endpoint, and begun anew where nothing can be read."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from penstock.domain.errors import TemporarilyUnavailable
from penstock.domain.load import BOUNDS_MS, Times
from penstock.domain.metric_history import DAY_S, Point
from penstock.stores.metric_points import MetricPoints

NOW_S = 1_800_000_000
OWNER = ("e1", "m-1")
END_S = NOW_S + DAY_S


def asked(at_s: int, requests: int) -> Point:
    return Point(at_s, latency=Times((requests, *[0] * len(BOUNDS_MS)), 2.0 * requests), replica_s=60, watched_s=60)


def requests(store: MetricPoints, resolution_s: int, owner: tuple[str, str] = OWNER, begin_s: int = 0) -> list[int]:
    return [point.load.requests for point in store.points(owner[0], resolution_s, begin_s, END_S).get(owner[1], [])]


def test_p5_5_points_are_kept_at_every_resolution_and_survive(tmp_path: Path) -> None:
    store = MetricPoints.open(tmp_path / "metrics.db")
    for minute in range(20):
        store.add([(OWNER, asked(NOW_S + 60 * minute, minute)), (("e2", "m-1"), asked(NOW_S, 5))])
    store.close()
    again = MetricPoints.open(tmp_path / "metrics.db")
    assert requests(again, 60) == list(range(20))
    assert requests(again, 600) == [45, 145]
    assert requests(again, 60, ("e2", "m-1")) == [100]
    assert requests(again, 60, begin_s=NOW_S + 60 * 18) == [18, 19]


def test_p5_5_a_minute_that_was_written_in_two_parts_is_one(tmp_path: Path) -> None:
    store = MetricPoints.open(tmp_path / "metrics.db")
    store.add([(OWNER, asked(NOW_S, 3))])
    store.add([(OWNER, asked(NOW_S, 4))])
    assert (requests(store, 60), requests(store, 600)) == ([7], [7])


def test_p5_5_the_file_is_bounded_by_age_and_by_what_endpoints_there_are(tmp_path: Path) -> None:
    store = MetricPoints.open(tmp_path / "metrics.db")
    for age_s in (0, DAY_S - 60, DAY_S + 120, 14 * DAY_S - 600, 14 * DAY_S + 1200):
        store.add([(OWNER, asked(NOW_S - age_s, 1)), (("gone", "m-1"), asked(NOW_S - age_s, 1))])
    store.drop({"e1"}, NOW_S)
    assert len(requests(store, 60)) == 2
    assert len(requests(store, 600)) == 4
    assert requests(store, 600, ("gone", "m-1")) == []


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + b"\0" * 4000])
def test_p5_5_a_file_that_cannot_be_read_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "metrics.db"
    file.write_bytes(content)
    store = MetricPoints.open(file)
    store.add([(OWNER, asked(NOW_S, 1))])
    assert requests(store, 60) == [1]


def test_p5_5_a_file_of_another_version_is_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "metrics.db"
    store = MetricPoints.open(file)
    store.add([(OWNER, asked(NOW_S, 1))])
    store.close()
    engine = sa.create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA user_version=99")
    engine.dispose()
    assert requests(MetricPoints.open(file), 60) == []


def test_p5_5_a_file_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    store = MetricPoints.open(tmp_path / "metrics.db")
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'metrics.db'}")
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE points")
    engine.dispose()
    with pytest.raises(TemporarilyUnavailable):
        store.add([(OWNER, asked(NOW_S, 1))])
