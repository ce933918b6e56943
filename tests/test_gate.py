"""The gate before publishing: what is worse, knows nothing or knows too much is refused, what is as good is not."""

import functools
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from function.contract import Manifest
from function.store import FileStore
from lifecycle import training
from lifecycle.cli import main
from lifecycle.decision import Cost, Decision
from lifecycle.errors import GateRefused
from lifecycle.gate import Costs, judge
from lifecycle.packaging import Fitted, assemble
from lifecycle.versions import publish
from tests.conftest import Trained
from tests.gate_study import study
from tests.test_cli import Ran
from tests.test_models import MODELS
from tests.tiny import Tiny
from tests.toys import TOYS

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
    "labels-mixed": (
        "No better than a constant by roc_auc from one half of the training rows to the other",
        "Worse than the champion by roc_auc",
    ),
    "one-column": ("closed alone explains", "Too good beside the champion: roc_auc"),
    "two-flags": ("(first and second|second and first) by themselves explain", "Too good beside the champion: roc_auc"),
    "two-numbers": ("(first and second|second and first) by themselves explain", "by themselves explain"),
}


def cases(quick: str) -> list[Any]:
    """Return every spoiled candidate; all but one run long."""
    return [pytest.param(change, marks=() if change == quick else pytest.mark.long) for change in REFUSED]


@pytest.mark.parametrize("change", cases("labels-mixed"))
def test_without_a_champion_spoiled_candidates_are_refused(change: str, models: Path, run: Run, tmp_path: Path) -> None:
    """Mixed labels and columns that copy the target are caught in a first version, and nothing is published."""
    write_churn(models, change)
    done = run("train", "churn", "--json")
    assert done.code == 3, done.err
    assert any(re.search(REFUSED[change][0], reason) for reason in done.json["error"]["reasons"])
    assert Decision.model_validate(done.json["decision"]).verdict == "refused"
    assert all(reason in done.err for reason in done.json["error"]["reasons"])
    assert "--accept" in done.json["error"]["message"]
    assert not (tmp_path / "store").exists()


@pytest.mark.usefixtures("champion")
@pytest.mark.parametrize("change", cases("two-flags"))
def test_beside_a_champion_spoiled_candidates_are_refused(change: str, models: Path, run: Run, tmp_path: Path) -> None:
    """The champion shows too: what is worse than it by far, and what is better than anybody would believe."""
    write_churn(models, change)
    done = run("train", "churn", "--json")
    assert done.code == 3, done.err
    for expected in REFUSED[change]:
        assert any(re.search(expected, reason) for reason in done.json["error"]["reasons"])
    assert sorted(path.name for path in (tmp_path / "store/churn").iterdir()) == ["1", "aliases.json"]


@pytest.mark.long
@pytest.mark.usefixtures("champion")
def test_a_column_that_is_known_may_tell_the_target(models: Path, run: Run) -> None:
    """acceptance.known lets a column pass that its owner vouches for, and the gain that comes of it."""
    folder = write_churn(models, "one-column")
    recipe = (folder / "model.yaml").read_text(encoding="utf-8")
    (folder / "model.yaml").write_text(recipe.replace("acceptance:\n", "acceptance:\n  known: [closed]\n"))
    made = run("train", "churn", "--json").json
    assert (made["version"], made["decision"]["verdict"]) == (2, "accepted")
    assert next(iter(made["decision"]["rests_on"])) == "closed"


@pytest.mark.usefixtures("champion")
def test_what_is_as_good_is_published_with_its_decision(models: Path, run: Run, tmp_path: Path) -> None:
    """decision.json is a file of the version, the card shows it, and rows that the champion saw are left out."""
    write_churn(models, "as-it-is")
    made = run("train", "churn", "--json").json
    decision = Decision.model_validate(made["decision"])
    assert (made["version"], decision.verdict, decision.champion, decision.left_out) == (2, "accepted", 1, {})
    folder = tmp_path / "store/churn/2"
    assert Decision.model_validate_json((folder / "decision.json").read_bytes()) == decision
    shown = run("show", "churn", "2", "--json").json
    assert shown.pop("decision") == made["decision"]
    assert "decision.json" in Manifest.model_validate(shown).files
    card = run("show", "churn", "2").out
    assert "## What it was held against\n\nAccepted, beside the champion (version 1)." in card
    assert "| roc_auc | " in card
    champion = [one for one in decision.differences if one.against == "champion" and not one.slice]
    refreshed = [one for one in decision.differences if one.against == "refreshed" and not one.slice]
    # All of the reduced frame's held-out rows are new to the champion, but for the few customers that are twice there.
    assert {one.rows for one in refreshed} == {800}
    assert {one.rows for one in champion} == {793}
    assert {one.metric for one in champion if one.counts} == {"roc_auc", "recall", "precision", "brier", "calibration"}
    assert decision.champion_cost.load_ms.keys() == decision.candidate_cost.load_ms.keys()
    assert decision.candidate_cost.one_row_ms > 0 < decision.champion_cost.one_row_ms


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    """Return a model of a moment, of which nothing is rehearsed in processes."""
    monkeypatch.setattr(training, "rehearse_load", lambda *_: {"parts_ms": {"load": 1.0}, "one_row_ms": 0.1})
    monkeypatch.setattr(training, "rehearse_rows", lambda *_: [0.1, 0.1])
    return Tiny(tmp_path)


