"""Several targets with classes, held to scikit-learn: trees, networks of them, dummies, one estimator each, chains."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn import linear_model as lm
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from function.engines.numpy_engine import read_compiled
from lifecycle.proof import _differ
from tests.server import ROOT
from tests.test_compiler import NUMBERS, holds, prove

FEATURES = [*"abcd", "count"]
LOGISTIC = make_pipeline(StandardScaler(), lm.LogisticRegression())
TARGETS: dict[str, pd.DataFrame] = {
    "whole": pd.DataFrame({"one": NUMBERS.kind, "two": NUMBERS["count"] // 2}),
    "truth-and-whole": pd.DataFrame({"one": NUMBERS.kind > 1, "two": NUMBERS.kind}),
    "text": pd.DataFrame({"one": NUMBERS.kind.map({0: "ä", 1: "", 2: "ä"}), "two": NUMBERS.kind.map(str)}),
    "truth": pd.DataFrame({"one": NUMBERS.kind > 1, "two": NUMBERS.a > 20, "three": NUMBERS.b > 9}),
}
MODELS: dict[str, Any] = {
    "each": MultiOutputClassifier(LOGISTIC),
    "each-margin": MultiOutputClassifier(LinearSVC()),
    "each-forest": MultiOutputClassifier(RandomForestClassifier(3, random_state=0)),
    "tree": DecisionTreeClassifier(max_depth=4, random_state=0),
    "random-tree": make_pipeline(StandardScaler(), ExtraTreeClassifier(random_state=0)),
    "forest": RandomForestClassifier(4, max_features=None, random_state=0),
    "extra": ExtraTreesClassifier(4, max_features=1, random_state=0),
    "dummy": DummyClassifier(),
    "dummy-frequent": DummyClassifier(strategy="most_frequent"),
}


def frame_of(targets: str) -> pd.DataFrame:
    """Return numbers and some targets."""
    return pd.concat([NUMBERS[FEATURES], TARGETS[targets]], axis=1)


@pytest.mark.filterwarnings("ignore")  # of convergence
@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("name", MODELS)
def test_several_classes_equal_scikit_learn(name: str, targets: str) -> None:
    """Targets of several types, with two classes and more, each get their class and their own probabilities."""
    holds(MODELS[name], frame_of(targets), list(TARGETS[targets]))


@pytest.mark.parametrize("targets", TARGETS)
def test_constant_answers_for_several_targets_equal_scikit_learn(targets: str) -> None:
    """What somebody chose as answer is the answer, with all probability."""
    constant = TARGETS[targets].iloc[3].tolist()
    holds(DummyClassifier(strategy="constant", constant=constant), frame_of(targets), list(TARGETS[targets]))


CHAINS: dict[str, Any] = {
    "plain": ClassifierChain(LOGISTIC),
    "ordered": ClassifierChain(DecisionTreeClassifier(max_depth=3, random_state=0), order=[2, 0, 1]),
    "by-chances": ClassifierChain(LOGISTIC, chain_method="predict_proba", cv=2),
    "by-scores": ClassifierChain(LinearSVC(), chain_method="decision_function", cv=2),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CHAINS)
def test_chains_of_classes_equal_scikit_learn(name: str) -> None:
    """Each target is decided after those before it, by their classes, their probabilities or their scores."""
    holds(CHAINS[name], frame_of("truth"), list(TARGETS["truth"]))


def test_answers_at_random_are_not_compiled() -> None:
    """A dummy that draws its answers has none that could be proven."""
    frame = frame_of("truth")
    names = list(TARGETS["truth"])
    proof = prove(DummyClassifier(strategy="uniform").fit(frame[FEATURES], frame[names]), frame, names)
    assert (proof.verdict, proof.reason) == ("not compiled", "DummyClassifier: answers at random")


def test_labels_of_another_type_are_other_labels() -> None:
    """1, 1.0 and True are equal in Python, and not the same answer."""
    for expected, found in (([[1, 0]], [[1.0, 0.0]]), ([[True]], [[1]]), ([1], [True])):
        assert _differ(expected, found, ())[0] == 0
    assert _differ([[1, "a"]], [[1, "a"]], ())[0] is None


@pytest.mark.filterwarnings("ignore")
def test_several_classes_are_packaged_compiled(tmp_path: Path) -> None:
    """The command line packages a model of several targets with classes for the engine that needs NumPy alone."""
    frame = frame_of("truth-and-whole")
    names = list(TARGETS["truth-and-whole"])
    joblib.dump(MODELS["each"].fit(frame[FEATURES], frame[names]), tmp_path / "model.joblib")
    frame.to_csv(tmp_path / "examples.csv", index=False)
    command = [sys.executable, "-m", "lifecycle", "package", "several", "--pipeline", str(tmp_path / "model.joblib")]
    command += ["--examples", str(tmp_path / "examples.csv"), "--store", (tmp_path / "store").as_uri()]
    command += [part for name in names for part in ("--target", name)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    compiled = next((tmp_path / "store").rglob("model.npz"))
    engine = read_compiled(compiled.read_bytes())
    answer = engine.predict({name: frame[name].tolist()[:2] for name in FEATURES}, ["predict", "predict_proba"])
    assert np.shape(answer["predict"]) == (2, 2)
    assert [[len(target) for target in row] for row in answer["predict_proba"]] == [[2, 3], [2, 3]]
