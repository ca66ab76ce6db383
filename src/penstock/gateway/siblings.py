"""The other gateways of the same home: what they hold of calls whose clients left is heard here, and asked for.

Each has a socket of its own, which dies with its process: whoever waits there for an answer learns at once that none
will come. What a sibling holds is heard from it alone, from the beginning whenever it comes up.

    the request that comes again -> the sibling that holds what it left -> its answer, passed on as it comes
                                         | does not hold it any more: the request goes on as any other does
                                         | is lost: so it does, if the model may be asked twice; else it has failed
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence

import aiohttp
import msgspec

from penstock.domain.errors import InternalError
from penstock.gateway.elsewhere import Elsewhere, Found
from penstock.gateway.exchange import Exchange
from penstock.gateway.proxy import hand_on
from penstock.wire.siblings import HELD_PATH, changes
from penstock.wire.sockets import SocketFolder, gateway_socket

_RETRY_S = 0.2
_GRACE_S = 5.0
"""How much later than at the time limit an answer may come from a sibling that is busy."""
_URL = f"http://sibling{HELD_PATH}"
_NOT_HELD = 204

_log = logging.getLogger(__name__)


class Siblings:
    """Hears what siblings say, and asks them."""

    def __init__(self, sockets: SocketFolder, names: Sequence[str]) -> None:
        self.elsewhere = Elsewhere()
        self._sessions = {name: _session(sockets.address(gateway_socket(name))) for name in names}
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self) -> None:
        """Hear them from now on."""
        for sibling in self._sessions:
            self._spawn(self._follow(sibling))

    def ask(self, found: Found, exchange: Exchange, go_on: Callable[[], None]) -> None:
        """Give a client the answer that a sibling holds or waits for.

        Args:
            found: who holds what its request left.
            exchange: the client's.
            go_on: has the request done as any other, if there is no such answer.
        """
        task = self._spawn(self._ask(found, exchange, go_on))

        def leave() -> None:
            task.cancel()

        exchange.on_gone = leave

    async def close(self) -> None:
        """Hear and ask nobody any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for session in self._sessions.values():
            await session.close()

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _follow(self, sibling: str) -> None:
        while True:
            try:
                async with self._sessions[sibling].get(_URL, raise_for_status=True) as response:
                    async for line in response.content:
                        self.elsewhere.note(sibling, changes.decode(line))
            except (aiohttp.ClientError, OSError, ValueError, msgspec.MsgspecError) as exc:
                _log.debug("%s is not heard: %s", sibling, exc)
            finally:
                self.elsewhere.forget(sibling)
            await asyncio.sleep(_RETRY_S)

    async def _ask(self, found: Found, exchange: Exchange, go_on: Callable[[], None]) -> None:
        sibling, held = found
        left_s = max(held.ends_by_s - asyncio.get_running_loop().time(), 0)
        patience = aiohttp.ClientTimeout(sock_read=left_s + _GRACE_S)
        is_lost = False
        try:
            async with self._sessions[sibling].post(f"{_URL}/{held.request_id}", timeout=patience) as response:
                if response.status != _NOT_HELD:
                    await hand_on(response, exchange)
                    return
        except (aiohttp.ClientError, OSError) as exc:
            _log.warning("%s was lost with the answer to request %s: %s", sibling, held.request_id, exc)
            if exchange.has_begun_to_answer:
                exchange.break_off()
                return
            is_lost = True
        self.elsewhere.strike(found)
        with exchange.answering_for_mistakes():
            if is_lost and not held.is_idempotent:
                exchange.refuse(_lost())
            else:
                go_on()


def _lost() -> InternalError:
    return InternalError(
        "The gateway that waited for the answer to this request ended. The model may have worked on it already and "
        "is not known to be one that may be asked twice."
    )


def _session(address: str) -> aiohttp.ClientSession:
    """A new connection for each request: one that was kept could be found closed, as if its gateway were lost."""
    return aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(address, limit=0, force_close=True),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
