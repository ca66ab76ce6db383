"""One process of the load generator: opens its connections, waits for the word, sends, tells what came of it.

It is given its plan as a line of JSON on standard input, and the word to begin as another; it tells its news on
standard output, a line each. If its standard input ends, so does it.
"""

import asyncio
import os
import signal
import sys

import msgspec
import uvloop

from penstock.client.load.plan import Ended, LoadPlan, News, Opened, Progress, Refused
from penstock.client.load.sender import Sender
from penstock.client.load.tally import Tally
from penstock.runtime.parent import die_with_parent


def main() -> None:
    """Do what standard input says."""
    die_with_parent(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the command's affair
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=LoadPlan)
    uvloop.run(_send(plan))


async def _send(plan: LoadPlan) -> None:
    sender = Sender(plan)
    try:
        await sender.open()
    except OSError as exc:
        _tell(Refused(_reason(exc)))
        return
    _tell(Opened())
    if await asyncio.to_thread(sys.stdin.buffer.readline):
        _tell(Ended(await sender.run(_tell_progress)))


def _tell_progress(tally: Tally) -> None:
    _tell(Progress(tally.good, tally.bad))


def _tell(news: News) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(news) + b"\n")
    sys.stdout.buffer.flush()


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "connections are not taken in time"
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


if __name__ == "__main__":
    main()
