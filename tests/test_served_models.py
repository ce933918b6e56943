"""The example models from load() to HTTP: trained, pinned, served by a real process, held to the pipeline."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import pytest

from function.contract import FITTED
from lifecycle.frames import raw_instances
from lifecycle.pinning import write_pin
from lifecycle.recipe import read_source
from tests.server import Server

ROWS_PER_REQUEST = 700


@pytest.mark.parametrize("name", ["churn", "reviews", "maintenance"])
def test_served_answers_equal_the_fitted_pipelines(name: str, trained: Callable[[str], Any], tmp_path: Path) -> None:
    """On the whole test frame, sent over HTTP, each label and probability is the fitted pipeline's own, bit for bit."""
    store, version = trained(name)
    manifest = version.manifest
    pipeline = joblib.load(io.BytesIO(store.get(f"{name}/1/{FITTED}").content))
    data = read_source(name).load()
    features = data.test[[feature.name for feature in manifest.signature.features]]
    instances = raw_instances(features, manifest.signature.features)
    environment = {"MODEL_STORE": store.url, "PIN_FILE": str(write_pin(version, tmp_path))}
    with Server(environment, tmp_path) as server:
        for start in range(0, len(instances), ROWS_PER_REQUEST):
            rows = slice(start, start + ROWS_PER_REQUEST)
            response = server.client.post("/predict", json={"instances": instances[rows]})
            assert response.status_code == 200, response.text
            answer = response.json()
            assert answer["predictions"] == pipeline.predict(features[rows]).tolist()
            chances = [list(row.values()) for row in answer["probabilities"]]
            assert chances == pipeline.predict_proba(features[rows]).tolist()
        assert [json.dumps(label) for label in server.client.get("/model").json()["classes"]] == [
            json.dumps(label) for label in pipeline.classes_.tolist()
        ]
