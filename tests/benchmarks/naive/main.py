"""The handler that everyone writes first: load lazily, build a frame, predict; no checks and no log line."""

import os
from typing import Any

import functions_framework
import joblib
import pandas as pd
from flask import Request

pipeline: Any = None


@functions_framework.http
def predict(request: Request) -> dict[str, Any]:
    """Answer every instance with its label and, for a classifier, its probabilities."""
    global pipeline
    if pipeline is None:
        pipeline = joblib.load(os.environ["MODEL_FILE"])
    frame = pd.DataFrame(request.get_json()["instances"])
    answer = {"predictions": pipeline.predict(frame).tolist()}
    if hasattr(pipeline, "predict_proba"):
        answer["probabilities"] = pipeline.predict_proba(frame).tolist()
    return answer
