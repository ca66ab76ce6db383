"""mosec, coded as well as it can be: typed JSON, ndarray, bare estimator; of MLflow only the loader.

PEER_MODEL=MODEL PEER_KIND=sklearn PEER_BATCH=1 python mosec_best.py --port PORT
"""

import os
import warnings
from collections.abc import Callable
from typing import Any

import mlflow
import msgspec
import numpy as np
import pandas as pd
from mosec import Server, Worker

BATCH = int(os.environ["PEER_BATCH"])


class Split(msgspec.Struct):
    """A frame of numbers."""

    columns: list[str]
    data: list[list[float]]


class Body(msgspec.Struct):
    """The request."""

    dataframe_split: Split


class MixedSplit(msgspec.Struct):
    """A frame of anything."""

    columns: list[str]
    data: list[list[Any]]


class MixedBody(msgspec.Struct):
    """The request with such a frame."""

    dataframe_split: MixedSplit


class Answer(msgspec.Struct):
    """The answer."""

    predictions: list[Any]


Rows = list[list[Any]]
Predict = Callable[[Rows], list[Any]]


def load() -> Predict:
    """The shortest way from rows to predictions that the model allows."""
    folder = os.environ["PEER_MODEL"]
    match os.environ["PEER_KIND"]:
        case "noop":
            return lambda rows: [row[0] for row in rows]
        case "pipeline":
            pipeline = mlflow.sklearn.load_model(folder)
            columns = list(pipeline.feature_names_in_)
            return lambda rows: pipeline.predict(pd.DataFrame(rows, columns=columns)).tolist()
        case "xgboost":
            booster = mlflow.xgboost.load_model(folder).get_booster()
            booster.set_param({"nthread": 1})
            return lambda rows: (
                (booster.inplace_predict(np.array(rows, dtype=np.float32), validate_features=False) > 0.5)
                .astype(int)
                .tolist()
            )
        case _:
            estimator = mlflow.sklearn.load_model(folder)
            warnings.filterwarnings("ignore", message="X does not have valid feature names")
            return lambda rows: estimator.predict(np.array(rows)).tolist()


class BestWorker(Worker):
    """Typed decoding and encoding; one request at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.predict = load()
        kind = MixedBody if os.environ["PEER_KIND"] == "pipeline" else Body
        self.decoder = msgspec.json.Decoder(kind)
        self.encoder = msgspec.json.Encoder()

    def deserialize(self, data: bytes) -> Any:
        """Bytes to rows."""
        return self.decoder.decode(data).dataframe_split.data

    def serialize(self, data: Any) -> bytes:
        """Predictions to bytes."""
        return self.encoder.encode(Answer(data))

    def forward(self, data: Rows) -> list[Any]:
        """Predict rows."""
        return self.predict(data)


class BestBatchWorker(BestWorker):
    """The rows of several requests at a time."""

    def forward(self, data: list[Rows]) -> list[list[Any]]:  # type: ignore[override]
        """Predict the rows of all."""
        found = self.predict([row for rows in data for row in rows])
        answers, begin = [], 0
        for rows in data:
            answers.append(found[begin : begin + len(rows)])
            begin += len(rows)
        return answers


if __name__ == "__main__":
    server = Server()
    if BATCH > 1:
        server.append_worker(BestBatchWorker, num=1, max_batch_size=BATCH, max_wait_time=1)
    else:
        server.append_worker(BestWorker, num=1)
    server.run()
