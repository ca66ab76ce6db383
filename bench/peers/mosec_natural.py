"""mosec, coded the natural way: the body's frame to pyfunc's predict; with a batch size, the rows of a batch together.

PEER_MODEL=MODEL PEER_BATCH=1 python mosec_natural.py --port PORT
"""

import os
from typing import Any

import mlflow
import pandas as pd
from mosec import Server, Worker

BATCH = int(os.environ["PEER_BATCH"])


class Predict(Worker):
    """One frame at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.model = mlflow.pyfunc.load_model(os.environ["PEER_MODEL"])

    def forward(self, data: dict[str, Any]) -> dict[str, Any]:
        """Predict the rows of a frame."""
        return {"predictions": self.model.predict(frame_of(data)).tolist()}


class PredictBatch(Predict):
    """The frames of several requests as one."""

    def forward(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:  # type: ignore[override]
        """Predict the rows of all."""
        frames = [frame_of(one) for one in data]
        found = self.model.predict(pd.concat(frames, ignore_index=True)).tolist()
        answers, begin = [], 0
        for frame in frames:
            answers.append({"predictions": found[begin : begin + len(frame)]})
            begin += len(frame)
        return answers


def frame_of(data: dict[str, Any]) -> pd.DataFrame:
    """The frame of a body."""
    split = data["dataframe_split"]
    return pd.DataFrame(split["data"], columns=split["columns"])


if __name__ == "__main__":
    server = Server()
    if BATCH > 1:
        server.append_worker(PredictBatch, num=1, max_batch_size=BATCH, max_wait_time=1)
    else:
        server.append_worker(Predict, num=1)
    server.run()
