"""Runs in a process of its own that can import only what the image can: the standard library, its packages, function/.

Started by rehearsal.py as `python -I image_process.py ABSENT ROOT unpickle FILE`, `... load PIN STORE ENGINE` or
`... alternate STORE ENGINE PIN ENGINE PIN`; the last line on stdout is a JSON object: {"ok": true, ...} or
{"ok": false, "reason": ...}.
"""

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

TURNS, LEAST_TURNS, WARM_UP = 300, 5, 20
LONGEST_SECONDS = 2.0


class ImageOnly(MetaPathFinder):
    """Refuses every top-level module that is here but not in the image."""

    def __init__(self, absent: frozenset[str]) -> None:
        self._absent = absent

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> None:
        """Raise for a module that the image lacks; leave all others to the finders behind."""
        if fullname.partition(".")[0] in self._absent:
            raise ModuleNotFoundError(f"No module named {fullname!r} in the image", name=fullname)


class UnknownGlobal(Exception):
    """A pickle names something that cannot be imported."""


def unpickle(file: str) -> dict[str, Any]:
    """Unpickle a file, with warnings of another scikit-learn's version as errors."""
    import joblib
    from sklearn.exceptions import InconsistentVersionWarning

    name_unknown_globals()
    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        pipeline = joblib.load(file)
    return {"class": f"{type(pipeline).__module__}.{type(pipeline).__qualname__}"}


def load(pin: str, store: str, engine: str) -> dict[str, Any]:
    """Load a pinned version as the server does, golden examples and all; a compiled one in a process without joblib."""
    if engine == "sklearn":
        name_unknown_globals()
    from function.model import Timings, load_model
    from function.store import open_store

    timings = Timings()
    model = load_model(Path(pin), lambda: open_store(store), timings)
    return {"engine": model.engine.name, "parts_ms": timings.parts, "one_row_ms": model.cost_ms(1)}


def alternate(store: str, *engines_and_pins: str) -> dict[str, Any]:
    """Load versions, and time single rows of each by turns: what slows the machine down slows both."""
    engines, pins = engines_and_pins[::2], engines_and_pins[1::2]
    if "sklearn" in engines:
        name_unknown_globals()
    from function.contract import GOLDEN
    from function.model import Timings, load_model, read_golden
    from function.store import open_store
    from function.validation import Instances

    asked: list[Callable[[int], object]] = []
    for pin in pins:
        model = load_model(Path(pin), lambda: open_store(store), Timings())
        rows = [example.instance for example in read_golden(model.read(GOLDEN))]
        columns = [model.validator.columns(Instances([row], str)) for row in rows]
        asked.append(
            lambda turn, model=model, columns=columns: model.engine.predict(  # type: ignore[misc]
                columns[turn % len(columns)], model.signature.methods
            )
        )
    return {"one_row_ms": [statistics.median(times) for times in _by_turns(asked)]}


def _by_turns(asked: Sequence[Callable[[int], object]]) -> list[list[float]]:
    """Return the milliseconds of each call, by caller; the first calls pay for imports and caches."""
    times: list[list[float]] = [[] for _ in asked]
    end = time.perf_counter() + LONGEST_SECONDS
    for turn in range(TURNS):
        for index in range(len(asked)):
            start = time.perf_counter()
            asked[index](turn)
            times[index].append((time.perf_counter() - start) * 1000)
        if turn >= LEAST_TURNS and time.perf_counter() > end:
            break
    return [one[min(len(one) // 5, WARM_UP) :] for one in times]


def name_unknown_globals() -> None:
    """Make joblib's unpickler say which global it could not find."""
    from joblib.numpy_pickle import NumpyUnpickler

    find_class = NumpyUnpickler.find_class

    def named(self: Any, module: str, name: str) -> Any:
        if module == "__main__":  # this file here, functions-framework in the image: never the one that was meant
            raise UnknownGlobal(f"{module}.{name}: made in a script or notebook, which the image does not have")
        try:
            return find_class(self, module, name)
        except (ImportError, AttributeError) as error:
            raise UnknownGlobal(f"{module}.{name}: {error}") from error

    NumpyUnpickler.find_class = named


def main(arguments: list[str]) -> int:
    """Run one job and print what came of it."""
    absent, root, job, *rest = arguments
    sys.meta_path.insert(0, ImageOnly(frozenset(absent.split(","))))
    sys.path.append(root)
    jobs: dict[str, Callable[..., dict[str, Any]]] = {"unpickle": unpickle, "load": load, "alternate": alternate}
    try:
        result = {"ok": True} | jobs[job](*rest)
    except Exception as error:
        result = {"ok": False, "reason": _reason(error)}
    print(json.dumps(result))
    return 0 if result["ok"] else 1


def _reason(error: BaseException) -> str:
    """Return what an operator needs to know: the first cause, and where it led."""
    texts = []
    cause: BaseException | None = error
    while cause is not None:
        silent = "the file ends early" if isinstance(cause, EOFError) else "no more is known"
        text = " ".join(str(cause).split()) or silent
        texts.append(text if isinstance(cause, UnknownGlobal) else f"{type(cause).__name__}: {text}")
        if isinstance(cause, UnknownGlobal):
            break
        cause = cause.__cause__
    return " <- ".join(texts)[:2000]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
