"""What a load came to, as `penstock bench` says it."""

from dataclasses import replace

from penstock.cli.bench_report import Measured, document, drawn, lines
from penstock.client.load.latencies import Latencies
from penstock.client.load.tally import Tally, finished, together
from penstock.processes.predict_report import PredictReport

MS = 1_000_000


def tally(*latencies_ms: float, refused: int = 0, elapsed_s: float = 2.0, cpu_s: float = 0.5) -> Tally:
    counted = Tally(connections=1)
    for ms in latencies_ms:
        counted.answered(200, round(ms * MS))
    for _ in range(refused):
        counted.answered(429, MS)
    return finished(counted, round(elapsed_s * 1e9), round(cpu_s * 1e9))


def measured(load: Tally, **more: object) -> Measured:
    plain = Measured(
        url="http://h/x",
        model="models:/m/1",
        concurrency=3,
        processes=1,
        body_bytes=1234,
        body_source="as given",
        tally=load,
        cpu_s=None,
        machine_busy=0.5,
        predict=None,
        predict_note="because",
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def test_p4_6_figures_of_a_load() -> None:
    told = document(measured(tally(1, 2, 3, 10)))
    assert (told["requests"], told["failed"], told["requests_per_s"]) == (4, 0, 2.0)
    assert round(told["latency_ms"]["p50"], 1) == 2.0
    assert round(told["latency_ms"]["p99"], 1) == round(told["latency_ms"]["max"], 1) == 10.0
    assert told["generator"] == {"processes": 1, "cpu_us_per_request": 125000.0, "busy": 0.25, "was_the_limit": False}
    assert (told["cpu_us_per_request"], told["predict"], told["predict_note"]) == (None, None, "because")
    assert sum(bar["count"] for bar in told["histogram"]) == 4


def test_p4_6_failures_are_told_by_kind() -> None:
    load = tally(1, refused=2)
    load.failed("connection closed")
    assert dict(lines(measured(load)))["failed"] == "3 of 4: 2 x 429, 1 x connection closed"
    told = document(measured(load))
    assert (told["statuses"], told["failures"]) == ({"200": 1, "429": 2}, {"connection closed": 1})


def test_a_load_without_one_good_answer() -> None:
    load = tally(refused=2)
    said = dict(lines(measured(load)))
    assert said["latency"] == "no answer"
    assert document(measured(load))["latency_ms"] == {}
    assert drawn(load.latencies) == []


def test_p4_6_a_generator_that_was_the_limit_says_so() -> None:
    busy = measured(tally(1, cpu_s=1.9))
    assert document(busy)["generator"]["was_the_limit"]
    assert "--processes" in dict(lines(busy))["generator"]
    assert "machine" not in dict(lines(busy))
    assert "no core was idle" in dict(lines(replace(busy, machine_busy=0.99)))["machine"]


def test_processor_time_of_the_server_by_role() -> None:
    told = measured(tally(1, 1), cpu_s={"gateways": 30e-6, "replicas": 10e-6})
    assert document(told)["cpu_us_per_request"] == {"total": 20.0, "gateways": 15.0, "replicas": 5.0}
    assert dict(lines(told))["server CPU"] == "20 us a request: gateways 15, replicas 5"


def test_p4_6_the_comparison_with_predict() -> None:
    alone = Latencies()
    alone.add(2 * MS)
    told = measured(tally(*[1] * 4000), predict=PredictReport(b"{}", "as given", alone), predict_note="")
    assert document(told)["predict"]["calls_per_s"] == 500
    assert "served 4 times as many a second" in dict(lines(told))["predict"]


def test_a_histogram_has_a_bar_for_what_there_is() -> None:
    latencies = Latencies()
    for _ in range(100):
        latencies.add(MS)
    latencies.add(16 * MS)
    bars = drawn(latencies)
    assert bars[0].split()[4:] == ["█" * 48, "100"]
    assert bars[-1].split()[4:] == ["▌", "1"]
    assert all(line.endswith("  0") for line in bars[1:-1])


def test_tallies_of_processes_together() -> None:
    whole = together([tally(1, elapsed_s=1.0, cpu_s=0.9), tally(3, refused=1, elapsed_s=2.0, cpu_s=0.2)])
    assert (whole.requests, whole.good, whole.connections) == (3, 2, 2)
    assert (whole.elapsed_ns, whole.cpu_ns, whole.busiest) == (2_000_000_000, 1_100_000_000, 0.9)
