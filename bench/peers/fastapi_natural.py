"""FastAPI and uvicorn by hand, as one would write it in an afternoon: the body's frame to pyfunc's predict.

python fastapi_natural.py MODEL PORT
"""

import sys
from typing import Any

import mlflow
import pandas as pd
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

model = mlflow.pyfunc.load_model(sys.argv[1])
app = FastAPI()


class Split(BaseModel):
    """A frame as MLflow's clients send it."""

    columns: list[str]
    data: list[list[Any]]


class Body(BaseModel):
    """The request."""

    dataframe_split: Split


@app.post("/invocations")
def predict(body: Body) -> dict[str, Any]:
    """Predict the rows of a frame."""
    frame = pd.DataFrame(body.dataframe_split.data, columns=body.dataframe_split.columns)
    return {"predictions": model.predict(frame).tolist()}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=False)
