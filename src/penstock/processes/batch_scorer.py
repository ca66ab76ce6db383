"""A process that scores chunks of a batch run: it is told which model, then asked chunk after chunk over a socket."""

import os
import sys
from multiprocessing.connection import Connection

import msgspec
import pyarrow as pa

from penstock.batch.isolation import Unscorable
from penstock.batch.model import BatchModel, ModelCall
from penstock.batch.scorers import Answer, packed, unpacked
from penstock.runtime.parent import die_with_parent


def main() -> None:
    """Answer until nobody asks any more; arguments are the socket's number and the parent's."""
    die_with_parent(int(sys.argv[2]))
    connection = Connection(int(sys.argv[1]))
    model = BatchModel(msgspec.json.decode(connection.recv_bytes(), type=ModelCall))
    connection.send_bytes(b"loaded")
    while True:
        try:
            table = unpacked(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)  # what the model has started is not waited for
        try:
            scored = model.score(table)
        except Unscorable as exc:
            connection.send_bytes(msgspec.json.encode(Answer([], False, str(exc))))
            continue
        failures = [(failure.at, failure.reason) for failure in scored.failures]
        connection.send_bytes(msgspec.json.encode(Answer(failures, scored.columns is not None)))
        if scored.columns is not None:
            names = [str(number) for number in range(len(scored.columns))]
            connection.send_bytes(packed(pa.table(scored.columns, names=names)))


if __name__ == "__main__":
    main()