def test_new_rows_of_the_same_kind_are_accepted(tiny: Tiny) -> None:
    """A retraining on other rows, the second after the first, differs by chance and is published."""
    for seed in range(3):
        tiny.write(seed=seed)
        decision = tiny.decide()
        assert (decision.verdict, decision.champion) == ("accepted", seed or None)
    assert decision.left_out == {}


def test_rows_that_the_champion_was_fitted_on_are_left_out(tiny: Tiny) -> None:
    """Where a new split puts its training rows to the test, it would look better than it is."""
    tiny.train()
    tiny.write(lambda frame: frame.iloc[::-1])
    decision = tiny.decide()
    assert "it was fitted on 200 of the 200 held-out rows" in decision.left_out["champion"]
    assert {one.against for one in decision.differences} == {"constant", "refreshed", "half"}
    tiny.write(lambda frame: pd.concat([frame[100:500], frame[:50], frame[450:600]]))
    decision = tiny.decide()
    assert {one.rows for one in decision.differences if one.against == "champion"} <= {100, 150}
    assert any("held-out rows are left out of the comparison with the champion" in one for one in decision.remarks)


def other_classes(tiny: Tiny) -> None:
    """Let the target have a third class."""
    tiny.write(lambda frame: frame.assign(label=np.where(frame.index % 9 == 0, "maybe", frame.label)))
    recipe = (tiny.folder / "model.yaml").read_text().replace('positive: "yes"\n', "")
    (tiny.folder / "model.yaml").write_text(recipe)


def other_target(tiny: Tiny) -> None:
    """Call the target otherwise."""
    tiny.write(lambda frame: frame.rename(columns={"label": "left"}))


def other_features(tiny: Tiny) -> None:
    """Call the one feature otherwise."""
    tiny.write(lambda frame: frame.rename(columns={"age": "years"}))
    train = (tiny.folder / "train.py").read_text().replace('"age"', '"years"')
    (tiny.folder / "train.py").write_text(train)


def damage(tiny: Tiny) -> None:
    """Change a bit of the champion's compiled model."""
    file = Path(tiny.store.url.removeprefix("file://")) / "toy/1/model.npz"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def other_scikit_learn(tiny: Tiny) -> None:
    """Let the champion be of another scikit-learn."""
    tiny.edit(1, lambda manifest: manifest["libraries"].update({"scikit-learn": "1.2.3"}))


