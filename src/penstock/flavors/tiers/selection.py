"""The choice of a model's predict tier.

Ways are tried from the quickest down. `kernel` and `array` are taken only if they agree with MLflow's own
`model.predict` on every bit of every probe (but for a conversion to ONNX, on request); `frame` is MLflow's own code
without a step that is done already. No code of a model's author is asked: it is served by `frame`, unprobed.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from mlflow.pyfunc import PyFuncModel
from mlflow.types import Schema

from penstock.domain.predict_tier import PredictTier, TierFinding
from penstock.flavors.compiled.checking import first_difference
from penstock.flavors.compiled.ports import InputReader
from penstock.flavors.tiers.frame import refusal
from penstock.flavors.tiers.loaded import estimator_of, has_versions, versions
from penstock.flavors.tiers.probes import Probes, make_probes
from penstock.flavors.tiers.trial import Trial, togetherness
from penstock.flavors.tiers.ways import Predict, Way, array_way, converted_way, frame_way, kernel_way, slow_way

_MAX_ROWS, _MAX_VALUES = 500, 50_000
"""Random probes: rows, and values in all of them, for models with thousands of columns."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """How a model is asked."""

    finding: TierFinding
    predict: Predict | None
    """The model's raw output for the rows of all inputs; None in the tier `mlflow`. Where it raises, MLflow would too:
    the bytes go there for the answer."""
    slow: Predict | None
    """The same by MLflow's own `predict`, for checks."""

    @property
    def tier(self) -> PredictTier:
        """The tier."""
        return self.finding.tier

    @property
    def reason(self) -> str:
        """One sentence: what speaks for it, and why it is not the next one."""
        return self.finding.reason


def select(
    model: PyFuncModel,
    reader: InputReader | None,
    examples: Sequence[bytes] = (),
    wanted: PredictTier | None = None,
    earlier: TierFinding | None = None,
    *,
    may_convert: bool = False,
) -> Chosen:
    """Choose the tier of a loaded model; never raises.

    Args:
        model: as MLflow loaded it.
        reader: compiled from its signature; None if it has none, or one that is not compiled.
        examples: bodies that it is known to take.
        wanted: the highest tier to use.
        earlier: what another replica of the same deployment found out. Its tier is not exceeded. If it had the
            same libraries there is no trial, else a short one, and what it says of requests that are predicted
            together is taken as it is.
        may_convert: whether a model without a kernel may be converted to ONNX, if its numbers stay close.
    """
    schema = model.metadata.get_input_schema()
    if schema is None or reader is None:
        what = "It was logged without a signature" if schema is None else "Its signature is of a kind not compiled"
        return _by_mlflow(f"{what}, so MLflow reads its input")
    if wanted is PredictTier.MLFLOW:
        return _by_mlflow("Its served entity asks for this tier")
    try:
        refused = refusal(model)
        if refused is not None:
            return _by_mlflow(f"MLflow predicts, because {refused}")
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return _selected(model, reader, schema, examples, _Terms(wanted, earlier, may_convert))
    except Exception as exc:  # noqa: BLE001 - in another environment MLflow or the model's library may differ
        return _by_mlflow(f"MLflow predicts, because the search for a quicker way met {type(exc).__name__}: {exc}")


def _by_mlflow(reason: str) -> Chosen:
    return Chosen(TierFinding(PredictTier.MLFLOW, f"{reason}."), None, None)


