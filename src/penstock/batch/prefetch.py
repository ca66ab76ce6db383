"""Reading ahead in a thread, by so many items and no more."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, Full, Queue
from typing import TypeVar

_T = TypeVar("_T")
_LOOK_S = 0.2


class _End:
    """No more comes; or what went wrong."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


@contextmanager
def prefetched(items: Iterator[_T], ahead: int) -> Iterator[Iterator[_T]]:
    """The same items, the next of which are made while one is worked on. The thread ends with the context."""
    queue: Queue[_T | _End] = Queue(ahead)
    stopped = threading.Event()

    def put(item: _T | _End) -> None:
        while not stopped.is_set():
            try:
                queue.put(item, timeout=_LOOK_S)
                return
            except Full:
                continue

    def fill() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
        except BaseException as exc:  # noqa: BLE001 - raised where the items are used
            put(_End(exc))
        else:
            put(_End())

    def drain() -> Iterator[_T]:
        while True:
            item = queue.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    thread = threading.Thread(target=fill, name="reader", daemon=True)
    thread.start()
    try:
        yield drain()
    finally:
        stopped.set()
        while not queue.empty():
            try:
                queue.get_nowait()
            except Empty:
                break
        thread.join()
