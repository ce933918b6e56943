"""A process that has only the image's packages: what it can load, and what it names when it cannot."""

import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import joblib
import pytest
import rich.markup
import sklearn.base
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from function.store import FileStore
from lifecycle import rehearsal
from lifecycle.errors import ArtifactRefused
from lifecycle.pinning import write_pin
from lifecycle.rehearsal import absent_modules, image_packages, rehearse_load, rehearse_unpickling
from lifecycle.versions import Version

FITTED = DummyClassifier().fit([[0], [1]], ["no", "yes"])


def reason_for(file: Path) -> str:
    """Return why an artifact is refused."""
    with pytest.raises(ArtifactRefused) as caught:
        rehearse_unpickling(file)
    return str(caught.value)


def written(folder: Path, content: Any, dump: Callable[..., Any] = joblib.dump) -> Path:
    """Write an artifact into a folder; return the file."""
    file = folder / "pipeline.joblib"
    dump(content, file)
    return file


def test_an_artifact_of_the_images_packages_passes(tmp_path: Path) -> None:
    """What is made of scikit-learn alone can be unpickled, and its class is told."""
    pipeline = make_pipeline(FunctionTransformer(), FITTED)
    assert rehearse_unpickling(written(tmp_path, pipeline)) == {"class": "sklearn.pipeline.Pipeline"}


@pytest.mark.parametrize(
    "function", [rich.markup.escape, hypothesis.note, image_packages], ids=["rich", "hypothesis", "ours"]
)
def test_packages_that_the_image_lacks_are_named(function: Callable[..., Any], tmp_path: Path) -> None:
    """A function of a package that is installed here, but not in the image, is refused by its whole name."""
    pipeline = make_pipeline(FunctionTransformer(function), FITTED)
    reason = reason_for(written(tmp_path, pipeline))
    package = function.__module__.partition(".")[0]
    assert f"{function.__module__}.{function.__name__}: No module named '{package}" in reason
    assert "in the image" in reason


def test_a_class_of_a_module_nearby_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that a notebook imported from the file beside it is not in the image, PYTHONPATH or not."""
    (tmp_path / "my_steps.py").write_text(
        "from sklearn.base import BaseEstimator\nclass Shout(BaseEstimator):\n    def predict(self, X): return X\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    import my_steps

    reason = reason_for(written(tmp_path, my_steps.Shout()))
    assert "my_steps.Shout: No module named 'my_steps'" in reason


@pytest.mark.parametrize("name", ["clean", "load"])
def test_a_function_of_a_script_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was defined in a notebook is refused, even where the trying process has a function of that name."""

    def function(rows: Any) -> Any:
        return rows

    function.__module__, function.__qualname__, function.__name__ = "__main__", name, name
    monkeypatch.setattr(sys.modules["__main__"], name, function, raising=False)
    reason = reason_for(written(tmp_path, make_pipeline(FunctionTransformer(function), FITTED)))
    assert f"__main__.{name}: made in a script or notebook" in reason


def test_another_scikit_learns_artifact_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline that another scikit-learn fitted is refused, both versions named."""
    with monkeypatch.context() as patch:
        patch.setattr(sklearn.base, "__version__", "1.2.3")
        file = written(tmp_path, FITTED)
    reason = reason_for(file)
    assert "DummyClassifier from version 1.2.3 when using version" in reason


class Exits:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (3,)


class Prints:
    """Prints when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ('{"ok": true, "class": "forged"}',)


DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "garbage": (lambda _: b"\x93NUMPY garbage" * 9, "Error"),
    "empty": (lambda _: b"", "EOFError: the file ends early"),
    "truncated": (lambda content: content[: len(content) // 2], "rror"),
    "ends-the-process": (lambda _: pickle.dumps(Exits()), "The process that tried the artifact ended early"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_file_that_is_no_artifact_is_refused(case: str, tmp_path: Path) -> None:
    """Whatever the bytes do, the answer is a refusal with a reason."""
    damage, expected = DAMAGED[case]
    file = written(tmp_path, FITTED)
    file.write_bytes(damage(file.read_bytes()))
    assert expected in reason_for(file)


NO_PICKLE = {
    "text": b"This is a note about the model.\n",
    "csv": b"colour,size\nred,3\nblue,4\n",
    "json": b'{"model": "logistic"}',
    "xy": b"x,y\n1,2\n",
    "empty": b"",
    "zip": b"PK\x03\x04",
}


@pytest.mark.parametrize("case", NO_PICKLE)
def test_a_file_that_is_no_pickle_is_called_so(case: str, tmp_path: Path) -> None:
    """Text that was given for a pipeline is refused as no pickle, with whatever reading it as one said."""
    file = tmp_path / "text.joblib"
    file.write_bytes(NO_PICKLE[case])
    first, cause = reason_for(file).split("\n")
    assert first == "text.joblib is no joblib or pickle file:"
    assert cause.startswith("  - ")


@pytest.mark.parametrize("compress", [0, "zlib", "gzip", "bz2", "xz", "lzma"])
def test_a_pickle_is_not_called_otherwise(compress: Any, tmp_path: Path) -> None:
    """However joblib compresses it, a pickle that cannot be loaded is refused for what it lacks."""
    pipeline = make_pipeline(FunctionTransformer(rich.markup.escape), FITTED)
    joblib.dump(pipeline, tmp_path / "pipeline.joblib", compress=compress)
    assert reason_for(tmp_path / "pipeline.joblib").startswith("The image could not load this:\n  - rich.markup.escape")


def test_what_an_artifact_prints_is_not_taken_for_the_result(tmp_path: Path) -> None:
    """The result is the process's own last line."""
    assert rehearse_unpickling(written(tmp_path, Prints())) == {"class": "builtins.NoneType"}


def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading has a time limit, and the refusal names it."""
    monkeypatch.setattr(rehearsal, "TIMEOUT_SECONDS", 0.01)
    assert reason_for(written(tmp_path, FITTED)) == "Loading took longer than 0.01 seconds."


def test_a_version_is_loaded_as_the_server_loads_it(
    store: FileStore, published: Callable[[str], Version], tmp_path: Path
) -> None:
    """A load gives its engine and the milliseconds of its parts."""
    result = rehearse_load(write_pin(published("binary"), tmp_path), store.url, "numpy")
    assert result["engine"] == "numpy"
    assert set(result["parts_ms"]) == {"import", "fetch", "verify", "load", "replay"}
    assert result["one_row_ms"] > 0


def test_a_version_that_does_not_load_says_why(published: Callable[[str], Version], tmp_path: Path) -> None:
    """A pin without its version is refused with the whole chain of causes."""
    with pytest.raises(ArtifactRefused) as caught:
        rehearse_load(write_pin(published("binary"), tmp_path), tmp_path.as_uri(), "numpy")
    assert "LoadFailed: The model store does not hold the pinned version. <- NotFound:" in str(caught.value)


def test_the_images_packages_are_those_of_the_lock_file(tmp_path: Path) -> None:
    """Names are normalized, comments and hashes are no packages."""
    lock = tmp_path / "requirements.txt"
    lock.write_text(
        '# a comment\nScikit_Learn==1.9.1 \\\n    --hash=sha256:abc\nruamel.yaml==0.1 ; python_version < "4"\n'
    )
    assert image_packages(lock) == {"scikit-learn", "ruamel-yaml"}


def test_absent_modules_are_all_that_the_image_lacks() -> None:
    """Development packages and the rest of this repository are absent, the image's packages and function/ are not."""
    absent = absent_modules()
    assert {"rich", "hypothesis", "pytest", "pyarrow", "yaml", "lifecycle", "tests", "models"} <= absent
    assert absent.isdisjoint({"sklearn", "numpy", "scipy", "pandas", "joblib", "pydantic", "orjson", "function"})
