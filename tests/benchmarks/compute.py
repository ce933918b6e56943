"""Compute alone, in a process of its own: python -m tests.benchmarks.compute FOLDER < instances.jsonl.

Both engines get the same rows of a version, scikit-learn its frame ready-made; prints the medians in milliseconds.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib

from function.contract import Manifest
from function.engines.numpy_engine import read_compiled
from function.engines.sklearn_engine import input_builder
from function.validation import Instances, Validator

ROUNDS = 15
SECONDS = 20.0


def compute_ms(folder: Path, instances: list[dict[str, Any]]) -> dict[str, float]:
    """Return the milliseconds that the compiled model and the fitted pipeline take for the same rows."""
    signature = Manifest.model_validate_json((folder / "manifest.json").read_bytes()).signature
    method = "predict_proba" if "predict_proba" in signature.methods else "predict"
    columns = Validator(signature).columns(Instances(instances, str))
    frame = input_builder(signature)(columns)
    engine = read_compiled((folder / "model.npz").read_bytes())
    fitted = getattr(joblib.load(folder / "model.joblib"), method)
    return interleaved({"numpy": lambda: engine.predict(columns, (method,)), "sklearn": lambda: fitted(frame)})


def interleaved(tasks: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median milliseconds of each task; one after the other in turns, so that noise hits all alike."""
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    end = time.perf_counter() + SECONDS
    for turn in range(ROUNDS + 1):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            if turn:  # the first one warms up
                taken[name].append((time.perf_counter() - start) * 1000)
        if turn > 1 and time.perf_counter() > end:
            break
    return {name: statistics.median(values) for name, values in taken.items()}


if __name__ == "__main__":
    json.dump(compute_ms(Path(sys.argv[1]), [json.loads(line) for line in sys.stdin]), sys.stdout)
