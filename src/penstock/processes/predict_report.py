"""What a process found out that timed `predict` of one model, as it leaves it for the command."""

import msgspec

from penstock.client.load.latencies import Latencies

REPORT = "predict.json"
"""The file in its home where it tells."""


class PredictReport(msgspec.Struct, frozen=True):
    """What was found out about a model."""

    body: bytes
    """The body of a request that fits it: the one that was given, its example, or one made of its signature."""
    source: str
    """Which of these."""
    latencies: Latencies
    failure: str = ""
    """Why `predict` was not timed to the end."""
