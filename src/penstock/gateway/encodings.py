"""Bodies that come compressed: unpacked piece by piece, never to more than they may be.

`Content-Encoding` is gzip or deflate; of deflate both forms that clients send, with a zlib header and without. A body
that ends before its end, or goes on after it, is refused like one that is no gzip at all.
"""

import zlib

from penstock.domain.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType

_GZIP_BITS = 31
_ZLIB_BITS = 15
_RAW_BITS = -15
_ZLIB_METHOD = 8


class Unpacker:
    """Unpacks one body."""

    def __init__(self, name: str, window_bits: int | None, limit_bytes: int) -> None:
        """`window_bits` tell zlib which form to expect; None waits for the first byte of a deflated body to tell."""
        self._name = name
        self._limit = limit_bytes
        self._room = limit_bytes
        self._stream = None if window_bits is None else zlib.decompressobj(window_bits)

    def feed(self, data: bytes) -> bytes:
        """What the next piece unpacks to.

        Raises:
            BadRequest: it is not packed so.
            PayloadTooLarge: it unpacks to more than it may.
        """
        if self._stream is None:
            self._stream = zlib.decompressobj(_ZLIB_BITS if data[0] & 0x0F == _ZLIB_METHOD else _RAW_BITS)
        if self._stream.eof:
            raise self._bad("it goes on after its end")
        try:
            unpacked = self._stream.decompress(data, self._room + 1)
        except zlib.error as exc:
            raise self._bad(str(exc)) from exc
        self._room -= len(unpacked)
        if self._room < 0:
            del unpacked  # the error is kept for a while, and with it what this frame holds
            raise PayloadTooLarge(f"The request body unpacks to more than the limit of {self._limit} bytes.")
        if self._stream.unused_data:
            raise self._bad("it goes on after its end")
        return unpacked

    def finish(self) -> None:
        """The body is whole.

        Raises:
            BadRequest: what was packed is not.
        """
        if self._stream is None or not self._stream.eof:
            raise self._bad("it is cut off")

    def _bad(self, why: str) -> BadRequest:
        return BadRequest(f"The request body is not {self._name}, as its Content-Encoding says: {why}.")


_BITS = {b"gzip": _GZIP_BITS, b"x-gzip": _GZIP_BITS, b"deflate": None}


def unpacker_of(content_encoding: bytes | None, limit_bytes: int) -> Unpacker | None:
    """What unpacks a body of that Content-Encoding; None if it is not packed.

    Raises:
        UnsupportedMediaType: it is packed in a way that is not known here, or in several.
    """
    name = (content_encoding or b"identity").strip().lower()
    if name in {b"identity", b""}:
        return None
    if name not in _BITS:
        shown = name[:40].decode("latin-1")
        raise UnsupportedMediaType(f"Content-Encoding: got '{shown}'; wanted gzip, deflate or none.")
    return Unpacker(name.decode(), _BITS[name], limit_bytes)
