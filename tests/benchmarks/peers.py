"""Peers that need packages of their own, each in an environment that is made once from its requirements.txt."""

import json
from pathlib import Path

from tests import environments
from tests.benchmarks.versions import ROOT, Version

HERE = Path(__file__).parent


def onnx(version: Version) -> tuple[Path, Path]:
    """Return the scripts folder of onnxruntime's environment, and the version's fitted pipeline as ONNX."""
    scripts = environments.scripts(HERE / "onnx" / "requirements.txt")
    columns = {feature["name"]: feature["type"] == "text" for feature in version.manifest()["signature"]["features"]}
    folder = version.pins / "onnx"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "columns.json").write_text(json.dumps(columns))
    files = (version.folder / "model.joblib", folder / "columns.json", folder / "model.onnx")
    # A pipeline may refer to functions in its train.py.
    environments.run([scripts / "python", HERE / "onnx" / "convert.py", *files], {"PYTHONPATH": str(ROOT)})
    return scripts, files[-1]
