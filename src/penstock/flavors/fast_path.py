"""The short way of queries through a model: bodies that are positively recognised, joined, predicted and taken apart.

    body -> InputReader.read -> Input -> the tier's predict -> split -> encode -> answer

Whatever is not recognised takes the long way, MLflow's own, with the same bytes. Where a batch fails, its queries are
asked one by one, so that only those fail which would have failed alone; of these MLflow says what is wrong.

Now and then an answer of the two shortest tiers is given again the long way, while nobody waits. If the two differ, the
model falls back to the frame tier for good.
"""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from math import isclose, isnan
from typing import Any

from penstock.domain.batching import MAX_BATCH_ROWS, Batching
from penstock.domain.predict_tier import PredictTier
from penstock.domain.prediction import JSON, NOTHING_NOTED, Answer, AnswerStream, Api, Note, Query
from penstock.flavors.compiled.ports import Input, InputReader
from penstock.flavors.encoding import encode, encode_parts
from penstock.flavors.outputs import row_count
from penstock.flavors.pyfunc import Predictor
from penstock.flavors.tiers.ways import Predict

RECHECK_EVERY = 10_000
"""One query in so many is asked again the long way."""
_PLAIN_TYPES = frozenset({JSON, f"{JSON}; charset=utf-8", f"{JSON};charset=utf-8"})

Draw = Callable[[int], int]
"""A random number from 0 up to, and without, its argument."""
OnDemotion = Callable[[str], Predict]
"""Told why; gives the predict of the frame tier."""

_log = logging.getLogger(__name__)


class FastPath:
    """A model on the tier that was chosen for it; a `BatchModel`."""

    def __init__(
        self,
        long_way: Predictor,
        reader: InputReader,
        predict: Predict,
        tier: PredictTier,
        batching: Batching,
        *,
        draw: Draw,
        demote: OnDemotion,
        tolerance: float,
    ) -> None:
        """Go the short way.

        Args:
            long_way: the same model, asked by MLflow's own code.
            reader: of its signature.
            predict: the model's raw output for the rows of all inputs.
            tier: which of them that is.
            batching: how many queries at a time, and whether joined.
            draw: decides which queries are checked again.
            demote: told that the tier is not what it was taken for.
            tolerance: by how much an answer may differ from that of the long way.
        """
        self.batch_limit = batching.limit
        self.wants_idle_time = False
        self._long_way = long_way
        self._read = reader.read
        self._predict = predict
        self._is_joined = batching.is_joined
        self._is_checked = tier.rank >= PredictTier.ARRAY.rank
        self._tolerance = tolerance
        self._draw = draw
        self._demote = demote
        self._until_check = self._draw_check()
        self._to_check: tuple[Query, Answer] | None = None

    def answer_all(self, queries: Sequence[Query]) -> list[Answer | AnswerStream]:
        """Answer each query for itself."""
        answers: list[Answer | AnswerStream | None] = [None] * len(queries)
        read: list[tuple[int, Input]] = []
        for number, query in enumerate(queries):
            given = self._input_of(query)
            if given is None:
                answers[number] = self._long_way.answer(query)
            else:
                read.append((number, given))
        for batch in _batches(read) if self._is_joined else ([one] for one in read):
            for (number, _), answer in zip(batch, self._answer_batch(queries, batch), strict=True):
                answers[number] = answer
        self._until_check -= len(read)
        if self._until_check <= 0 and self._is_checked and read:
            self._keep_for_check(queries[read[-1][0]], answers[read[-1][0]])
        return answers  # type: ignore[return-value]  # each has one by now

    def _input_of(self, query: Query) -> Input | None:
        if query.api is not Api.INVOCATIONS or query.content_type not in _PLAIN_TYPES:
            return None
        return self._read(query.body)

    def _answer_batch(
        self, queries: Sequence[Query], batch: Sequence[tuple[int, Input]]
    ) -> Sequence[Answer | AnswerStream]:
        """Answers to queries whose rows may be joined."""
        inputs = [given for _, given in batch]
        try:
            output = self._predict(inputs)
            if len(batch) == 1:
                return [_answer(inputs[0], output)]
            if row_count(output) == sum(given.rows for given in inputs):
                return _parts(inputs, output)
        except Exception as exc:  # noqa: BLE001 - whatever the model or the encoder trips over
            error: Exception | None = exc
        else:
            error = None
            _log.warning("the model gives no element for each row; its queries are not joined any more")
            self._is_joined = False
        if error is not None and len(batch) == 1:
            return [self._why(queries[batch[0][0]], inputs[0], error)]
        return [answer for one in batch for answer in self._answer_batch(queries, [one])]

    def _why(self, query: Query, given: Input, error: Exception) -> Answer | AnswerStream:
        """What MLflow says of a query that failed. The two shortest tiers do not fail with the model's own errors."""
        if self._is_checked:
            return self._long_way.answer(query)
        return self._long_way.refusal(query, error, _note(given))

    def use_idle_time(self) -> None:
        """Give one answer again, the long way."""
        self.wants_idle_time = False
        if self._to_check is None:
            return
        (query, given), self._to_check = self._to_check, None
        again = self._long_way.answer(query)
        if isinstance(again, Answer) and not is_same(given, again, self._tolerance):
            self._fall_back(
                f"asked again by MLflow's own code, a query got {_shown(again)} in place of {_shown(given)}"
            )

    def _fall_back(self, reason: str) -> None:
        self._predict = self._demote(reason)
        self._is_checked = False

    def _keep_for_check(self, query: Query, answer: Answer | AnswerStream | None) -> None:
        self._until_check = self._draw_check()
        if isinstance(answer, Answer):
            self._to_check = query, answer
            self.wants_idle_time = True

    def _draw_check(self) -> int:
        """So many queries to the next check; half of twice as many on average."""
        return 1 + self._draw(2 * RECHECK_EVERY - 1)


def is_same(one: Answer, other: Answer, tolerance: float) -> bool:
    """Whether two answers say the same; numbers may differ by the tolerance, relative beyond 1."""
    return one.status == other.status and _is_close(json.loads(one.body), json.loads(other.body), tolerance)


def _is_close(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_close(one[key], other[key], tolerance) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(lambda a, b: _is_close(a, b, tolerance), one, other))
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=tolerance, abs_tol=tolerance) or (isnan(one) and isnan(other))
    return bool(one == other)


def _batches(read: list[tuple[int, Input]]) -> Iterator[list[tuple[int, Input]]]:
    """Inputs whose rows can be joined, in batches that are not too large."""
    by_shape: dict[Any, list[tuple[int, Input]]] = {}
    for one in read:
        by_shape.setdefault(one[1].shape_key, []).append(one)
    for alike in by_shape.values():
        batch: list[tuple[int, Input]] = []
        rows = 0
        for one in alike:
            if batch and rows + one[1].rows > MAX_BATCH_ROWS:
                yield batch
                batch, rows = [], 0
            batch.append(one)
            rows += one[1].rows
        yield batch


def _parts(inputs: Sequence[Input], output: Any) -> list[Answer]:
    bodies = encode_parts(output, [given.rows for given in inputs])
    return [Answer(200, body, note=_note(given)) for given, body in zip(inputs, bodies, strict=True)]


def _answer(given: Input, output: Any) -> Answer:
    return Answer(200, encode(output), note=_note(given))


def _note(given: Input) -> Note:
    return NOTHING_NOTED if given.client_request_id is None else Note(given.client_request_id)


def _shown(answer: Answer) -> str:
    return answer.body[:200].decode(errors="replace")
