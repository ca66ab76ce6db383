"""HTTP/1.1 as clients really speak it, and what is logged of it, on a stack of two gateways at one address."""

import asyncio
import contextlib
import gzip
import http.client
import itertools
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from penstock.client.table_writer import flush
from penstock.wire.sockets import SocketFolder
from support.linear_model import register_adder
from support.spooled import rows_of
from support.stack import MANAGEMENT, QUERY, Stack, registry_of, start_stack, wait_for

OFFSET = 0.5
PATH = f"{QUERY}/adder/invocations"
IDLE_S = 2


@pytest.fixture(scope="module")
def two_gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with the endpoint `adder`, whose predictions are logged, and two gateways."""
    home = Path(tmp_path_factory.mktemp("http")) / "home"
    stack = start_stack(home, "--gateways", "2", env={"PENSTOCK_IDLE_TIMEOUT_S": str(IDLE_S)})
    try:
        with registry_of(stack):
            register_adder("adder", OFFSET)
        body = {"name": "adder", "config": {"served_entities": [{"entity_name": "adder", "entity_version": "1"}]}}
        assert stack.call("POST", MANAGEMENT, body).status_code == 200
        stack.wait_ready("adder")
        table = {"enabled": True, "catalog_name": "main", "schema_name": "default"}
        answer = stack.call("PUT", f"{MANAGEMENT}/adder/ai-gateway", {"inference_table_config": table})
        assert answer.status_code == 200, answer.text
        wait_for(
            lambda: at_once(stack) and len(list((home / "spool").glob("gateway-*/writer"))) == 2, "both gateways to log"
        )
        yield stack
    finally:
        stack.stop()


def body_of(x: float) -> bytes:
    """A request whose answer is x + OFFSET."""
    return json.dumps({"inputs": [{"x": float(x)}]}).encode()


def head_of(stack: Stack, *headers: str) -> bytes:
    """A prediction's head, without the empty line."""
    lines = [f"POST {PATH} HTTP/1.1", "Host: h", f"Authorization: Bearer {stack.token}", *headers]
    return "\r\n".join([*lines, "Content-Type: application/json", ""]).encode()


def request_of(stack: Stack, body: bytes, *headers: str) -> bytes:
    """A whole request."""
    return head_of(stack, *headers, f"Content-Length: {len(body)}") + b"\r\n" + body


def ask(stack: Stack, x: float) -> float:
    """One prediction on a connection of its own."""
    answer = stack.call("POST", PATH, json.loads(body_of(x)))
    assert answer.status_code == 200, answer.text
    return float(answer.json()["predictions"][0])


def connect(stack: Stack) -> socket.socket:
    """A connection."""
    host, _, port = stack.url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def at_once(stack: Stack) -> list[float]:
    """Predictions on eight connections at once: not all of them come to the same gateway."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda x: ask(stack, x), range(8)))


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The next answer on a connection, and not a byte more."""
    response = http.client.HTTPResponse(connection)
    response.fp = connection.makefile("rb", 0)
    response.begin()
    return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()


def rows(stack: Stack) -> list[dict[str, Any]]:
    """All that the gateways have logged."""
    assert asyncio.run(flush(SocketFolder(stack.home / "run"), 60)).parked_tables == []
    return rows_of(stack.home / "warehouse" / "main" / "default" / "adder_payload")


def test_p4_4_pipelined_and_chunked_requests_are_answered_in_their_order(two_gateways: Stack) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, body_of(2)[at : at + 1]) for at in range(len(body_of(2))))
    chunked = head_of(two_gateways, "Transfer-Encoding: chunked") + b"\r\n" + chunks + b"0\r\n\r\n"
    with connect(two_gateways) as connection:
        connection.sendall(request_of(two_gateways, body_of(1)) + chunked + request_of(two_gateways, body_of(3)))
        predictions = [json.loads(read_answer(connection)[2])["predictions"][0] for _ in range(3)]
        assert predictions == pytest.approx([1.5, 2.5, 3.5])
        connection.sendall(request_of(two_gateways, body_of(4)))
        assert read_answer(connection)[0] == 200


def test_p4_4_a_client_that_asks_whether_to_send_its_body_is_told(two_gateways: Stack) -> None:
    with connect(two_gateways) as connection:
        connection.sendall(
            head_of(two_gateways, "Expect: 100-continue", f"Content-Length: {len(body_of(1))}") + b"\r\n"
        )
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body_of(1))
        assert read_answer(connection)[0] == 200
    with connect(two_gateways) as connection:
        connection.sendall(head_of(two_gateways, "Expect: 100-continue", "Content-Length: 17000000") + b"\r\n")
        assert read_answer(connection)[0] == 413


def test_p4_4_compressed_bodies_are_taken_and_bombs_do_not_go_off(two_gateways: Stack) -> None:
    packed = gzip.compress(body_of(7))
    with connect(two_gateways) as connection:
        connection.sendall(request_of(two_gateways, packed, "Content-Encoding: gzip"))
        status, _, answer = read_answer(connection)
        assert (status, json.loads(answer)["predictions"]) == (200, [pytest.approx(7.5)])
        connection.sendall(request_of(two_gateways, packed[:-4], "Content-Encoding: gzip"))
        assert read_answer(connection)[0] == 400
        connection.sendall(request_of(two_gateways, packed, "Content-Encoding: br"))
        assert read_answer(connection)[0] == 415
    gateways = [psutil.Process(process["pid"]) for process in two_gateways.ps("gateway")]
    before = [gateway.memory_info().rss for gateway in gateways]
    bomb = request_of(two_gateways, gzip.compress(bytes(200 << 20)), "Content-Encoding: gzip")
    for _ in range(20):
        with connect(two_gateways) as connection:
            connection.sendall(bomb)
            assert read_answer(connection)[0] == 413
    grown = [gateway.memory_info().rss - was for gateway, was in zip(gateways, before, strict=True)]
    assert max(grown) < 100 << 20


