"""Request bodies that a scorer must refuse or score, and never die of: JSON and what is nearly JSON, as bytes.

Everything is drawn from the dice that is passed in, so that a case can be made again from its number. Most bodies
are small and cheap to refuse: a few dozen bytes with one thing wrong. Those that cost the model something are a few
percent.
"""

import json
from collections.abc import Callable
from random import Random
from typing import Any

ROW = b'{"x":1.5,"n":2,"s":"hello"}'
VALID = (
    b'{"dataframe_records":[' + ROW + b"]}",
    b'{"dataframe_split":{"columns":["x","n","s"],"index":[0],"data":[[1.5,2,"a"]]}}',
    b'{"dataframe_records":[' + ROW + b'],"params":{"temp":0.1}}',
    b'{"inputs":[[1.0,2.0],[3.0,4.0]]}',
    b'{"instances":[[1.0,2.0]]}',
    b'{"inputs":{"x":[1.5],"n":[2],"s":["a"]}}',
    b'{"messages":[{"role":"user","content":"hi"}],"max_tokens":4}',
    b'{"prompt":"hi","temperature":0.5,"stop":["x"]}',
    b'{"input":["a","b"]}',
)
OPENAI = (
    b'{"model":"%b","messages":[{"role":"user","content":"hi"}],"stream":%b}',
    b'{"model":"%b","prompt":"hi","stream":%b}',
    b'{"model":"%b","input":["a","b"],"stream":%b}',
    b'{"model":"%b","input":"hi","stream":%b}',
)
"""Bodies of the routes that name their endpoint in the body."""
NUMBERS = (
    *(b"0", b"-0", b"-0.0", b"1", b"-1", b"1.5", b"1e999", b"-1e999", b"1e-999", b"NaN", b"-NaN", b"Infinity"),
    *(b"-Infinity", b"01", b"+1", b".5", b"1.", b"0x10", b"1_000", b"1e", b"9" * 19, b"-" + b"9" * 20, b"9" * 300),
    *(b"9" * 4301, b"1e400", b"2147483648", b"9223372036854775808", b"18446744073709551616", b"1" + b"0" * 400),
)
STRINGS = (
    *(b'""', b'"x"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"a\x00b"', b'"\xff\xfe"', b'"\xed\xa0\x80"'),
    *(b'"\\q"', b'"\\u12"', b'"unterminated', b"'single'", b'"\\ud83d\\ude00"', b'"\xe2\x80\xa8"', b'"line\nbreak"'),
    *(b'"2020-01-01"', b'"9999-99-99T99:99"', b'"AAE="', b'"===="', b'"' + b"s" * 5000 + b'"', b'"../../etc/passwd"'),
    *(b'"{{secrets/a/b}}"', b'"models:/m/1"', b'"__class__"', b'"%s%n{0}"'),
)
OTHERS = (
    *(b"null", b"true", b"false", b"nul", b"True", b"undefined", b"", b"[]", b"{}", b"[[]]", b"[{}]", b'{"":0}'),
    *(b"[null]", b"[1,]", b"[,1]", b"{,}", b'{"a"}', b'{"a":}', b"{1:2}", b'{"a":1,"a":2}', b"[1 2]", b"/**/1", b"1//"),
)
ATOMS = NUMBERS + STRINGS + OTHERS
KEYS = (
    *(b'"dataframe_records"', b'"dataframe_split"', b'"inputs"', b'"instances"', b'"params"', b'"columns"', b'"data"'),
    *(b'"index"', b'"messages"', b'"prompt"', b'"input"', b'"stream"', b'"model"', b'"client_request_id"', b'"x"'),
    *(
        b'"databricks_options"',
        b'"usage_context"',
        b'"extra_params"',
        b'"n"',
        b'"s"',
        b'"t"',
        b'"b"',
        b'"signature_name"',
    ),
    *(b'""', b'"\\ud800"', b'"\\u0000"', b'"temp"', b'"__proto__"', b"a", b"null", b"1"),
)
TOKENS = (
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r\n", b"\x1f", b"\x7f"),
    *(b"1e999", b"-0", b"NaN", b'"\\ud800"', b"null", b"'", b"//", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"),
)
ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "utf-7", "cp037")
DEPTHS = (2, 30, 65, 500, 900, 990, 10_000, 10_000, 30_000)

