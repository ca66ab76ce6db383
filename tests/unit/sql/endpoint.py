"""An endpoint on the loopback that doubles what it is asked, and takes offence at 13."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Doubler:
    """What it was asked, and what it is to say before it answers."""

    url: str = ""
    task: str | None = None
    inputs: tuple[str, ...] = ()
    bodies: list[dict[str, Any]] = field(default_factory=list)
    put_off: list[tuple[int, str | None]] = field(default_factory=list)
    """Statuses with their `retry-after` that come first."""

    def description(self) -> dict[str, Any]:
        return {"name": "doubler", **({"task": self.task} if self.task else {})}

    def openapi(self) -> dict[str, Any]:
        record = {"type": "object", "properties": {name: {} for name in self.inputs}}
        form = {"properties": {"dataframe_records": {"type": "array", "items": record}}}
        content = {"application/json": {"schema": {"oneOf": [form]}}}
        return {"paths": {"/served-models/d/invocations": {"post": {"requestBody": {"content": content}}}}}

    def answer(self, body: dict[str, Any]) -> tuple[int, Any]:
        if "messages" in body:
            return 200, {"choices": [{"message": {"content": f"you said {body['messages'][0]['content']}"}}]}
        data = body["dataframe_split"]["data"] if "dataframe_split" in body else [[v] for v in body["inputs"]]
        if any(row[0] == 13 for row in data):
            return 400, {"error_code": "BAD_REQUEST", "message": "13 is unlucky"}
        return 200, {"predictions": [None if row[0] is None else 2 * row[0] for row in data]}


@contextmanager
def serving(doubler: Doubler) -> Iterator[Doubler]:
    """The endpoint serves while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if "nowhere" in self.path:
                self._send(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such endpoint"})
            else:
                self._send(200, doubler.openapi() if self.path.endswith("/openapi") else doubler.description())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if doubler.put_off:
                status, retry_after = doubler.put_off.pop(0)
                self._send(status, {"error_code": "RESOURCE_EXHAUSTED", "message": "later"}, retry_after)
                return
            doubler.bodies.append(body)
            self._send(*doubler.answer(body))

        def _send(self, status: int, document: Any, retry_after: str | None = None) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            if retry_after is not None:
                self.send_header("retry-after", retry_after)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        doubler.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield doubler
        finally:
            server.shutdown()
            thread.join()
