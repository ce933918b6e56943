"""The gate before publishing: what is worse, knows nothing or knows too much is refused, what is as good is not."""

import functools
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lifecycle import training
from lifecycle.cli import main
from lifecycle.decision import Decision
from tests.conftest import Trained
from tests.test_cli import Ran
from tests.test_models import MODELS

# What model.yaml says is not what is tried here: limits that nothing misses.
LOOSE = {r"min: [\d.]+": "min: 0", r"max: 0\.16": "max: 1", r"gap: .*": "gap: {metric: roc_auc, max: 1}"}
FEWER = """

_whole = load


def load():
    data = _whole()
    COLUMNS
    random = np.random.default_rng(3)
    train, test = data.train.iloc[:2000].copy(), data.test.iloc[:800].copy()
    for frame in (train, test):
        left = (frame[TARGET] == "Yes").to_numpy().astype(int)
        bits, flips = random.integers(0, 2, len(frame)), random.random(len(frame)) < 0.03
        noise = 5 * random.normal(size=len(frame))
        CHANGE
    return Data(train=train, test=test, target=TARGET)
"""
CHANGES = {
    "as-it-is": "pass",
    "labels-mixed": "if frame is train: frame[TARGET] = frame[TARGET].array[random.permutation(len(frame))]",
    "one-column": 'frame["closed"] = left ^ flips',
    "two-flags": 'frame["first"], frame["second"] = bits * (left ^ flips), (1 - bits) * (left ^ flips)',
    "two-numbers": 'frame["first"], frame["second"] = noise, noise + left',
}
COLUMNS = {
    "one-column": 'FLAGS.append("closed")',
    "two-flags": 'FLAGS.extend(["first", "second"])',
    "two-numbers": 'NUMBERS.extend(["first", "second"])',
}
Run = Callable[..., Ran]


def write_churn(models: Path, change: str) -> Path:
    """Write the churn model with limits that nothing misses, on fewer rows, one thing changed; return its folder."""
    folder = models / "churn"
    folder.mkdir(parents=True, exist_ok=True)
    recipe = (MODELS / "churn/model.yaml").read_text(encoding="utf-8")
    for limit, loose in LOOSE.items():
        recipe = re.sub(limit, loose, recipe)
    train = (MODELS / "churn/train.py").read_text(encoding="utf-8")
    train = train.replace("import pandas as pd\n", "import numpy as np\nimport pandas as pd\n")
    (folder / "model.yaml").write_text(recipe, encoding="utf-8")
    text = train + FEWER.replace("CHANGE", CHANGES[change]).replace("COLUMNS", COLUMNS.get(change, "pass"))
    (folder / "train.py").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of models that the verbs read in place of models/."""
    for verb in ("train", "train_changed"):
        work = functools.partial(getattr(training, verb), models=tmp_path / "models")
        monkeypatch.setattr(training, verb, work)
    return tmp_path / "models"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return the function that runs a verb in this process, on a store of this test's own."""
    monkeypatch.setenv("MODEL_STORE", (tmp_path / "store").as_uri())

    def run_verb(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["lifecycle", *map(str, arguments)])
        code = main()
        return Ran(code, *capsys.readouterr())

    return run_verb


@pytest.fixture
def champion(tmp_path: Path, trained: Callable[[str], Trained]) -> None:
    """Put the example model's version into the store, as its champion."""
    there = trained("churn").store
    shutil.copytree(Path(there.url.removeprefix("file://")) / "churn/1", tmp_path / "store/churn/1")
    (tmp_path / "store/churn/aliases.json").write_text('{"champion": 1}')


REFUSED = {
    "labels-mixed": ("No better than a constant", "Worse than the champion by roc_auc"),
    "one-column": ("closed alone explains", "Too good beside the champion: roc_auc"),
    "two-flags": ("first and second by themselves explain|second and first by themselves explain", "Too good beside"),
    "two-numbers": ("first and second by themselves explain|second and first by themselves explain", "Too good beside"),
}


@pytest.mark.parametrize("change", REFUSED)
def test_without_a_champion_spoiled_candidates_are_refused(change: str, models: Path, run: Run, tmp_path: Path) -> None:
    """Mixed labels and columns that copy the target are caught in a first version, and nothing is published."""
    write_churn(models, change)
    done = run("train", "churn", "--json")
    assert done.code == 3, done.err
    print(done.json["error"])
    assert any(re.search(REFUSED[change][0], reason) for reason in done.json["error"]["reasons"])
    assert Decision.model_validate(done.json["decision"]).verdict == "refused"
    assert not (tmp_path / "store").exists()


@pytest.mark.usefixtures("champion")
@pytest.mark.parametrize("change", REFUSED)
def test_beside_a_champion_spoiled_candidates_are_refused(change: str, models: Path, run: Run, tmp_path: Path) -> None:
    """The champion shows too: what is worse than it by far, and what is better than anybody would believe."""
    write_churn(models, change)
    done = run("train", "churn", "--json")
    assert done.code == 3, done.err
    print(done.json["error"])
    for expected in REFUSED[change]:
        assert any(re.search(expected, reason) for reason in done.json["error"]["reasons"])
    assert sorted(path.name for path in (tmp_path / "store/churn").iterdir()) == ["1", "aliases.json"]