def _selected(
    model: PyFuncModel, reader: InputReader, schema: Schema, examples: Sequence[bytes], terms: "_Terms"
) -> Chosen:
    known = terms.known
    difference = None if known else first_difference(model.metadata, reader)
    if difference is not None:
        return _by_mlflow(f"MLflow reads its input, because the version here does so in another way: {difference}")
    estimator = estimator_of(model)
    slow, frame = slow_way(model, reader, estimator), frame_way(model, reader, estimator)
    if estimator is None or not estimator.is_probed:
        reason = "It is code of its author's or of a flavor without quicker ways, which gets its whole frame."
        return Chosen(TierFinding(PredictTier.FRAME, reason, versions=versions()), frame.predict, slow)
    finders: list[tuple[PredictTier, str, Callable[[], Way | str]]] = [
        (PredictTier.KERNEL, "kernel", lambda: kernel_way(reader, schema, estimator, slow)),
        (PredictTier.ARRAY, "array", lambda: array_way(reader, schema, estimator, slow)),
    ]
    if known is not None:
        again = next((find() for tier, _, find in finders if tier is known.tier), frame)
        if isinstance(again, Way):
            return Chosen(known, _predict_of(again, known), slow)
    count = max(8, min(_MAX_ROWS, _MAX_VALUES // max(1, len(schema.inputs))))
    probes = make_probes(reader, schema, examples, count)
    if model.metadata.get_params_schema() is not None:
        reasons = ["Its signature has params, which are its flavor's affair"]
        return _found(PredictTier.FRAME, frame, slow, reasons, probes, terms)
    if terms.may_convert:
        like = slow((probes.input_of(probes.plain[:1]),))
        finders.insert(
            1, (PredictTier.KERNEL, "conversion", lambda: converted_way(reader, schema, estimator, slow, like))
        )
    objections = terms.bound
    for tier, name, find in finders:
        if tier.rank > terms.highest.rank:
            continue
        way = find()
        if isinstance(way, str):
            objections.append(f"no {name}: {way}")
            continue
        trial = Trial(probes.at(way.landmarks), slow, is_brief=terms.earlier is not None)
        objection = trial.objection(way.predict, way.tolerance)
        if not objection:
            how = f"within {way.tolerance:g} of" if way.tolerance else "bit-identical to"
            proof = f"{way.name} is {how} MLflow's predict on {trial.rows} probe rows"
            return _found(tier, way, slow, [proof, *objections], probes, terms)
        objections.append(f"no {name}: {objection}")
    return _found(PredictTier.FRAME, frame, slow, ["The flavor gets its frame", *objections], probes, terms)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What is asked for, and what is known already."""

    wanted: PredictTier | None
    earlier: TierFinding | None
    may_convert: bool

    @property
    def highest(self) -> PredictTier:
        """The highest tier to try."""
        limits = [tier for tier in (self.wanted, self.earlier.tier if self.earlier else None) if tier is not None]
        return min(limits, key=lambda tier: tier.rank, default=PredictTier.KERNEL)

    @property
    def known(self) -> TierFinding | None:
        """What needs no trial: the same model was tried with the same libraries."""
        earlier = self.earlier
        if earlier is None or earlier.tier is not self.highest or earlier.tolerance:
            return None
        return earlier if has_versions(earlier.versions) else None

    @property
    def bound(self) -> list[str]:
        """What to say of tiers that are not tried."""
        is_bound = self.wanted is not None and self.wanted is not PredictTier.KERNEL
        return [f"no more than {self.wanted} was asked for"] if is_bound else []


def _found(tier: PredictTier, way: Way, slow: Predict, reasons: Sequence[str], probes: Probes, terms: _Terms) -> Chosen:
    is_in_one_call = way.in_one_call is not None and togetherness(way.in_one_call, probes) == (True, 0.0)
    finding = TierFinding(
        tier, "; ".join(reasons) + ".", tolerance=way.tolerance, versions=versions(), is_in_one_call=is_in_one_call
    )
    predict, earlier = _predict_of(way, finding), terms.earlier
    if earlier is not None and earlier.tier is tier:
        is_independent, apart = earlier.is_row_independent, earlier.max_deviation
    else:
        is_independent, apart = togetherness(predict, probes)
    return Chosen(replace(finding, is_row_independent=is_independent, max_deviation=apart), predict, slow)


def _predict_of(way: Way, finding: TierFinding) -> Predict:
    return way.in_one_call if finding.is_in_one_call and way.in_one_call is not None else way.predict
