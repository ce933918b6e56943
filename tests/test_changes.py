"""What made a version, by digests: what must be made anew, and what may stay."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from function.contract import Data, Sources
from lifecycle import changes
from lifecycle.changes import find_changes, find_sources, modules_that_make
from lifecycle.recipe import ROOT
from tests.test_card import manifest_with
from tests.test_recipe import write_model


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the code and of a model that a test may edit."""
    for folder in ("function", "lifecycle"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    write_model(tmp_path / "models", "toy")
    monkeypatch.setattr(changes, "ROOT", tmp_path)
    monkeypatch.setattr(changes, "LOCK", tmp_path / "requirements.txt")
    return tmp_path


def sources(project: Path) -> Sources:
    """Return what a model of the project is made of now."""
    changes.code_digest.cache_clear()
    return find_sources("toy", project / "models")


def appended(file: str, text: str = "\n# a word more\n") -> Callable[[Path], object]:
    """Return the edit that adds to a file."""

    def edit(project: Path) -> None:
        path = project / file
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")

    return edit


def bumped(package: str) -> Callable[[Path], object]:
    """Return the edit that locks another version of a package."""

    def edit(project: Path) -> None:
        lock = project / "requirements.txt"
        lines = lock.read_text(encoding="utf-8").splitlines()
        lock.write_text("\n".join(f"{package}==99.0 \\" if one.startswith(f"{package}==") else one for one in lines))

    return edit


EDITS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "train-py": (appended("models/toy/train.py"), ["the model's folder changed"]),
    "model-yaml": (appended("models/toy/model.yaml"), ["the model's folder changed"]),
    "a-file-beside": (
        lambda project: (project / "models/toy/words.txt").write_text("yes"),
        ["the model's folder changed"],
    ),
    "packaging": (appended("lifecycle/packaging.py"), ["the code that makes versions changed"]),
    "a-converter": (appended("lifecycle/compiler/trees.py"), ["the code that makes versions changed"]),
    "an-operation": (appended("function/engines/operations/trees.py"), ["the code that makes versions changed"]),
    "validation": (appended("function/validation.py"), ["the code that makes versions changed"]),
    "a-library": (bumped("scikit-learn"), ["the locked libraries changed"]),
    "two-things": (
        lambda project: [appended("models/toy/train.py")(project), bumped("numpy")(project)],
        ["the model's folder changed", "the locked libraries changed"],
    ),
    "byte-code": (
        lambda project: write_model(project / "models", "toy/__pycache__", None, "compiled"),
        [],
    ),
    "an-editors-file": (lambda project: (project / "models/toy/.train.py.swp").write_text("x"), []),
    "another-model": (lambda project: write_model(project / "models", "other"), []),
    "the-server": (appended("function/routes.py"), []),
    "the-command-line": (appended("lifecycle/cli.py"), []),
    "the-gate": (appended("lifecycle/gate.py"), []),
    "an-error": (appended("lifecycle/errors.py"), []),
    "a-comment-of-the-lock": (appended("requirements.txt"), []),
}


@pytest.mark.parametrize("case", EDITS)
def test_an_edit_changes_what_it_takes_part_in(case: str, project: Path) -> None:
    """A model is made anew for its own files, for what makes versions and for libraries; serving code is not that."""
    edit, expected = EDITS[case]
    before = sources(project)
    manifest = manifest_with(sources=before)
    assert find_changes(manifest, before, manifest.data.sha256) == []
    edit(project)
    assert find_changes(manifest, sources(project), manifest.data.sha256) == expected


def test_other_rows_are_a_change() -> None:
    """The digest of the frames that load() returns counts like the others."""
    made_of = Sources(folder="a", code="b", libraries="c")
    manifest = manifest_with(sources=made_of, data=Data(sha256="1", train_rows=1, test_rows=1))
    assert find_changes(manifest, made_of, "2") == ["the data changed"]


def test_a_version_that_does_not_know_is_made_anew() -> None:
    """Old versions, and those that were packaged, have no digests to compare."""
    changed = find_changes(manifest_with(), Sources(folder="a", code="b", libraries="c"), "1")
    assert changed == ["what version 3 was made of is not recorded"]


def test_what_makes_versions_is_what_packaging_imports() -> None:
    """The serving engines, the compiler and the metrics take part; the endpoint, the verbs and the gate do not."""
    names = {path.relative_to(ROOT).as_posix() for path in modules_that_make(ROOT)}
    assert {
        "lifecycle/packaging.py",
        "lifecycle/signature.py",
        "lifecycle/metrics.py",
        "lifecycle/resampling.py",
        "lifecycle/compiler/linear.py",
        "function/engines/numpy_engine.py",
        "function/engines/sklearn_engine.py",
        "function/engines/operations/linear.py",
        "function/contract.py",
    } <= names
    assert not names & {"function/main.py", "function/routes.py", "lifecycle/cli.py", "lifecycle/gate.py"}