def test_p4_4_a_body_over_the_limit_is_refused_before_it_has_come(two_gateways: Stack) -> None:
    with connect(two_gateways) as connection:
        connection.sendall(head_of(two_gateways, f"Content-Length: {1 << 40}") + b"\r\n")
        status, headers, answer = read_answer(connection)
        assert (status, headers["connection"], json.loads(answer)["error_code"]) == (413, "close", "BAD_REQUEST")
    with connect(two_gateways) as connection:
        connection.sendall(head_of(two_gateways, "Transfer-Encoding: chunked") + b"\r\n")
        piece = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
        until_s = time.monotonic() + 60
        with contextlib.suppress(OSError):
            while time.monotonic() < until_s:
                connection.sendall(piece)
        assert time.monotonic() < until_s, "an endless body is read for ever"
    assert ask(two_gateways, 1) == pytest.approx(1.5)


def test_p4_4_an_idle_connection_is_closed_and_one_in_use_is_not(two_gateways: Stack) -> None:
    with connect(two_gateways) as idle, connect(two_gateways) as used:
        idle.sendall(request_of(two_gateways, body_of(1)))
        assert read_answer(idle)[0] == 200
        closed = threading.Thread(target=lambda: idle.recv(1))
        closed.start()
        answered = 0
        while closed.is_alive() or answered < 3:
            used.sendall(request_of(two_gateways, body_of(1)))
            assert read_answer(used)[0] == 200
            answered += 1
            closed.join(0.2)
        used.sendall(request_of(two_gateways, body_of(1)))
        assert read_answer(used)[0] == 200


class Caller(threading.Thread):
    """Asks, without a retry, until it is told to stop; keeps what it asked and was answered."""

    def __init__(self, stack: Stack, numbers: Iterator[int]) -> None:
        super().__init__()
        self._stack = stack
        self._numbers = numbers
        self.is_stopping = False
        self.answered: dict[str, int] = {}
        self.failed: Counter[int] = Counter()
        self.unknown = 0

    def run(self) -> None:
        connection = connect(self._stack)
        while not self.is_stopping:
            number = next(self._numbers)
            try:
                connection.sendall(request_of(self._stack, body_of(number)))
                status, headers, body = read_answer(connection)
            except (OSError, http.client.HTTPException):
                self.unknown += 1
                connection.close()
                connection = connect(self._stack)
                continue
            if status == 200:
                assert json.loads(body)["predictions"][0] == pytest.approx(number + OFFSET)
                self.answered[headers["databricks-request-id"]] = number
            else:
                self.failed[status] += 1
        connection.close()


def test_p4_5_every_answer_has_its_record_though_gateways_are_killed_under_load(two_gateways: Stack) -> None:
    numbers = itertools.count(1000)
    callers = [Caller(two_gateways, numbers) for _ in range(6)]
    for caller in callers:
        caller.start()

    def answered() -> int:
        return sum(len(caller.answered) for caller in callers)

    def ready() -> list[int]:
        return [process["pid"] for process in two_gateways.ps("gateway") if process["state"] == "ready"]

    for turn in range(6):
        was = answered()
        wait_for(lambda was=was: answered() > was + 100, "answers")
        killed = ready()[turn % 2]
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda killed=killed: len(pids := ready()) == 2 and killed not in pids, "both gateways")
    for caller in callers:
        caller.is_stopping = True
    for caller in callers:
        caller.join(60)
    assert not any(caller.failed for caller in callers)
    found = rows(two_gateways)
    logged = {row["databricks_request_id"]: row for row in found}
    assert len(logged) == len(found), "no request has two rows"
    asked = {request_id: number for caller in callers for request_id, number in caller.answered.items()}
    assert len(asked) >= 600
    lost = [request_id for request_id in asked if request_id not in logged]
    assert lost == []
    for request_id, number in asked.items():
        assert logged[request_id]["request"] == body_of(number).decode()
        assert json.loads(logged[request_id]["response"])["predictions"][0] == pytest.approx(number + OFFSET)
        assert logged[request_id]["execution_duration_ms"] >= 0
    known = {body_of(number).decode() for number in asked.values()}
    readable = [row["request"] for row in found if row["status_code"] == 200]
    beyond = [
        request for request in readable if request not in known and int(json.loads(request)["inputs"][0]["x"]) >= 1000
    ]
    assert len(beyond) <= sum(caller.unknown for caller in callers), "and nothing that was never asked"


def test_p4_5_turned_off_nothing_is_logged(two_gateways: Stack) -> None:
    assert two_gateways.call("PUT", f"{MANAGEMENT}/adder/ai-gateway", {}).status_code == 200

    def is_quiet() -> bool:
        before = len(rows(two_gateways))
        at_once(two_gateways)
        return len(rows(two_gateways)) == before

    wait_for(is_quiet, "both gateways to know")
