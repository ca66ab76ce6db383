"""Cases: whole requests as bytes, drawn from a seed and a number, so that any one of them can be made again.

Three families: queries, management routes (from the stack's own OpenAPI document, so that a new route joins by
itself), and bytes that are no proper HTTP.
"""

from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote

from support.fuzzing import bodies
from support.fuzzing.bodies import Dice, Schema

HOST = b"fuzz.example"
OPENAI_ROUTES = ("chat/completions", "completions", "embeddings", "responses")
_CREATED = {"/api/2.0/serving-endpoints": "endpoint", "/api/2.0/penstock/tokens": "token"}
METHODS = (b"GET", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"POST")
ODD_SEGMENTS = (
    *("..", "%2e%2e", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "a%00b", "models:%2fm%2f1", "%ff", "x" * 300, "%E2%82%AC"),
    *(
        "nope",
        "",
        ".",
        "%2F",
        "~",
        "%25",
        "%",
        "%zz",
        "a;b",
        "a=b",
        "*",
        "'",
        "%0d%0a",
        "@",
        "pt",
        "-1",
        "%F0%9F%98%80",
    ),
    *("9" * 400, "%ED%A0%80", "a%2Fb", "%5c..%5c", "x" * 5000, "null"),
)
"""Segments of paths; none of them names anything that there is."""
QUERIES = (
    *("?", "?config_version=x", "?config_version=-1", "?config_version=" + "9" * 400, "?a=%00", "?%ff", "?token=x"),
    *("?config_version=1&config_version=2", "?" + "a=b&" * 500, "?page_token=%F0%9F", "?max_results=-1", "?#", "??"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to send."""

    index: int
    family: str
    route: str
    kind: str
    data: bytes
    is_framed: bool = True
    """One proper request, which gets one answer; else the client says that it is done, and reads to the end."""
    creates: str | None = None
    """What a 200 has created and the client is to take away again: `endpoint` or `token`."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one management path."""

    method: str
    path: str
    schema: Schema | None


@dataclass(frozen=True, slots=True)
class Target:
    """What of the stack the cases are about."""

    token: str
    endpoints: tuple[str, ...]
    """Endpoints that serve."""
    scratch: str
    """An endpoint without a config, which management cases may change."""
    scratch_id: str
    operations: tuple[Operation, ...]
    schemas: dict[str, Schema]


def operations_of(document: dict[str, Any]) -> tuple[Operation, ...]:
    """All operations of an OpenAPI document."""
    return tuple(
        Operation(method.upper(), path, _body_schema(operation))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )


def _body_schema(operation: dict[str, Any]) -> Schema | None:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return content.get("schema")


class Grammar:
    """Draws cases for one target."""

    def __init__(self, target: Target, seed: int) -> None:
        self._target = target
        self._seed = seed
        self._authorization = b"authorization: Bearer " + target.token.encode() + b"\r\n"
        self._entities = {name: f"{name}-entity" for name in target.endpoints}

    def case(self, index: int) -> Case:
        """The case of that number."""
        dice = Random((self._seed << 40) + index)
        draw = dice.random()
        if draw < 0.78:
            return self._query(dice, index)
        if draw < 0.88:
            return self._management(dice, index)
        if draw < 0.89:
            return self._mlflow(dice, index)
        return self._raw(dice, index)

    def _query(self, dice: Dice, index: int) -> Case:
        kind, body = bodies.body(dice)
        draw = dice.random()
        method = b"POST"
        if draw < 0.80:
            route, path = "invocations", f"/serving-endpoints/{dice.choice(self._target.endpoints)}/invocations"
        elif draw < 0.86:
            name = dice.choice(self._target.endpoints)
            entity = self._entities[name] if dice.random() < 0.7 else dice.choice(ODD_SEGMENTS)
            route, path = "served-models", f"/serving-endpoints/{name}/served-models/{entity}/invocations"
        elif draw < 0.94:
            path = "/serving-endpoints/" + dice.choice(OPENAI_ROUTES)
            route = path.removeprefix("/serving-endpoints/")
            if dice.random() < 0.7:
                name = dice.choice((*self._target.endpoints, *bodies.NAMES[:12])).encode("utf-8", "surrogatepass")
                body = dice.choice(bodies.OPENAI) % (name, dice.choice((b"true", b"false", b"1", b"null")))
                kind = "openai"
                if dice.random() < 0.7:
                    kind, body = "damaged openai", bodies.damage(dice, body)
        elif draw < 0.96:
            method, route = b"GET", "models"
            path = "/serving-endpoints/models" + dice.choice(("", "/", "/" + dice.choice(ODD_SEGMENTS)))
        elif draw < 0.98:
            route, path = "odd names", f"/serving-endpoints/{dice.choice(ODD_SEGMENTS)}/invocations"
        else:
            route, path = "odd methods", f"/serving-endpoints/{dice.choice(self._target.endpoints)}/invocations"
            method = dice.choice(METHODS[:-1])
        data = self._request(dice, method, path, body, bodies.content_type(dice))
        return Case(index, "query", route, kind, data)

    def _management(self, dice: Dice, index: int) -> Case:
        operation = dice.choice(self._target.operations)
        path = "/".join(self._segment(dice, operation, part) for part in operation.path.split("/"))
        kind, body = bodies.document(dice, operation.schema, self._target.schemas)
        method = operation.method.encode() if dice.random() < 0.95 else dice.choice(METHODS)
        if method == b"DELETE":
            path = path.replace(f"/{self._target.scratch}", "/nope")
        data = self._request(dice, method, path, body, bodies.content_type(dice))
        creates = _CREATED.get(operation.path) if method == b"POST" else None
        return Case(index, "management", f"{operation.method} {operation.path}", kind, data, creates=creates)

    def _segment(self, dice: Dice, operation: Operation, part: str) -> str:
        if not part.startswith("{"):
            return part
        name, _, action = part[1:].partition("}")
        if dice.random() < 0.5:
            filled = dice.choice(ODD_SEGMENTS)
        elif name == "endpoint_id":
            filled = self._target.scratch_id
        elif name == "name" and "serving-endpoints" in operation.path:
            filled = self._target.scratch
        else:
            filled = quote(dice.choice(bodies.NAMES).encode("utf-8", "surrogatepass"), safe="")
        return filled + action

    def _mlflow(self, dice: Dice, index: int) -> Case:
        root = dice.choice(("/api/2.0/mlflow/", "/api/3.0/mlflow/", "/api/2.0/mlflow-artifacts/artifacts/", "/mlflow/"))
        what = dice.choice(("runs/get", "experiments/search", "registered-models/search", *ODD_SEGMENTS))
        kind, body = bodies.body(dice)
        method = dice.choice((b"GET", b"POST"))
        data = self._request(dice, method, root + what, body, bodies.content_type(dice))
        return Case(index, "mlflow", root, kind, data)

    def _request(self, dice: Dice, method: bytes, path: str, body: bytes, content_type: bytes) -> bytes:
        if dice.random() < 0.02:
            path += dice.choice(QUERIES)
        extra = b""
        draw = dice.random()
        if draw < 0.01:
            extra = dice.choice(_EXTRA_HEADERS)
        if draw > 0.97:
            framing, body = b"transfer-encoding: chunked\r\n", _chunked(dice, body)
        else:
            framing = b"content-length: %d\r\n" % len(body)
        return b"%b %b HTTP/1.1\r\nhost: %b\r\n%bcontent-type: %b\r\n%b%b\r\n%b" % (
            *(method, path.encode("utf-8", "surrogatepass"), HOST, self._authorization),
            *(content_type, extra, framing, body),
        )

    def _raw(self, dice: Dice, index: int) -> Case:
        kind = dice.choice(
            ("damaged head", "line", "line", "header", "chunks", "length", "truncated", "pipelined", "noise")
        )
        path = f"/serving-endpoints/{dice.choice(self._target.endpoints)}/invocations"
        whole = self._request(dice, b"POST", path, bodies.damaged(dice), b"application/json")
        head, _, body = whole.partition(b"\r\n\r\n")
        match kind:
            case "damaged head":
                data = bodies.damage(dice, head) + b"\r\n\r\n" + body
            case "line":
                data = dice.choice(_LINES) + b"\r\nhost: x\r\n" + self._authorization + b"\r\n"
            case "header":
                data = head + b"\r\n" + dice.choice(_HEADERS) + b"\r\n\r\n" + body
            case "chunks":
                line = b"POST %b HTTP/1.1\r\nhost: x\r\n%btransfer-encoding: chunked\r\n\r\n"
                data = line % (path.encode(), self._authorization) + dice.choice(_CHUNKS)
            case "length":
                line = b"POST %b HTTP/1.1\r\nhost: x\r\n%bcontent-length: %b\r\n\r\n{}"
                data = line % (path.encode(), self._authorization, dice.choice(_LENGTHS))
            case "truncated":
                data = whole[: int(dice.random() * len(whole))]
            case "pipelined":
                data = b"".join(
                    self._request(dice, b"POST", path, bodies.damaged(dice), b"application/json") for _ in range(4)
                )
            case _:
                data = dice.randbytes(int(dice.random() * 400))
        return Case(index, "http", "raw", kind, data, is_framed=False)


def _chunked(dice: Dice, body: bytes) -> bytes:
    size = 1 + int(dice.random() * 200) + len(body) // 20
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


_EXTRA_HEADERS = (
    *(
        b"expect: 100-continue\r\n",
        b"content-encoding: gzip\r\n",
        b"connection: close\r\n",
        b"accept: nothing/at-all\r\n",
    ),
    *(b"connection: upgrade\r\nupgrade: websocket\r\n", b"x-penstock-principal: admin\r\n", b"cookie: a=b\r\n"),
    *(b"x-forwarded-for: 1.2.3.4\r\n", b"accept-encoding: br;q=x\r\n", b"x: " + b"y" * 8000 + b"\r\n"),
    *(b"content-encoding: nope\r\n", b"range: bytes=0-\r\n", b"origin: http://evil.example\r\n"),
)
_LINES = (
    *(
        b"BREW /health HTTP/1.1",
        b"GET /health HTTP/9.9",
        b"GET /health",
        b"GET",
        b"",
        b" / HTTP/1.1",
        b"GET  /  HTTP/1.1",
    ),
    *(
        b"GET /\xff\xfe HTTP/1.1",
        b"GET http://evil.example/health HTTP/1.1",
        b"GET /a\x00b HTTP/1.1",
        b"get / HTTP/1.1",
    ),
    *(
        b"GET * HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT evil.example:443 HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"GET / HTTP/1.0",
    ),
    *(b"GET /" + b"a" * 70_000 + b" HTTP/1.1", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/0.9", b"GET\t/\tHTTP/1.1"),
    *(
        b"GET /health?%00 HTTP/1.1",
        b"GET //health HTTP/1.1",
        b"GET /serving-endpoints/../health HTTP/1.1",
        b"POST / HTTP/1.1",
    ),
)
_HEADERS = (
    *(
        b"x" * 70_000 + b": y",
        b"x: " + b"y" * 70_000,
        b"x: y\r\n" * 5_000,
        b"no colon",
        b": no name",
        b"a b: c",
        b"x: \x00",
    ),
    *(
        b"\x00: x",
        b"x: a\r b",
        b"x:\xff\xfe",
        b" folded: x",
        b"x: a\r\n folded",
        b"content-length: 1",
        b"host: a\r\nhost: b",
    ),
    *(b"authorization: Bearer x", b"content-length: -1", b"transfer-encoding: gzip", b"transfer-encoding: chunked"),
    *(
        b"authorization: Basic !!!",
        b"content-type: a\r\ncontent-type: b",
        b"x:y:z",
        b"\xe2\x80\xa8: x",
        b"connection: \x01",
    ),
)
_CHUNKS = (
    *(
        b"zz\r\n",
        b"-1\r\n\r\n",
        b"1\r\nab\r\n0\r\n\r\n",
        b"f" * 40 + b"\r\n",
        b"5\r\nab",
        b"2;ext=\x00\r\n{}\r\n0\r\n\r\n",
    ),
    *(
        b"2\n{}\n0\n\n",
        b"0\r\ntrailer: x\r\n\r\n",
        b"0\r\n" + b"x: y\r\n" * 3000 + b"\r\n",
        b"\r\n\r\n",
        b"0x2\r\n{}\r\n0\r\n\r\n",
    ),
    *(b"2\r\n{}\r\n0\r\n\r\nGET /", b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", b" 2\r\n{}\r\n0\r\n\r\n", b"2;" + b"e" * 70_000),
)
_LENGTHS = (
    *(b"-1", b"+2", b"1", b"3", b"99999", b"9" * 30, b"0x2", b"2.0", b"2, 2", b"", b"abc", b"2\r\ncontent-length: 1"),
    *(b"2\r\ntransfer-encoding: chunked", b"17179869184", b"2 ", b"\x002", b"18446744073709551617"),
)