LEFT_OUT: dict[str, tuple[Callable[[Tiny], None], dict[str, str]]] = {
    "other-classes": (
        other_classes,
        dict.fromkeys(("champion", "refreshed"), "another target: label of 'no', 'yes', which now is label of 'maybe'"),
    ),
    "other-target": (
        other_target,
        dict.fromkeys(("champion", "refreshed"), "it was made for another target: label of"),
    ),
    "other-features": (
        other_features,
        dict.fromkeys(("champion", "refreshed"), "it asks for age, which the data no longer has"),
    ),
    "damaged": (
        damage,
        dict.fromkeys(("champion", "refreshed"), "model.npz of version 1 is not what was published"),
    ),
    "other-scikit-learn": (other_scikit_learn, {"refreshed": "fitted with scikit-learn 1.2.3"}),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_cannot_be_compared_is_said_and_left_out(case: str, tiny: Tiny) -> None:
    """Nothing is guessed; a compiled champion of another scikit-learn is still asked."""
    tiny.train()
    change, expected = LEFT_OUT[case]
    change(tiny)
    decision = tiny.decide(accept_data=True, accept="the metrics of this test do not matter")
    assert decision.left_out.keys() == expected.keys()
    assert all(text in decision.left_out[name] for name, text in expected.items())
    asked = {one.against for one in decision.differences}
    assert asked == {"constant", "half", "champion", "refreshed"} - expected.keys()


def test_an_old_champion_is_compared_and_said_to_be_old(tiny: Tiny) -> None:
    """A version from before the gate has no decision and does not know its rows: that is said, and it is asked."""
    tiny.train()
    file = Path(tiny.store.url.removeprefix("file://")) / "toy/1/reference.json"
    content = json.loads(file.read_text())
    del content["hashes"]
    file.write_text(json.dumps(content))
    old = file.read_bytes()

    def forget(manifest: dict[str, Any]) -> None:
        manifest["files"]["reference.json"] = {"sha256": hashlib.sha256(old).hexdigest(), "size": len(old)}
        del manifest["files"]["decision.json"], manifest["sources"]

    tiny.edit(1, forget)
    tiny.write(seed=1)
    decision = tiny.decide()
    assert (decision.verdict, decision.left_out) == ("accepted", {})
    assert decision.remarks[0].startswith("It is not known which rows version 1 was fitted on")


def test_a_metric_that_the_champion_cannot_have_is_said(tiny: Tiny) -> None:
    """Where the owner agreed on what one of them lacks, nothing is made up, and the rest is compared."""
    recipe, train = tiny.folder / "model.yaml", tiny.folder / "train.py"
    recipe.write_text(recipe.read_text().replace("{roc_auc: {min: 0}}", "{accuracy: {min: 0}}"))
    train.write_text(train.read_text().replace("LogisticRegression", "LinearSVC").replace("linear_model", "svm"))
    tiny.train()
    recipe.write_text(recipe.read_text().replace("{accuracy", "{roc_auc: {min: 0}, accuracy"))
    train.write_text(train.read_text().replace("LinearSVC", "LogisticRegression").replace("svm", "linear_model"))
    tiny.write(seed=1)
    decision = tiny.decide()
    assert decision.verdict == "accepted"
    expected = "cannot be compared with the champion: it is not defined for both of them on these rows."
    assert f"roc_auc {expected}" in decision.remarks
    assert "accuracy" in {one.metric for one in decision.differences if one.against == "champion" and one.counts}


def test_labels_that_fit_loses_are_found(tiny: Tiny) -> None:
    """Rows and labels that fit() itself tears apart show beside the same pipeline fitted on half of the rows."""
    train = (tiny.folder / "train.py").read_text().replace("train[train.columns[-1]])", "list(train.label)[::-1])")
    (tiny.folder / "train.py").write_text(train)
    decision = tiny.decide()
    assert decision.verdict == "refused"
    expected = "Worse than the same pipeline fitted on half of the training rows by roc_auc"
    assert any(reason.startswith(expected) for reason in decision.reasons)


def test_a_reason_publishes_what_is_refused_and_is_kept(tiny: Tiny) -> None:
    """What was refused is published when its owner says why; the reason and what it was about stay with the version."""
    tiny.train()
    tiny.write(lambda frame: frame.assign(age=-frame.age.where(frame.index < 400, -frame.age)), seed=1)
    with pytest.raises(GateRefused) as caught:
        tiny.train()
    assert any(reason.startswith("Worse than the champion by roc_auc") for reason in caught.value.reasons)
    made = tiny.train(accept="the sign was wrong until May")
    assert made.decision is not None
    assert made.decision.reasons == tuple(caught.value.reasons)
    card = tiny.store.get("toy/2/card.md").content.decode()
    assert "published all the same, because: the sign was wrong until May" in card
    assert made.decision.reasons[0] in card


def test_a_reason_that_was_not_needed_is_not_kept(tiny: Tiny) -> None:
    """Nobody reads in a card that something was accepted of which nothing spoke against it."""
    decision = tiny.decide(accept="just in case")
    assert (decision.verdict, decision.accepted_because) == ("accepted", None)


COSTS = {
    "as-fast": ((1.0, 1000), (1.0, 1000), []),
    "ten-times-as-slow-and-still-fast": ((1.0, 1000), (0.1, 1000), []),
    "slower-and-it-shows": ((70.0, 1000), (30.0, 1000), ["One row takes 70 ms, 2.3 times as slow as the champion"]),
    "beyond-the-goal": ((400.0, 1000), (390.0, 1000), ["One row takes 400 ms, and serving.latency_ms"]),
    "larger-and-still-small": ((1.0, 30_000_000), (1.0, 1000), []),
    "far-larger": ((1.0, 400_000_000), (1.0, 100_000_000), ["A start loads 400 MB, the champion 100 MB"]),
}


@pytest.mark.parametrize("case", COSTS)
def test_what_costs_far_more_is_refused(case: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slower or larger than the champion by a factor and by what people notice, or slower than the goal."""
    (ours_ms, ours), (theirs_ms, theirs), expected = COSTS[case]
    tiny.train()
    costs = Costs(Cost(one_row_ms=ours_ms, loaded_bytes=ours), Cost(one_row_ms=theirs_ms, loaded_bytes=theirs))
    monkeypatch.setattr(training, "_costs", lambda *_: costs)
    tiny.write(seed=1)
    reasons = tiny.decide().reasons
    assert len(reasons) == len(expected)
    assert all(reason.startswith(text) for reason, text in zip(reasons, expected, strict=True))


def test_many_slices_do_not_make_refusals_likely(tiny: Tiny) -> None:
    """The level is divided among the slices: a retraining on rows of the same kind is let pass."""
    recipe = (tiny.folder / "model.yaml").read_text()
    bound = "  metrics: {roc_auc: {min: 0}}\n  slices: {by: [group, city], metric: roc_auc, min: 0}\n"
    (tiny.folder / "model.yaml").write_text(recipe.replace("  metrics: {roc_auc: {min: 0}}\n", bound))

    def grouped(frame: pd.DataFrame) -> pd.DataFrame:
        frame.insert(0, "group", frame.index % 4)
        return frame

    tiny.write(grouped)
    tiny.train()
    tiny.write(grouped, seed=5)
    decision = tiny.decide()
    sliced = {one.slice for one in decision.differences if one.slice}
    assert sliced == {*(f"group is {index}" for index in range(4)), "city is Bern", "city is Genf"}
    assert decision.verdict == "accepted"


def test_numbers_are_held_against_the_mean_and_the_median(tiny: Tiny) -> None:
    """A regression is compared by its errors, its mean residual is its calibration, and noise is refused."""
    recipe = (tiny.folder / "model.yaml").read_text().replace('positive: "yes"\n', "")
    recipe = recipe.replace("classification", "regression").replace("roc_auc: {min: 0}", "mae: {max: 100}")
    (tiny.folder / "model.yaml").write_text(recipe)
    train = (tiny.folder / "train.py").read_text().replace("LogisticRegression", "LinearRegression")
    (tiny.folder / "train.py").write_text(train)
    noise = np.random.default_rng(9).normal(0, 10, 600)
    tiny.write(lambda frame: frame.assign(label=frame.age + noise))
    decision = tiny.decide()
    assert decision.verdict == "accepted"
    constants = [one.metric for one in decision.differences if one.against == "constant" and not one.halves]
    assert constants == ["rmse", "mae"]
    tiny.write(lambda frame: frame.assign(label=frame.age + noise), seed=1)
    decision = tiny.decide()
    assert {one.metric for one in decision.differences if one.counts and one.against == "champion"} == {
        "mae",
        "calibration",
    }
    tiny.write(lambda frame: frame.assign(label=noise))
    assert any(reason.startswith("No better than a constant by rmse") for reason in tiny.decide().reasons)


@pytest.mark.parametrize("name", TOYS)
def test_every_shape_of_model_is_judged(name: str, tmp_path: Path) -> None:
    """Numbers, classes, several targets, texts, records: each is compared with itself as its champion, and as good."""
    toy, shelf = TOYS[name](), FileStore(tmp_path)
    fitted = Fitted(name, toy.pipeline, toy.frame, toy.frame.copy(), toy.targets, measured=True, trained_here=True)
    candidate = assemble(fitted, None, str, lambda _: None)
    champion = publish(shelf, name, candidate)
    decision = judge(candidate, fitted, champion, shelf, Costs(Cost(loaded_bytes=1)), "toys need not be good")
    assert decision.left_out == {}
    beside = [one for one in decision.differences if one.against == "champion"]
    assert {one.difference for one in beside} == {0}
    assert {"calibration"} < {one.metric for one in beside} or "predict_proba" not in candidate.signature.methods
    assert not [one for one in decision.differences if one.worse and one.against in ("champion", "refreshed")]
    assert {feature.name for feature in candidate.signature.features} >= set(decision.rests_on)


@pytest.mark.long
@pytest.mark.parametrize("name", ["churn", "maintenance", "reviews"])
def test_the_example_models_pass_twice_in_a_row(name: str, tmp_path: Path) -> None:
    """Trained again from the same rows each is as good as it was."""
    store = FileStore(tmp_path)
    for number in (1, 2):
        made = training.train(store, name, lambda _: None)
        assert made.decision is not None
        assert (made.version.manifest.version, made.decision.verdict) == (number, "accepted")


@pytest.mark.long
def test_equally_good_candidates_are_seldom_refused_and_spoiled_ones_are() -> None:
    """Of models of other rows hardly one is refused; of those with half of the labels mixed hardly one is not."""
    found = study("churn", 12, ["as good", "half of labels mixed"])
    assert found["as good"].refused <= 1
    assert found["half of labels mixed"].refused >= 11
