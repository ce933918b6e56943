"""Limits held against what was measured: met, missed, not measurable, and what is said about each."""

import math

import pytest

from function.contract import Limit, Metric
from lifecycle.acceptance import describe, judge
from lifecycle.metrics import Measured
from lifecycle.recipe import Acceptance

METRICS = {
    "roc_auc": Metric(value=0.8, low=0.7, high=0.9, train=0.95),
    "brier": Metric(value=0.2, low=0.1, high=0.3, train=None),
}
SLICES = {"city": {"Bern": 0.9, "Genf": 0.6}}


def judged(acceptance: dict, slices: dict = SLICES, artifact_mb: float = 3.0) -> tuple[Limit, ...]:
    """Return the limits of an acceptance, each standing at its key."""
    return judge(Acceptance.model_validate(acceptance), METRICS, slices, artifact_mb, lambda key: f"model.yaml:{key}")


def limit_on(**bounds: dict) -> dict:
    """Return an acceptance whose first limit is always met, with more of them."""
    return {"metrics": {"roc_auc": {"min": 0}}, **bounds}


CASES = {
    "min-met": ({"metrics": {"roc_auc": {"min": 0.8}}}, [True]),
    "min-missed": ({"metrics": {"roc_auc": {"min": 0.81}}}, [False]),
    "max-met": ({"metrics": {"brier": {"max": 0.2}}}, [True]),
    "max-missed": ({"metrics": {"brier": {"max": 0.19}}}, [False]),
    "between": ({"metrics": {"brier": {"min": 0.1, "max": 0.3}, "roc_auc": {"max": 0.5}}}, [True, False]),
    "not-measured": ({"metrics": {"recall": {"min": 0}}}, [False]),
    "slices": (limit_on(slices={"by": ["city"], "metric": "roc_auc", "min": 0.7}), [True, True, False]),
    "gap-met": (limit_on(gap={"metric": "roc_auc", "max": 0.16}), [True, True]),
    "gap-missed": (limit_on(gap={"metric": "roc_auc", "max": 0.1}), [True, False]),
    "gap-without-training": (limit_on(gap={"metric": "brier", "max": 9}), [True, False]),
    "gap-not-measured": (limit_on(gap={"metric": "f1", "max": 9}), [True, False]),
    "size-met": (limit_on(artifact_mb={"max": 3}), [True, True]),
    "size-missed": (limit_on(artifact_mb={"max": 2.9}), [True, False]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_limit_is_met_up_to_its_end(case: str) -> None:
    """Every limit is held against its value; what could not be measured misses it."""
    acceptance, met = CASES[case]
    assert [limit.met for limit in judged(acceptance)] == met


@pytest.mark.parametrize("slices", [{"city": {"Bern": math.nan}}, {"city": {}}], ids=["one-class", "too-few-rows"])
def test_a_slice_that_cannot_be_measured_misses_its_limit(slices: dict) -> None:
    """An agreed limit never passes because nothing could be held against it."""
    missed = judged(limit_on(slices={"by": ["city"], "metric": "roc_auc", "min": 0}), slices)[1]
    assert (missed.met, missed.value) == (False, None)
    assert "city" in missed.name
    assert "could not be measured" in describe(missed)


SAID = {
    "metric": (
        {"metrics": {"roc_auc": {"min": 0.9}}},
        "roc_auc: at least 0.9 expected, found 0.8 (model.yaml:acceptance.metrics.roc_auc)",
    ),
    "both-ends": (
        {"metrics": {"brier": {"min": 0.3, "max": 0.4}}},
        "brier: at least 0.3 and at most 0.4 expected, found 0.2 (model.yaml:acceptance.metrics.brier)",
    ),
    "not-measured": (
        {"metrics": {"f1": {"min": 0.9}}},
        "f1: at least 0.9 expected, could not be measured (model.yaml:acceptance.metrics.f1)",
    ),
    "slice": (
        limit_on(slices={"by": ["city"], "metric": "roc_auc", "min": 0.7}),
        "roc_auc where city is Genf: at least 0.7 expected, found 0.6 (model.yaml:acceptance.slices)",
    ),
    "gap": (
        limit_on(gap={"metric": "roc_auc", "max": 0.1}),
        "roc_auc on training minus test rows: at most 0.1 expected, found 0.15 (model.yaml:acceptance.gap)",
    ),
    "size": (
        limit_on(artifact_mb={"max": 1}),
        "artifact_mb: at most 1 expected, found 3 (model.yaml:acceptance.artifact_mb)",
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_a_missed_limit_is_said_with_value_and_line(case: str) -> None:
    """One line names the limit, what was expected, what was found and where the limit is written."""
    acceptance, text = SAID[case]
    assert [describe(limit) for limit in judged(acceptance) if not limit.met] == [text]


def test_what_could_not_be_measured_says_why() -> None:
    """The reason that the metric gave stands beside its name, for slices and gap too."""
    metrics = Measured(METRICS, {"f1": "it is for two classes"})
    bounds = {"metric": "f1", "min": 0}
    acceptance = Acceptance.model_validate(
        {"metrics": {"f1": {"min": 0.9}}, "slices": {"by": ["city"], **bounds}, "gap": bounds}
    )
    said = [describe(limit) for limit in judge(acceptance, metrics, {"city": {"Bern": math.nan}}, 1, str)]
    assert said == [
        "f1 (it is for two classes): at least 0.9 expected, could not be measured (acceptance.metrics.f1)",
        "f1 where city is Bern (it is for two classes): at least 0 expected, could not be measured (acceptance.slices)",
        "f1 on training minus test rows (it is for two classes): at least 0 expected, could not be measured "
        "(acceptance.gap)",
    ]
    gap = judged(limit_on(gap={"metric": "brier", "max": 9}))[1]
    assert gap.name == "brier on training minus test rows (on training rows it is not known)"


def test_a_value_just_short_of_its_limit_is_not_rounded_onto_it() -> None:
    """Nobody reads `at least 0.8 expected, found 0.8`."""
    metrics = {"roc_auc": Metric(value=0.79996, low=0.7, high=0.9, train=None)}
    acceptance = Acceptance.model_validate({"metrics": {"roc_auc": {"min": 0.8}}})
    assert "found 0.79996 " in describe(judge(acceptance, metrics, {}, 0, str)[0])
