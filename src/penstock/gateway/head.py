"""The head of a request, and a memory of heads: a client sends the same one again and again, byte for byte.

What follows from a head depends on nothing but its bytes, so one that has been parsed before is looked up and not
parsed again. Most requests of a client that keeps its connection are read so.
"""

MAX_HEAD_BYTES = 64 << 10
_END = b"\r\n\r\n"
_MAX_REMEMBERED = 1024
_MAX_REMEMBERED_BYTES = 4 << 10
"""Of one head: all together take at most 4 MiB, and the objects that were made of them some more."""

_NOTED = frozenset(
    (b"authorization", b"content-type", b"content-length", b"content-encoding", b"expect", b"traceparent")
)

Key = tuple[bytes, bytes, bytes | None, bytes | None]


class Head:
    """What a request says before its body. Shared by all requests that say the same; not to be changed."""

    __slots__ = (
        "authorization",
        "content_encoding",
        "content_length",
        "content_type",
        "expects_continue",
        "headers",
        "keep_alive",
        "key",
        "method",
        "target",
        "traceparent",
        "version",
    )

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.version = "1.1"
        self.headers: list[tuple[bytes, bytes]] = []
        self.authorization: bytes | None = None
        self.content_type: bytes | None = None
        self.content_encoding: bytes | None = None
        self.content_length: int | None = None
        self.expects_continue = False
        self.traceparent: bytes | None = None
        self.keep_alive = True
        self.key: Key = (b"", b"", None, None)
        """What decides where it goes and for whom: method, target, authorization, content type."""

    def take(self, name: bytes, value: bytes) -> None:
        """A header came."""
        self.headers.append((name, value))
        if (field := name.lower()) in _NOTED:
            self._note(field, value)

    def _note(self, field: bytes, value: bytes) -> None:
        match field:
            case b"authorization":
                self.authorization = value
            case b"content-type":
                self.content_type = value
            case b"content-length":
                self.content_length = int(value)
            case b"content-encoding":
                self.content_encoding = (
                    value if self.content_encoding is None else self.content_encoding + b", " + value
                )
            case b"traceparent":
                self.traceparent = value
            case b"expect":
                self.expects_continue = value.lower() == b"100-continue"

    def complete(self, method: bytes, version: str, *, keep_alive: bool) -> None:
        """It is whole."""
        self.method = method
        self.version = version
        self.keep_alive = keep_alive
        self.key = (method, self.target, self.authorization, self.content_type)

    @property
    def is_plain(self) -> bool:
        """Whether a body of known length follows it at once and nothing else about it is special."""
        return (
            bool(self.content_length)
            and self.keep_alive
            and not self.expects_continue
            and self.content_encoding is None
            and self.traceparent is None  # another for each request: there is nothing to remember
        )


class KnownHeads:
    """Heads of requests that have been parsed, by their bytes. When it is full it forgets them all."""

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[bytes, Head] | None:
        """The bytes of the head and what they say, if these are one whole request whose head is known."""
        encoded = data[: data.find(_END) + len(_END)]
        head = self._heads.get(encoded)
        if head is None or len(data) - len(encoded) != head.content_length:
            return None
        return encoded, head

    def remember(self, head: Head, data: bytes) -> None:
        """Keep what the parser made of the head of `data`, which held this one request and nothing else.

        A head whose lines end in anything but CR LF is not kept: its end might not be where `find` looks for it.
        """
        end = data.find(_END) + len(_END)
        lines = data.count(b"\r\n", 0, end)
        is_clear = (
            head.is_plain
            and len(_END) < end <= _MAX_REMEMBERED_BYTES
            and len(data) - end == head.content_length
            and data.startswith(head.method + b" ")
            and data.count(b"\n", 0, end) == data.count(b"\r", 0, end) == lines
        )
        if is_clear:
            if len(self._heads) >= _MAX_REMEMBERED:
                self._heads.clear()
            self._heads[data[:end]] = head
