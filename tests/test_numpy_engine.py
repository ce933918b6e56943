"""The engine of compiled models: what it refuses to read, what it imports, and that NumPy is all it needs."""

import contextlib
import io
import json
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from function.contract import COMPILED
from function.engines.numpy_engine import NumpyEngine, read_compiled
from function.engines.operations import CompiledInvalid
from function.store import open_store
from lifecycle.pinning import bake, write_pin
from lifecycle.proof import compile_and_prove
from lifecycle.versions import Version
from tests.cloud import CloudDouble
from tests.server import ROOT, Server
from tests.test_endpoint import GOOD
from tests.toys import TOYS, publish_toy

# What the serving process does without: the first when the version is compiled, the second when it is baked in too.
SCIENTIFIC = ("sklearn", "scipy", "pandas", "joblib", "pyarrow", "threadpoolctl")
CLOUD = ("google", "grpc")
FRAMEWORKS_OWN = ("google", "google.cloud", "google.cloud.functions", "google.cloud.functions_v1")
COLUMNS = {
    "age": [40, 31],
    "income": [None, 3.5],
    "city": ["Bern", "Rom"],
    "member": [True, False],
    "plan": ["paid"] * 2,
}


@pytest.fixture(scope="module")
def compiled() -> bytes:
    """Return the compiled model of mixed columns."""
    from lifecycle.signature import learn_features, learn_signature

    toy = TOYS["binary"]()
    signature = learn_signature(
        toy.pipeline, toy.features, learn_features(toy.features, {}), toy.targets, "classification"
    )
    file = io.BytesIO()
    import joblib

    joblib.dump(toy.pipeline, file)
    content, _ = compile_and_prove(file.getvalue(), signature, [toy.features])
    assert content
    return content


def arrays_of(content: bytes) -> dict[str, np.ndarray]:
    """Return the arrays of a .npz."""
    with np.load(io.BytesIO(content)) as archive:
        return dict(archive)


def packed(arrays: dict[str, np.ndarray], **options: Any) -> bytes:
    """Return a .npz of arrays."""
    file = io.BytesIO()
    (np.savez_compressed if options.get("compressed") else np.savez)(file, **arrays)
    return file.getvalue()


