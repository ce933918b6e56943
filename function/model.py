"""The warm global: fetches the pinned version, verifies it, loads it once, replays its golden examples, keeps it."""

import asyncio
import contextlib
import hashlib
import math
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from function.contract import (
    BLOBS,
    COMPILED,
    FITTED,
    GOLDEN,
    MANIFEST,
    TOLERANCE,
    GoldenExample,
    Manifest,
    Method,
    Pin,
    Signature,
)
from function.engines import Engine, Outputs
from function.errors import InvalidInstances, ModelUnavailable
from function.store import Store, StoreError
from function.validation import Instances, Validator

LONGEST_PAUSE_SECONDS = 30.0
PARTS = ("import", "fetch", "verify", "load", "replay")


class LoadFailed(Exception):
    """The pinned version cannot be served; the message is for callers, the cause is for the operator's log."""


@dataclass
class Timings:
    """Where the time of a load went, in milliseconds, and where the bytes came from."""

    source: str = "store"
    parts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))

    @contextlib.contextmanager
    def measured(self, part: str) -> Iterator[None]:
        """Add the time of a block to one part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.parts[part] += (time.perf_counter() - start) * 1000


@dataclass(frozen=True)
class Model:
    """A loaded model version: all that a prediction needs."""

    manifest: Manifest
    engine: Engine
    validator: Validator
    files: "VersionFiles"
    first_row_ms: float  # measured when the golden examples were replayed
    next_row_ms: float

    @property
    def signature(self) -> Signature:
        """The names, types, categories and ranges of its inputs and outputs."""
        return self.manifest.signature

    def read(self, name: str) -> bytes:
        """Return a file of the version; raises LoadFailed."""
        return self.files.read(name, self.manifest.files[name].sha256)

    def cost_ms(self, rows: int) -> float:
        """Return about how long the engine takes for that many rows."""
        return self.first_row_ms + self.next_row_ms * (rows - 1)


class VersionFiles:
    """A pinned version's files: from the image where they were baked in, else from the store; never unverified."""

    def __init__(self, folder: str, baked: Path, store: Callable[[], Store], timings: Timings) -> None:
        self._folder = folder
        self._baked = baked
        self._open_store = store
        self._store: Store | None = None
        self._timings = timings

    def read(self, name: str, sha256: str) -> bytes:
        """Return a file's bytes; raises LoadFailed unless they have this digest."""
        with self._timings.measured("fetch"):
            content = self._fetch(name, sha256)
        with self._timings.measured("verify"):
            if hashlib.sha256(content).hexdigest() != sha256:
                raise LoadFailed(f"{name} of the pinned version is not the file that was published.")
        return content

    def close(self) -> None:
        """Give the store's connections back."""
        if self._store is not None:
            self._store.close()

    def _fetch(self, name: str, sha256: str) -> bytes:
        blob = self._baked / sha256
        if blob.is_file():
            self._timings.source = "image"
            return blob.read_bytes()
        if self._store is None:
            self._store = self._open_store()
        try:
            return self._store.get(self._folder + name).content
        except StoreError as error:
            raise LoadFailed(error.message) from error


class WarmModel:
    """Loads once, however many ask at once; after a failure it waits, longer each time, before it tries again."""

    def __init__(self, load: Callable[[], Model], timeout_seconds: float) -> None:
        self.loaded: Model | None = None
        self._load = load
        self._timeout_seconds = timeout_seconds
        self._attempt: asyncio.Task[Model | None] | None = None
        self._failures = 0
        self._next_try = 0.0
        self._reason = ""

    async def get(self) -> Model:
        """Return the loaded model; raises ModelUnavailable with a reason that callers may read."""
        if self.loaded is not None:
            return self.loaded
        if self._attempt is None:
            pause = self._next_try - time.monotonic()
            if pause > 0:
                raise ModelUnavailable(self._reason, retry_after_seconds=math.ceil(pause))
            self._attempt = asyncio.create_task(self._try())
        try:
            model = await asyncio.wait_for(asyncio.shield(self._attempt), self._timeout_seconds)
        except TimeoutError:
            raise ModelUnavailable("The model is still loading.", retry_after_seconds=1) from None
        if model is None:
            raise ModelUnavailable(self._reason, retry_after_seconds=1)
        return model

    async def _try(self) -> Model | None:
        try:
            self.loaded = await asyncio.to_thread(self._load)
        except LoadFailed as error:
            self._reason = str(error)
            self._failures += 1
            self._next_try = time.monotonic() + min(2.0 ** (self._failures - 1), LONGEST_PAUSE_SECONDS)
        finally:
            self._attempt = None
        return self.loaded


def load_model(
    pin_file: Path, store: Callable[[], Store], timings: Timings, folder: str = "{model}/{version}/"
) -> Model:
    """Return the pinned version, loaded and proved on its golden examples; raises LoadFailed.

    `folder` says where a version lies in the store.
    """
    try:
        return _load(pin_file, store, timings, folder)
    except LoadFailed:
        raise
    except Exception as error:
        raise LoadFailed("The pinned version cannot be loaded; the log says why.") from error


def describe(error: BaseException) -> str:
    """Return an error with its causes, for the operator's log."""
    return "".join(traceback.format_exception(error))


