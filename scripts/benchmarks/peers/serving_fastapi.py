"""Runs in the peers' own environment: FastAPI in front of onnxruntime.

uvicorn serving_fastapi:app     (SERVED_ARTIFACT=model.onnx)
"""

from fastapi import FastAPI
from pydantic import BaseModel
from serving_onnx import Forest

app = FastAPI()
forest = Forest()


class Rows(BaseModel):
    """Features of each row."""

    rows: list[list[float]]


class Probabilities(BaseModel):
    """Of each row's classes."""

    probabilities: list[list[float]]


@app.post("/predict")
async def predict(asked: Rows) -> Probabilities:
    """Without a thread of its own, since the model takes less time than to start one."""
    return Probabilities(probabilities=forest.predict_proba(asked.rows))
