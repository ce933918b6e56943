"""Converts a fitted pipeline to ONNX: python convert.py model.joblib columns.json model.onnx.

`columns.json` names the input columns in order and whether they hold text; numbers become float32, as skl2onnx asks.
A model that takes only numbers gets them as one matrix, which onnxruntime answers quickest.
"""

import json
import sys
from pathlib import Path
from typing import Any

import joblib
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType


def convert(pipeline: Any, columns: dict[str, bool]) -> bytes:
    """Return the model as ONNX, probabilities as one matrix."""
    # A fixed threshold has no ONNX form; what it decides about has, and gives the same probabilities.
    pipeline = getattr(pipeline, "estimator_", pipeline)
    if any(columns.values()):
        types = [(name, (StringTensorType if text else FloatTensorType)([None, 1])) for name, text in columns.items()]
    else:
        types = [("numbers", FloatTensorType([None, len(columns)]))]
    options = {"zipmap": False} if hasattr(pipeline, "predict_proba") else None
    model = to_onnx(pipeline, initial_types=types, options=options)
    content: bytes = model.SerializeToString()
    return content


if __name__ == "__main__":
    source, columns_file, target = map(Path, sys.argv[1:])
    target.write_bytes(convert(joblib.load(source), json.loads(columns_file.read_text())))