JSON_TYPES = (
    *(b"application/json", b"application/json; charset=utf-8", b"Application/JSON", b"application/json;", b"text/json"),
    *(b"application/json; charset=utf-16", b"application/json;charset=nope", b"application/json; charset=", b" "),
)
OTHER_TYPES = (
    *(b"text/csv", b"text/csv; charset=utf-8", b"text/csv; header=absent", b"text/plain", b"application/xml"),
    *(b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b"application/octet-stream", b"*/*"),
    *(b"image/png", b"application/cloudevents+json", b"json", b"/", b";;;", b"application/json, text/csv", b"\xff\xfe"),
    *(b"text/event-stream", b"application/msgpack", b"application/json; charset=" + b"x" * 200, b"t" * 2000),
)
CSV = (
    b"x,n,s\n1.5,2,a\n",
    b"x,n\n1\n",
    b'x,n,s\n"1.5,2,a\n',
    b"\n\n\n",
    b",,,\n,,,\n",
    b"x\x00,n\n1,2\n",
    b"a,a,a\n1,2,3\n",
)

Dice = Random
Schema = dict[str, Any]
Body = tuple[str, bytes]
"""What kind of body it is, and its bytes."""


def body(dice: Dice) -> Body:
    """A body of any kind, most often one that is refused at once."""
    draw = dice.random() * _TOTAL
    for weight, kind, make in _KINDS:
        draw -= weight
        if draw < 0:
            return kind, make(dice)
    return "atom", atom(dice)


def content_type(dice: Dice) -> bytes:
    """A content type: plain JSON most often."""
    draw = dice.random()
    if draw < 0.75:
        return JSON_TYPES[0]
    return dice.choice(JSON_TYPES if draw < 0.87 else OTHER_TYPES)


def atom(dice: Dice) -> bytes:
    """A scalar or an empty container, or nearly one."""
    return dice.choice(ATOMS)


def damaged(dice: Dice) -> bytes:
    """A valid body with one to three places cut, doubled, or overwritten."""
    return damage(dice, dice.choice(VALID))


def damage(dice: Dice, data: bytes) -> bytes:
    """The bytes with one to three places changed."""
    for _ in range(1 + int(dice.random() * 3)):
        at = int(dice.random() * (len(data) + 1))
        to = at + int(dice.random() * 6)
        match int(dice.random() * 4):
            case 0:
                data = data[:at] + data[to:]
            case 1:
                data = data[:at] + dice.choice(TOKENS) + data[at:]
            case 2:
                data = data[:at] + dice.choice(TOKENS) + data[to:]
            case _:
                data = data[:at]
    return data


def value(dice: Dice, depth: int = 3) -> bytes:
    """Any value by the grammar, with atoms that are no JSON among its leaves."""
    draw = dice.random()
    if depth == 0 or draw < 0.5:
        return atom(dice)
    size = int(dice.random() * 4)
    if draw < 0.75:
        return b"[" + b",".join(value(dice, depth - 1) for _ in range(size)) + b"]"
    return b"{" + b",".join(dice.choice(KEYS) + b":" + value(dice, depth - 1) for _ in range(size)) + b"}"


def mixed(dice: Dice) -> bytes:
    """An object whose keys are those of all formats at once, some twice, with values of any type."""
    count = 1 + int(dice.random() * 4)
    return b"{" + b",".join(dice.choice(KEYS) + b":" + value(dice, 2) for _ in range(count)) + b"}"


def row(dice: Dice) -> bytes:
    """A well-formed row for the model with a signature, one of whose values is of another type."""
    cells = {b'"x"': b"1.5", b'"n"': b"2", b'"s"': b'"a"'}
    cells[dice.choice(KEYS)] = atom(dice)
    inner = b",".join(key + b":" + cell for key, cell in cells.items())
    return b'{"dataframe_records":[{' + inner + b"}]}"


def valid(dice: Dice) -> bytes:
    """A body that some model here can score."""
    return dice.choice(VALID)


def nested(dice: Dice) -> bytes:
    """Arrays or objects in each other, up to tens of thousands deep, closed or not."""
    depth = dice.choice(DEPTHS)
    opening, closing = dice.choice(((b"[", b"]"), (b'{"a":', b"}"), (b'[{"x":', b"}]")))
    inner = opening * depth + dice.choice((b"", b"1", b'"')) + closing * dice.choice((depth, depth, 0, depth - 1))
    return inner if dice.random() < 0.5 else b'{"inputs":' + inner + b"}"