def _load(pin_file: Path, store: Callable[[], Store], timings: Timings, folder: str) -> Model:
    pin = read_pin(pin_file)
    where = folder.format(model=pin.model, version=pin.version)
    with contextlib.closing(VersionFiles(where, pin_file.parent / BLOBS, store, timings)) as files:
        return _load_files(pin, files, timings)


def _load_files(pin: Pin, files: VersionFiles, timings: Timings) -> Model:
    content = files.read(MANIFEST, pin.manifest_sha256)
    with timings.measured("verify"):
        manifest = Manifest.model_validate_json(content)
    if (manifest.model, manifest.version) != (pin.model, pin.version):
        raise LoadFailed("The manifest is another version's than the pin names.")
    engine = _open_engine(manifest, files, timings)
    golden = files.read(GOLDEN, manifest.files[GOLDEN].sha256)
    with timings.measured("load"):
        validator = Validator(manifest.signature)
    with timings.measured("replay"):
        first_row_ms, next_row_ms = replay(manifest.signature, engine, validator, read_golden(golden))
    return Model(manifest, engine, validator, files, first_row_ms, next_row_ms)


def read_pin(pin_file: Path) -> Pin:
    """Return the pin; raises LoadFailed where there is none, or none that can be read."""
    try:
        return Pin.model_validate_json(pin_file.read_bytes())
    except OSError as error:
        raise LoadFailed("There is no pin: this server does not know which version to serve.") from error
    except ValidationError as error:
        raise LoadFailed("The pin cannot be read.") from error


def _open_engine(manifest: Manifest, files: VersionFiles, timings: Timings) -> Engine:
    # One row is not worth a second thread, and instances seldom have a second core. Read when the libraries load.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    return (
        _open_compiled(manifest, files, timings)
        if manifest.engine == "numpy"
        else _open_fitted(manifest, files, timings)
    )


def _open_compiled(manifest: Manifest, files: VersionFiles, timings: Timings) -> Engine:
    content = files.read(COMPILED, manifest.files[COMPILED].sha256)
    with timings.measured("import"):
        from function.engines.numpy_engine import read_compiled
        from function.engines.operations import CompiledInvalid
    with timings.measured("load"):
        try:
            return read_compiled(content)
        except CompiledInvalid as error:
            raise LoadFailed("The compiled model of the pinned version cannot be read by this image.") from error


def _open_fitted(manifest: Manifest, files: VersionFiles, timings: Timings) -> Engine:
    content = files.read(FITTED, manifest.files[FITTED].sha256)
    with timings.measured("import"):
        from function.engines.sklearn_engine import SklearnEngine, load_pipeline
    with timings.measured("load"):
        try:
            pipeline = load_pipeline(content, manifest.libraries["scikit-learn"])
        except ValueError as error:
            raise LoadFailed(f"The pinned version does not fit this image: {error}.") from error
        return SklearnEngine(pipeline, manifest.signature)


def read_golden(content: bytes) -> list[GoldenExample]:
    """Return the golden examples of a golden.jsonl."""
    return [GoldenExample.model_validate_json(line) for line in content.splitlines()]


def replay(
    signature: Signature, engine: Engine, validator: Validator, examples: Sequence[GoldenExample]
) -> tuple[float, float]:
    """Hold the engine to its golden examples; return the milliseconds of one row, and of each further row.

    Raises LoadFailed where an answer is not the recorded one within the tolerance of contract.TOLERANCE.
    """
    rows = [example.instance for example in examples]
    try:
        columns = validator.columns(Instances(rows, lambda index: f"/{index}"))
    except InvalidInstances as error:
        raise LoadFailed("A golden example does not fit the signature.") from error
    one = {name: values[:1] for name, values in columns.items()}
    engine.predict(one, signature.methods)  # the first call pays for imports and caches
    first_ms, _ = _timed(engine, one, signature.methods)
    all_ms, outputs = _timed(engine, columns, signature.methods)
    for index, example in enumerate(examples):
        for method, golden in example.outputs.items():
            if not agree(outputs[method][index], golden, signature.magnitudes.get(method, ())):
                raise LoadFailed(f"Golden example {index} is answered otherwise than when the version was made.")
    return first_ms, max(0.0, all_ms - first_ms) / max(1, len(rows) - 1)


def _timed(engine: Engine, columns: Any, methods: Sequence[Method]) -> tuple[float, Outputs]:
    start = time.perf_counter()
    outputs = engine.predict(columns, methods)
    return (time.perf_counter() - start) * 1000, outputs


def agree(answer: Any, golden: Any, magnitudes: Sequence[float]) -> bool:
    """Tell whether one row of an output is the recorded one: labels equal, floats within the tolerance, NaN as NaN."""
    answers, goldens = list(_flat(answer)), list(_flat(golden))
    if len(answers) != len(goldens):
        return False
    scales = magnitudes if len(magnitudes) == len(answers) else [0.0] * len(answers)
    return all(map(_same, answers, goldens, scales))


def _same(answer: Any, golden: Any, magnitude: float) -> bool:
    if isinstance(answer, float) and math.isnan(answer):
        return golden is None  # JSON has no NaN
    if not (isinstance(answer, float) and isinstance(golden, float)):
        return type(answer) is type(golden) and bool(answer == golden)
    return answer == golden or abs(answer - golden) <= TOLERANCE * max(abs(answer), abs(golden), magnitude)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
    else:
        yield value
