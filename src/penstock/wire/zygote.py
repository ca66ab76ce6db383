"""What the supervisor and the fork server say to each other: one JSON document a packet, descriptors along with it.

The supervisor sends `Fork`; the process that was made of it answers `Forked` itself. The first descriptor is a file
with the environment as a JSON object; each of the others takes the number that is said for it.
"""

import msgspec

MAX_PACKET_BYTES = 64 << 10


class Fork(msgspec.Struct, frozen=True):
    """Make a process."""

    id: int
    folder: str
    """Where it is to run."""
    descriptors: list[int]
    """The number in the new process of each descriptor but the first."""


class Forked(msgspec.Struct, frozen=True):
    """The process of the request of this id."""

    id: int
    pid: int


forks = msgspec.json.Decoder(Fork)
answers = msgspec.json.Decoder(Forked)