def changed(content: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """Return a compiled model whose program was changed."""
    arrays = arrays_of(content)
    program = json.loads(bytes(arrays["program"]))
    change(program)
    return packed({**arrays, "program": np.frombuffer(json.dumps(program).encode(), np.uint8)})


def operation(program: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the first operation of a name."""
    return next(step for step in program["operations"] if step["operation"] == name)


def huge_header() -> bytes:
    """Return an archive with an array that claims a petabyte."""
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "<f8", "fortran_order": False, "shape": (10**14,)})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("program.npy", array.getvalue())
    return file.getvalue()


def words(pattern: str) -> Callable[[bytes], bytes]:
    """Return the change that appends an operation with a pattern."""
    parameters = {"pattern": pattern, "shortest": 1, "longest": 1, "ignored": []}
    step = {"operation": "words", "inputs": [0], "parameters": parameters, "arrays": {}}
    return lambda content: changed(content, lambda program: program["operations"].append(step))


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "text": lambda content: b"PK\x03\x04 and no more",
    "cut": lambda content: content[: len(content) // 2],
    "pickle": lambda content: packed({"program": np.array([{"a": 1}], dtype=object)}),
    "compressed": lambda content: packed({"program": np.zeros(10_000_000, np.uint8)}, compressed=True),
    "petabyte": lambda content: huge_header(),
    "long-and-empty": lambda content: packed({**arrays_of(content), "empty": np.empty((10**13, 0))}),
    "no-program": lambda content: packed({"other": np.zeros(3)}),
    "no-json": lambda content: packed({"program": np.zeros(3, np.uint8)}),
    "deep-json": lambda content: packed({"program": np.frombuffer(b"[" * 100_000, np.uint8)}),
    "other-format": lambda content: changed(content, lambda p: p.update(format=2)),
    "no-methods": lambda content: changed(content, lambda p: p.pop("methods")),
    "unknown-operation": lambda content: changed(content, lambda p: p["operations"][0].update(operation="__import__")),
    "unknown-module": lambda content: changed(content, lambda p: p["operations"][0].update(operation="os.system")),
    "forward-register": lambda content: changed(content, lambda p: p["operations"][0].update(inputs=[99])),
    "own-register": lambda content: changed(content, lambda p: p["operations"][0].update(inputs=[5])),
    "negative-register": lambda content: changed(content, lambda p: p["operations"][0].update(inputs=[-1])),
    "no-register": lambda content: changed(content, lambda p: p["methods"].update(predict=True)),
    "no-array": lambda content: changed(content, lambda p: operation(p, "affine").update(arrays={})),
    "other-array": lambda content: changed(
        content, lambda p: operation(p, "affine")["arrays"].update(intercept="program")
    ),
    "wide-one-hot": lambda content: changed(
        content, lambda p: operation(p, "one_hot")["parameters"].update(width=10**12)
    ),
    "place-outside": lambda content: changed(
        content, lambda p: operation(p, "one_hot")["parameters"]["places"][0].__setitem__(0, 99)
    ),
    "list-as-number": lambda content: changed(
        content, lambda p: operation(p, "above")["parameters"].update(threshold=[0])
    ),
    "endless-pattern": words(r"(\w+)+$"),
    "backreference": words(r"(\w)\1"),
    "no-pattern": words("(["),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_compiled_model_is_refused(case: str, compiled: bytes) -> None:
    """Whatever a file holds, nothing of it is executed or allocated: it is refused, and the message says why."""
    with pytest.raises(CompiledInvalid) as caught:
        read_compiled(HOSTILE[case](compiled))
    assert 0 < len(str(caught.value)) < 400


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=8))
def test_flipped_bytes_are_refused_or_harmless(places: list[tuple[int, int]], compiled: bytes) -> None:
    """Damaged bytes give a refusal or a model that answers or refuses a row: never another error, never a hang."""
    content = bytearray(compiled)
    for place, value in places:
        content[place % len(content)] = value
    answers_or_refuses(bytes(content))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_programs_are_refused_or_harmless(data: st.DataObject, compiled: bytes) -> None:
    """A program with any one value replaced by any other is refused, or answers or refuses a row."""
    junk = st.one_of(
        st.none(), st.booleans(), st.integers(-3, 10**9), st.floats(), st.text(max_size=3), st.just([]), st.just({})
    )

    def change(program: dict[str, Any]) -> None:
        step = data.draw(st.sampled_from(program["operations"]))
        part = data.draw(st.sampled_from([step, step["parameters"], step["arrays"]]))
        if part:
            part[data.draw(st.sampled_from(sorted(part)))] = data.draw(junk)

    answers_or_refuses(changed(compiled, change))


def answers_or_refuses(content: bytes) -> None:
    """Read a damaged model and ask it; its own refusal and any error of a prediction are fine."""
    try:
        engine = read_compiled(content)
    except CompiledInvalid:
        return
    try:
        engine.predict(COLUMNS, engine.methods)  # type: ignore[arg-type]
    except Exception as error:
        assert not isinstance(error, MemoryError)


def program_of(operations: list[dict[str, Any]], arrays: dict[str, np.ndarray], output: int) -> NumpyEngine:
    """Return the engine of a program with one input."""
    program = {"format": 1, "inputs": ["x"], "operations": operations, "methods": {"predict": output}}
    return read_compiled(packed({**arrays, "program": np.frombuffer(json.dumps(program).encode(), np.uint8)}))


def step(name: str, *inputs: int, parameters: dict[str, Any] | None = None, **arrays: str) -> dict[str, Any]:
    """Return an operation as a program holds it."""
    return {"operation": name, "inputs": list(inputs), "parameters": parameters or {}, "arrays": arrays}


def test_a_matrix_that_doubles_again_and_again_is_refused() -> None:
    """A file of a kilobyte that asks for 2**40 columns is answered by an error, not by the end of memory."""
    numbers = step("numbers", 0, parameters={"dtype": "f8"})
    wide = program_of([numbers, *(step("concatenate", at, at) for at in range(1, 41))], {}, 41)
    with pytest.raises(ValueError, match="columns"):
        wide.predict({"x": [1.0]}, ["predict"])
    sparse = program_of(
        [numbers, *(step("join", at, at, widths="w") for at in range(1, 31))], {"w": np.ones(2, int)}, 31
    )
    with pytest.raises(ValueError, match="numbers"):
        sparse.predict({"x": [1.0]}, ["predict"])


def test_what_takes_much_memory_a_row_is_computed_in_fewer_rows() -> None:
    """A model with a megabyte a row gives the same for two thousand rows as for one, and never holds them all."""
    width = 1 << 17
    arrays = {"w": np.ones((1, width)), "b": np.zeros(width)}
    operations = [
        step("numbers", 0, parameters={"dtype": "f8"}),
        step("affine", 1, weights="w", intercept="b"),
        step("largest", 2),
    ]
    engine = program_of(operations, arrays, 3)
    tracemalloc.start()
    try:
        assert engine.predict({"x": [1.0] * 2_000}, ["predict"]) == {"predict": [0] * 2_000}
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 30


def test_only_what_is_asked_for_is_computed(compiled: bytes) -> None:
    """A prediction runs the operations that its methods need, and no others."""
    engine = read_compiled(compiled)
    lengths = {method: len(engine._schedule((method,))) for method in engine.methods}
    assert lengths["decision_function"] < lengths["predict_proba"]


def test_numpy_is_all_it_needs(compiled: bytes, tmp_path: Path) -> None:
    """In an environment that holds NumPy and nothing else, the engine's folder and model.npz give the same answers."""
    packages = Path(np.__file__).parent.parent
    for part in ("numpy", "numpy.libs"):
        if (packages / part).exists():
            shutil.copytree(packages / part, tmp_path / "packages" / part)
    ignored = shutil.ignore_patterns("sklearn_engine.py", "__pycache__")
    shutil.copytree(ROOT / "function" / "engines", tmp_path / "packages/function/engines", ignore=ignored)
    (tmp_path / COMPILED).write_bytes(compiled)
    code = (
        "import sys, json; sys.path[:] = [p for p in sys.path if 'site-packages' not in p] + ['packages']\n"
        "from function.engines.numpy_engine import read_compiled\n"
        f"engine = read_compiled(open({COMPILED!r}, 'rb').read())\n"
        f"print(json.dumps(engine.predict({COLUMNS!r}, engine.methods)))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    engine: NumpyEngine = read_compiled(compiled)
    assert json.loads(done.stdout) == engine.predict(COLUMNS, engine.methods)  # type: ignore[arg-type]


def test_a_baked_compiled_version_imports_no_heavy_package(
    store: Any, published: Callable[[str], Version], tmp_path: Path
) -> None:
    """From start to the first answer the real process imports neither scikit-learn nor pandas nor a cloud's client."""
    version = published("binary")
    bake(store, version, tmp_path)
    environment = {"MODEL_STORE": "gs://nowhere", "PIN_FILE": str(write_pin(version, tmp_path))}
    imported = imported_by_serving(environment, "image", tmp_path)
    foreign = {name for name in imported if name.removesuffix(".context") not in FRAMEWORKS_OWN}
    assert not [name for name in foreign if name.partition(".")[0] in (*SCIENTIFIC, *CLOUD)]


def test_a_compiled_version_from_a_bucket_adds_the_storage_client_alone(cloud: CloudDouble, tmp_path: Path) -> None:
    """From a bucket, Google's storage client is imported with what it needs itself, and nothing that fits models."""
    with contextlib.closing(open_store("gs://models/prefix")) as store:
        pin = write_pin(publish_toy(store, "binary", TOYS["binary"]()), tmp_path)
    environment = {**cloud.environment, "MODEL_STORE": store.url, "PIN_FILE": str(pin)}
    imported = imported_by_serving(environment, "store", tmp_path)
    assert "google.cloud.storage" in imported
    assert not [name for name in imported if name.startswith(("google.cloud.logging", "google.cloud.logging_v2"))]
    assert not [name for name in imported if name.partition(".")[0] in SCIENTIFIC]


def imported_by_serving(environment: dict[str, str], source: str, folder: Path) -> set[str]:
    """Return the modules that a real process imports from its start to its first answer, by the compiled model."""
    with Server({**environment, "PYTHONPROFILEIMPORTTIME": "1"}, folder) as server:
        assert server.client.post("/predict", json=GOOD).status_code == 200
        assert server.wait_for_records("load", 1)[0]["source"] == source
        assert server.wait_for_records("prediction", 1)[0]["engine"] == "numpy"
    lines = b"".join(server.errors).decode().splitlines()
    imported = {line.rsplit("|", 1)[1].strip() for line in lines if line.startswith("import time:")}
    assert "numpy" in imported
    return imported
