"""What the load generator counts: every request once, whatever the server does."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.client.load.plan import LoadPlan
from penstock.client.load.probe import ProbeAnswer, ask_once
from penstock.client.load.sender import Sender
from penstock.client.load.tally import Tally
from penstock.client.load.target import request_bytes, target_of
from support.certificates import Authority
from unit.client.load.server import BUSY, CHUNKED, CONTINUE_FIRST, GONE, LAST, NOT_HTTP, OK, Say, serving

PlanFor = Callable[[int], LoadPlan]


def plan(
    *, connections: int = 4, seconds: float | None = None, requests: int | None = None, timeout_s: float = 10
) -> PlanFor:
    def made(port: int) -> LoadPlan:
        target = target_of(f"http://127.0.0.1:{port}/x")
        return LoadPlan(target, request_bytes(target, b"{}", {}), connections, seconds, requests, timeout_s)

    return made


def sent(say: Say, plan_for: PlanFor) -> Tally:
    async def run() -> Tally:
        async with serving(say) as port:
            sender = Sender(plan_for(port))
            await sender.open()
            return await sender.run(lambda _: None)

    return asyncio.run(asyncio.wait_for(run(), 60))


@pytest.mark.parametrize("answer", [OK, CHUNKED, CONTINUE_FIRST])
def test_p4_6_as_many_as_were_asked_for_over_connections_that_are_kept(answer: bytes) -> None:
    tally = sent(lambda _: answer, plan(requests=101))
    assert (tally.requests, tally.good, tally.statuses, tally.failures) == (101, 101, {200: 101}, {})
    assert tally.connections == 4
    assert tally.latencies.total == 101
    assert tally.good_per_s > 0
    assert tally.cpu_ns > 0


def test_a_duration_ends_it() -> None:
    tally = sent(lambda _: OK, plan(seconds=0.2))
    assert tally.good == tally.requests > 0
    assert tally.elapsed_ns >= 0.2e9 * 0.5


def test_p4_6_refusals_are_counted_and_do_not_make_latencies_look_better() -> None:
    tally = sent(lambda index: BUSY if index % 2 else OK, plan(requests=100))
    assert tally.statuses == {200: 50, 429: 50}
    assert (tally.good, tally.bad, tally.latencies.total) == (50, 50, 50)


def test_p4_6_a_connection_that_breaks_is_a_failure_and_another_takes_its_place() -> None:
    tally = sent(lambda index: None if index == 3 else OK, plan(connections=2, requests=20))
    assert (tally.good, tally.failures, tally.connections) == (19, {"connection closed": 1}, 3)


def test_a_server_that_closes_after_each_answer_costs_connections_not_requests() -> None:
    tally = sent(lambda _: LAST, plan(connections=1, requests=5))
    assert (tally.good, tally.bad) == (5, 0)
    assert tally.connections == 5


def test_what_is_not_http_is_a_failure() -> None:
    tally = sent(lambda _: NOT_HTTP, plan(connections=1, requests=3))
    assert tally.failures == {"answer is not HTTP/1.1": 3}


def test_an_answer_that_does_not_come_is_a_failure() -> None:
    tally = sent(lambda index: b"" if index == 0 else OK, plan(connections=1, requests=3, timeout_s=0.3))
    assert (tally.good, tally.failures) == (2, {"timed out": 1})


def test_a_server_that_goes_away_leaves_failures_for_the_rest() -> None:
    tally = sent(lambda index: GONE if index == 1 else OK, plan(connections=1, requests=4))
    assert (tally.requests, tally.good) == (4, 1)
    assert tally.failures == {"connection closed": 1, "cannot connect": 2}


def test_p4_6_over_tls_to_a_server_that_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("127.0.0.1"))

    async def run() -> tuple[Tally, ProbeAnswer]:
        async with serving(lambda _: OK, context) as port:
            target = target_of(f"https://127.0.0.1:{port}/x")
            sender = Sender(LoadPlan(target, request_bytes(target, b"{}", {}), 2, None, 20, 10))
            await sender.open()
            return await sender.run(lambda _: None), await asyncio.to_thread(ask_once, target, b"{}", {}, 10)

    with pytest.raises(ssl.SSLCertVerificationError):
        asyncio.run(run())
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    tally, answer = asyncio.run(asyncio.wait_for(run(), 60))
    assert (tally.good, tally.bad, answer.status) == (20, 0, 200)


def test_a_server_that_is_not_there_is_told_before_anything_is_sent() -> None:
    async def run() -> None:
        async with serving(lambda _: OK) as port:
            pass
        await Sender(plan(requests=1)(port)).open()

    with pytest.raises(OSError, match=r"onnect"):
        asyncio.run(run())
