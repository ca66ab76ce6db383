"""What `penstock bench` says of a load: one document for programs, lines and a histogram for people."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from penstock.client.load.latencies import Bar, Latencies
from penstock.client.load.tally import Tally
from penstock.processes.predict_report import PredictReport

_BARS = 16
_BAR_WIDTH = 48
_EIGHTHS = " ▏▎▍▌▋▊▉"
_WAS_THE_LIMIT = 0.9
"""Above this share of one core the load generator may have sent less than the server could have answered."""
_WAS_FULL = 0.95
_NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that is known of a load."""

    url: str
    model: str | None
    concurrency: int
    processes: int
    body_bytes: int
    body_source: str
    tally: Tally
    cpu_s: dict[str, float] | None
    """What the server's processes spent meanwhile, by role; None if it is not on this machine."""
    machine_busy: float
    """Share of this machine's processors that was busy."""
    predict: PredictReport | None
    predict_note: str
    """Why there is no comparison."""

    @property
    def was_generator_the_limit(self) -> bool:
        """Whether another generator might have got more out of the server."""
        return self.tally.busiest >= _WAS_THE_LIMIT


def document(measured: Measured) -> dict[str, Any]:
    """For `--json`."""
    tally = measured.tally
    return {
        "url": measured.url,
        "model": measured.model,
        "concurrency": measured.concurrency,
        "body_bytes": measured.body_bytes,
        "seconds": round(tally.elapsed_ns / 1e9, 3),
        "requests": tally.requests,
        "requests_per_s": round(tally.good_per_s, 1),
        "latency_ms": _latency_ms(tally.latencies),
        "failed": tally.bad,
        "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
        "failures": tally.failures,
        "connections": tally.connections,
        "cpu_us_per_request": _cpu_us(measured),
        "generator": {
            "processes": measured.processes,
            "cpu_us_per_request": _per_request_us(tally.cpu_ns / 1e9, tally),
            "busy": round(tally.busiest, 3),
            "was_the_limit": measured.was_generator_the_limit,
        },
        "machine_busy": round(measured.machine_busy, 3),
        "histogram": [
            {"above_ms": _ms(bar.above_ns), "up_to_ms": _ms(bar.up_to_ns), "count": bar.answers}
            for bar in tally.latencies.bars(_BARS)
        ],
        "predict": _predict(measured.predict),
        "predict_note": measured.predict_note or None,
    }


def lines(measured: Measured) -> Iterator[tuple[str, str]]:
    """For people: what, and how much."""
    tally = measured.tally
    seconds = tally.elapsed_ns / 1e9
    yield "url", measured.url
    if measured.model is not None:
        yield "model", measured.model
    yield "body", f"{measured.body_bytes:,} bytes, {measured.body_source}"
    yield "load", f"{measured.concurrency} at once for {seconds:.1f} s, {_times(tally.connections, 'connection')}"
    yield "answers", f"{tally.good:,}   {tally.good_per_s:,.0f} a second"
    yield "failed", _failures(tally)
    yield "latency", _latency(tally.latencies)
    if (cpu := _cpu_us(measured)) is not None:
        parts = ", ".join(f"{role} {_figure(us)}" for role, us in cpu.items() if role != "total")
        yield "server CPU", f"{_figure(cpu['total'])} us a request: {parts}"
    yield "generator", _generator(measured)
    if measured.machine_busy >= _WAS_FULL:
        yield "machine", "no core was idle: the load generator and whatever else runs here shared them with the server"
    yield "predict", _comparison(measured)


def drawn(latencies: Latencies) -> list[str]:
    """A histogram, a line for each bar; its steps are equal factors."""
    bars = latencies.bars(_BARS)
    top = max((bar.answers for bar in bars), default=0)
    return [f"{_range(bar)}  {_blocks(bar.answers / top):<{_BAR_WIDTH}}  {bar.answers:,}" for bar in bars]


def _range(bar: Bar) -> str:
    return f"{_ms(bar.above_ns):>9.3f} - {_ms(bar.up_to_ns):>9.3f} ms"


def _blocks(share: float) -> str:
    eighths = math.ceil(share * _BAR_WIDTH * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _failures(tally: Tally) -> str:
    if not tally.bad:
        return "none"
    kinds = [f"{count:,} x {status}" for status, count in sorted(tally.statuses.items()) if status // 100 != 2]  # noqa: PLR2004
    kinds += [f"{count:,} x {why}" for why, count in sorted(tally.failures.items())]
    return f"{tally.bad:,} of {tally.requests:,}: " + ", ".join(kinds)


def _latency(latencies: Latencies) -> str:
    if not latencies.total:
        return "no answer"
    return "   ".join(f"{name} {_figure(value)} ms" for name, value in _latency_ms(latencies).items())


def _latency_ms(latencies: Latencies) -> dict[str, float]:
    if not latencies.total:
        return {}
    quantiles = {f"p{share}": latencies.quantile_ns(share / 100) for share in (50, 90, 99)}
    return {
        **{name: _ms(ns) for name, ns in quantiles.items()},
        "max": _ms(latencies.most_ns),
        "mean": _ms(latencies.mean_ns()),
    }


def _cpu_us(measured: Measured) -> dict[str, float] | None:
    if measured.cpu_s is None:
        return None
    by_role = {role: _per_request_us(spent_s, measured.tally) for role, spent_s in measured.cpu_s.items()}
    return {"total": round(sum(by_role.values()), 2), **by_role}


def _per_request_us(spent_s: float, tally: Tally) -> float:
    return round(spent_s * 1e6 / max(tally.requests, 1), 2)


def _generator(measured: Measured) -> str:
    tally = measured.tally
    said = (
        f"{_times(measured.processes, 'process')}, {_figure(_per_request_us(tally.cpu_ns / 1e9, tally))} us a request, "
        f"busy {tally.busiest:.0%} of the time"
    )
    if measured.was_generator_the_limit:
        return f"{said}: it was the limit, not the server; give it more with --processes, or another machine"
    return f"{said}: not the limit"


def _predict(report: PredictReport | None) -> dict[str, Any] | None:
    if report is None or not report.latencies.total:
        return None
    return {
        "calls": report.latencies.total,
        "calls_per_s": round(1e9 / report.latencies.mean_ns(), 1),
        "latency_ms": _latency_ms(report.latencies),
    }


def _comparison(measured: Measured) -> str:
    alone = _predict(measured.predict)
    if alone is None:
        return f"not compared: {measured.predict_note}"
    latencies = measured.tally.latencies
    said = f"in a process of its own p50 {_figure(alone['latency_ms']['p50'])} ms, {alone['calls_per_s']:,.0f} a second"
    if not latencies.total:
        return said
    ratio = measured.tally.good_per_s / alone["calls_per_s"]
    return f"{said}; served {_figure(ratio)} times as many a second"


def _times(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{'es' if noun.endswith('s') else 's'}"


def _ms(ns: float) -> float:
    return round(ns / _NS_PER_MS, 4)


def _figure(value: float) -> str:
    """Three figures, and no more digits than that makes sense of."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004