def encoded(dice: Dice) -> bytes:
    """A valid body in another encoding than UTF-8."""
    text = dice.choice(VALID).decode()
    return text.encode(dice.choice(ENCODINGS))


def csv(dice: Dice) -> bytes:
    """A table as CSV, whole or damaged."""
    data = dice.choice(CSV)
    return data if dice.random() < 0.4 else damage(dice, data)


def noise(dice: Dice) -> bytes:
    """Random bytes."""
    return dice.randbytes(int(dice.random() * 300))


def large(dice: Dice) -> bytes:
    """Hundreds of kilobytes that are nearly JSON."""
    size = 50_000 + int(dice.random() * 400_000)
    match int(dice.random() * 6):
        case 0:
            return b" " * size + dice.choice(VALID)
        case 1:
            return b'{"inputs":"' + b"a" * size
        case 2:
            return b"[" + b"1," * (size // 2)
        case 3:
            return b'{"inputs":' + b"9" * size + b"}"
        case 4:
            return b'{"dataframe_records":[' + b",".join([ROW] * (size // 100)) + b"]"
        case _:
            return bytes(size)


def huge(dice: Dice) -> bytes:
    """At the limit of 16 MiB, or over it."""
    size = (16 << 20) + dice.choice((-1, 0, 1, 1 << 20))
    return b'{"inputs":"' + b"a" * (size - 12) + b'"'


def from_schema(dice: Dice, schema: Schema, schemas: dict[str, Schema], depth: int = 6) -> Any:
    """A document by a JSON schema in which now and then a place holds something else, or is missing."""
    if dice.random() < 0.05 or depth == 0:
        return dice.choice(SCRAPS)
    if "$ref" in schema:
        return from_schema(dice, schemas[str(schema["$ref"]).rsplit("/", 1)[-1]], schemas, depth)
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return from_schema(dice, dice.choice(schema[choice]), schemas, depth)
    if "enum" in schema:
        return dice.choice(schema["enum"])
    match schema.get("type"):
        case "object":
            properties: dict[str, Schema] = schema.get("properties", {})
            required = schema.get("required", [])
            wanted = [k for k in properties if dice.random() < (0.95 if k in required else 0.35)]
            return {key: from_schema(dice, properties[key], schemas, depth - 1) for key in wanted}
        case "array":
            items: Schema = schema.get("items", {})
            return [from_schema(dice, items, schemas, depth - 1) for _ in range(int(dice.random() * 3))]
        case "string":
            return dice.choice(NAMES)
        case "integer" | "number":
            return dice.choice((0, 1, 4, 50, 100, -1, 10**12))
        case "boolean":
            return dice.random() < 0.5
        case _:
            return dice.choice(SCRAPS)


def document(dice: Dice, schema: Schema | None, schemas: dict[str, Schema]) -> Body:
    """A body for a management route: by its schema, or anything."""
    draw = dice.random()
    if schema is None or draw < 0.35:
        return body(dice)
    data = json.dumps(from_schema(dice, schema, schemas)).encode()
    return ("schema", data) if draw < 0.8 else ("damaged schema", damage(dice, data))


NAMES = (
    *("a", "fuzz-1", "fuzz-2", "missing", "", " ", "-", ".", "..", "../..", "a/b", "/etc/passwd", "%2e%2e", "a\x00b"),
    *("a\nb", "x" * 64, "x" * 300, "ü", "\ud800", "\u202e", "@", "@a", "1", "-1", "9" * 400, "models:/m/1", "Small"),
    *("m-1", "databricks-x", "pt", "{{secrets/a/b}}", "a@example.com", "CPU", "minute", "A", "0A", "true", "null"),
)
"""Strings for where a name, or any other text, is wanted. No model that there is has one of these names."""

SCRAPS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 10**30, -0.0, 1.5, float("nan"), float("inf"), "", "x", [], [[]], {}, {"a": 1}, [None]),
    *(["a"], [1, "1"], {"": {}}, "x" * 5000, list(range(200)), "\ud800", "a\0b"),
)

_KINDS: tuple[tuple[float, str, Callable[[Dice], bytes]], ...] = (
    (40, "damaged", damaged),
    (20, "atom", atom),
    (12, "mixed", mixed),
    (8, "noise", noise),
    (5, "encoded", encoded),
    (4, "csv", csv),
    (3, "row", row),
    (3, "valid", valid),
    (2, "nested", nested),
    (0.6, "large", large),
    (0.01, "huge", huge),
)
_TOTAL = sum(weight for weight, _, _ in _KINDS)
