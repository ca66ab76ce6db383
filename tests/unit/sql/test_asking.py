from collections.abc import Iterator

import pytest

from penstock.sql.asking import Answer, Asker, QueryFailed
from penstock.sql.connection import Connection
from penstock.sql.limits import Limits
from unit.sql.endpoint import Doubler, serving


@pytest.fixture
def doubler() -> Iterator[Doubler]:
    with serving(Doubler(inputs=("x",))) as running:
        yield running


class Waits:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept_s: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds


def asker(doubler: Doubler, waits: Waits | None = None, **limits: float) -> Asker:
    clock = waits or Waits()
    connection = Connection(doubler.url, "token")
    return Asker(connection, Limits(**{"concurrency": 2, **limits}), clock.sleep, lambda: clock.now_s)  # type: ignore[arg-type]


def test_p6_6_answers_come_in_the_order_of_the_rows(doubler: Doubler) -> None:
    rows = [None if n % 3 == 0 else {"x": 100 + n} for n in range(20)]
    found = asker(doubler, batch_rows=4).answers("d", rows, {})
    assert [answer.value for answer in found] == [None if row is None else 2 * row["x"] for row in rows]
    assert max(len(body["dataframe_split"]["data"]) for body in doubler.bodies) == 4


def test_p6_6_nothing_is_sent_for_rows_without_a_request(doubler: Doubler) -> None:
    assert asker(doubler).answers("nowhere", [None, None], {}) == [Answer(), Answer()]
    assert doubler.bodies == []


def test_p6_6_a_row_that_fails_is_named_with_its_endpoint(doubler: Doubler) -> None:
    with pytest.raises(QueryFailed) as caught:
        asker(doubler).answers("d", [{"x": n} for n in range(10, 20)], {})
    assert str(caught.value) == """ai_query('d'): row 4 of 10, {"x":13}: BAD_REQUEST: 13 is unlucky"""


def test_p6_6_a_row_that_fails_costs_no_other_its_answer(doubler: Doubler) -> None:
    found = asker(doubler).answers("d", [{"x": n} for n in range(10, 20)], {}, fail_on_error=False)
    assert [answer.value for answer in found] == [20, 22, 24, None, 28, 30, 32, 34, 36, 38]
    assert [answer.error for answer in found if answer.error] == ["BAD_REQUEST: 13 is unlucky"]


def test_p6_6_what_is_put_off_is_sent_again_when_the_answer_says(doubler: Doubler) -> None:
    doubler.put_off = [(429, "2"), (503, None), (503, "Wed, 21 Oct 2026 07:28:00 GMT"), (429, "0.5")]
    waits = Waits()
    assert asker(doubler, waits).answers("d", [{"x": 1}], {}) == [Answer(2)]
    assert waits.slept_s == [2.0, 1.0, 1.0, 0.5]


def test_p6_6_patience_has_an_end(doubler: Doubler) -> None:
    doubler.put_off = [(429, "4")] * 10
    waits = Waits()
    found = asker(doubler, waits, retry_timeout_s=10).answers("d", [{"x": 1}], {}, fail_on_error=False)
    assert found == [Answer(error="RESOURCE_EXHAUSTED: later")]
    assert waits.slept_s == [4.0, 4.0]


@pytest.mark.parametrize("fail_on_error", [True, False])
def test_p6_6_an_endpoint_that_is_not_there_fails_all(doubler: Doubler, fail_on_error: bool) -> None:
    with pytest.raises(QueryFailed, match=r"ai_query\('nowhere'\): RESOURCE_DOES_NOT_EXIST"):
        asker(doubler).answers("nowhere", [{"x": 1}], {}, fail_on_error=fail_on_error)


def test_p6_6_a_host_that_does_not_answer_is_named() -> None:
    lost = Asker(Connection("http://127.0.0.1:9", "token"), Limits())
    with pytest.raises(QueryFailed, match=r"ai_query\('d'\): http://127.0.0.1:9 does not answer"):
        lost.answers("d", [1], {})


def test_p6_6_the_one_input_of_a_model_has_its_name(doubler: Doubler) -> None:
    assert [a.value for a in asker(doubler).answers("d", [1, 2.5], {"temp": 1})] == [2, 5.0]
    assert doubler.bodies == [
        {"dataframe_split": {"columns": ["x"], "data": [[1], [2.5]]}, "params": {"temp": 1}},
    ]


def test_p6_6_a_model_that_talks_is_told_what_the_user_says(doubler: Doubler) -> None:
    doubler.task = "llm/v1/chat"
    assert [a.value for a in asker(doubler).answers("d", ["hi", "ho"], {})] == ["you said hi", "you said ho"]
