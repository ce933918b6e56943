"""Converts a fitted pipeline to ONNX: python convert.py model.joblib columns.json model.onnx.

`columns.json` names the input columns in order and whether they hold text; numbers become float32, as skl2onnx asks.
A model that takes only numbers gets them as one matrix, which onnxruntime answers quickest.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import onnxruntime
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.feature_extraction.text import TfidfVectorizer


def convert(pipeline: Any, columns: dict[str, bool]) -> bytes:
    """Return the model as ONNX, probabilities as one matrix."""
    # A fixed threshold has no ONNX form; what it decides about has, and gives the same probabilities.
    pipeline = getattr(pipeline, "estimator_", pipeline)
    if any(columns.values()):
        types = [(name, (StringTensorType if text else FloatTensorType)([None, 1])) for name, text in columns.items()]
    else:
        types = [("numbers", FloatTensorType([None, len(columns)]))]
    # Its default locale, en_US, few containers have.
    options = {id(part): {"locale": "C.UTF-8"} for part in parts(pipeline) if isinstance(part, TfidfVectorizer)}
    if hasattr(pipeline, "predict_proba"):
        options[id(pipeline)] = {"zipmap": False}
    content: bytes = to_onnx(pipeline, initial_types=types, options=options).SerializeToString()
    onnxruntime.InferenceSession(content)  # a conversion that nothing can load is none
    return content


def parts(estimator: Any) -> Iterator[Any]:
    """Yield an estimator, and what is inside of it where it is a pipeline or a column transformer."""
    yield estimator
    steps = [*getattr(estimator, "steps", []), *getattr(estimator, "transformers_", [])]
    for _, step, *_ in steps:
        yield from parts(step)


if __name__ == "__main__":
    source, columns_file, target = map(Path, sys.argv[1:])
    target.write_bytes(convert(joblib.load(source), json.loads(columns_file.read_text())))
