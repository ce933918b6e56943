"""model.yaml and train.py, right and wrong: every fault at once, each with the line where it stands."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from function.contract import Privacy
from lifecycle import recipe
from lifecycle.errors import Missing, RecipeInvalid
from lifecycle.recipe import (
    ROOT,
    Acceptance,
    Bound,
    InputPolicy,
    Maintenance,
    Monitoring,
    Recipe,
    Rollout,
    Serving,
    Source,
    read_recipe,
    read_source,
)
from lifecycle.versions import check_name

DOCS = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")

RECIPE = """\
purpose: Which customers leave.
owner: owner@example.com
task: classification
positive: "Yes"
acceptance:
  metrics: {roc_auc: {min: 0.5}}
privacy: {omit: [], hash: []}
maintenance: {retrain: monthly, data: the last year, tell: owner@example.com, go_back: promote}
"""
TRAIN = "def load():\n    pass\n\n\ndef fit(train):\n    pass\n"


def write_model(models: Path, name: str, recipe: str | None = RECIPE, train: str | None = TRAIN) -> Path:
    """Write a model's folder; return it."""
    folder = models / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in (("model.yaml", recipe), ("train.py", train)):
        if content is not None:
            (folder / file).write_text(content, encoding="utf-8")
    return folder


def with_parts(**parts: Any) -> str:
    """Return the recipe with some parts changed, None leaving one out."""
    content = {**yaml.safe_load(RECIPE), **parts}
    return yaml.safe_dump({key: value for key, value in content.items() if value is not None}, sort_keys=False)


def faults_of(models: Path, recipe: str | None = RECIPE, train: str | None = TRAIN) -> list[str]:
    """Return the faults for which a folder is refused."""
    write_model(models, "toy", recipe, train)
    with pytest.raises(RecipeInvalid) as caught:
        read_source("toy", models)
    return caught.value.reasons


def test_a_right_folder_is_read(tmp_path: Path) -> None:
    """A folder without fault gives its recipe with every default, and the two functions."""
    write_model(tmp_path, "toy")
    source = read_source("toy", tmp_path)
    assert isinstance(source, Source)
    assert (source.recipe.positive, source.recipe.rollout.steps) == ("Yes", (5, 25, 50, 100))
    assert (source.load.__name__, source.fit.__name__) == ("load", "fit")
    assert source.where("acceptance.metrics.roc_auc") == f"{tmp_path}/toy/model.yaml:6"


REQUIRED = ("purpose", "owner", "task", "acceptance", "privacy", "maintenance")


@pytest.mark.parametrize("part", REQUIRED)
def test_a_part_that_is_missing_is_named(part: str, tmp_path: Path) -> None:
    """Each part without a default must be there."""
    assert faults_of(tmp_path, with_parts(**{part: None})) == [f"{tmp_path}/toy/model.yaml:1: {part} is missing"]


WRONG_PARTS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown-part": ({"colour": "red"}, "colour is not known here"),
    "unknown-part-inside": ({"serving": {"latency": 3}}, "serving.latency is not known here"),
    "empty-purpose": ({"purpose": ""}, "purpose: String should have at least 1 character"),
    "unknown-task": ({"task": "ranking"}, "task: Input should be 'classification' or 'regression', found 'ranking'"),
    "positive-list": ({"positive": ["Yes"]}, "positive: a class is text, a number, true or false, found ['Yes']"),
    "no-metric": ({"acceptance": {"metrics": {}}}, "acceptance.metrics: Dictionary should have at least 1 item"),
    "bare-limit": ({"acceptance": {"metrics": {"f1": 0.8}}}, "acceptance.metrics.f1: keys and values are expected"),
    "no-limit": ({"acceptance": {"metrics": {"f1": {}}}}, "acceptance.metrics.f1: min or max is missing"),
    "text-limit": ({"acceptance": {"metrics": {"f1": {"min": "high"}}}}, "acceptance.metrics.f1.min: Input should be"),
    "nan-limit": ({"acceptance": {"metrics": {"f1": {"min": float("nan")}}}}, "acceptance.metrics.f1.min: Input"),
    "crossed-limits": ({"acceptance": {"metrics": {"f1": {"min": 1, "max": 0}}}}, "acceptance.metrics.f1: min is abov"),
    "unknown-metric": ({"acceptance": {"metrics": {"f2": {"min": 1}}}}, "acceptance.metrics.f2: f2 is no metric of"),
    "misspelt-metric": (
        {"acceptance": {"metrics": {"acuracy": {"min": 1}}}},
        "acceptance.metrics.acuracy: acuracy is no metric of a classification; did you mean accuracy? there are",
    ),
    "misspelt-metric-of-a-gap": (
        {"acceptance": {"metrics": {"f1": {"min": 0}}, "gap": {"metric": "acuracy", "max": 1}}},
        "acceptance.gap.metric: acuracy is no metric of a classification; did you mean accuracy?",
    ),
    "other-tasks-metric": (
        {"acceptance": {"metrics": {"rmse": {"max": 1}}}},
        "acceptance.metrics.rmse: rmse is no metric of a classification; there are accuracy,",
    ),
    "slice-of-nothing": (
        {"acceptance": {"metrics": {"f1": {"min": 0}}, "slices": {"by": [], "metric": "f1", "min": 0}}},
        "acceptance.slices.by: Tuple should have at least 1 item",
    ),
    "slice-without-list": (
        {"acceptance": {"metrics": {"f1": {"min": 0}}, "slices": {"by": "city", "metric": "f1", "min": 0}}},
        "acceptance.slices.by: a list is expected, found 'city'",
    ),
    "gap-without-limit": (
        {"acceptance": {"metrics": {"f1": {"min": 0}}, "gap": {"metric": "f1"}}},
        "acceptance.gap: min or max is missing",
    ),
    "unknown-policy": ({"inputs": {"age": {"unseen": "ignore"}}}, "inputs.age.unseen: Input should be 'reject' or"),
    "bake-as-text": ({"serving": {"bake": "no"}}, "serving.bake: true or false is expected, found 'no'"),
    "bake-as-number": ({"serving": {"bake": 0}}, "serving.bake: true or false is expected, found 0"),
    "positive-of-a-regression": (
        {"task": "regression", "acceptance": {"metrics": {"mae": {"max": 1}}}},
        "positive: is for two classes, a regression has none, found 'Yes'",
    ),
    "negative-factor": ({"inputs": {"age": {"factor": -1}}}, "inputs.age.factor: Input should be greater"),
    "latency-text": ({"serving": {"latency_ms": "fast"}}, "serving.latency_ms: Input should be a valid number"),
    "latency-goal": (
        {"serving": {"latency_goal": 1}},
        "serving.latency_goal: Input should be less than or equal",
    ),
    "availability-percent": (
        {"serving": {"availability": 99.5}},
        "serving.availability: Input should be less than or equal",
    ),
    "falling-steps": ({"rollout": {"steps": [50, 5, 100]}}, "rollout.steps: steps rise from at least 1 to 100"),
    "repeated-steps": ({"rollout": {"steps": [5, 5, 100]}}, "rollout.steps: steps rise from at least 1 to 100"),
    "unfinished-steps": ({"rollout": {"steps": [5, 50]}}, "rollout.steps: steps rise from at least 1 to 100"),
    "step-of-nothing": ({"rollout": {"steps": [0, 100]}}, "rollout.steps: steps rise from at least 1 to 100"),
    "no-steps": ({"rollout": {"steps": []}}, "rollout.steps: steps rise from at least 1 to 100"),
    "no-way-back": (
        {"maintenance": {"retrain": "monthly", "data": "all", "tell": "me"}},
        "maintenance.go_back is missing",
    ),
}


@pytest.mark.parametrize("case", WRONG_PARTS)
def test_a_wrong_part_is_named_with_its_line(case: str, tmp_path: Path) -> None:
    """A fault says in which line of which file, what is expected there and what was found."""
    parts, expected = WRONG_PARTS[case]
    text = with_parts(**parts)
    faults = faults_of(tmp_path, text)
    assert len(faults) == 1, faults
    place, fault = faults[0].split(": ", 1)
    assert fault.startswith(expected)
    line = int(place.removeprefix(f"{tmp_path}/toy/model.yaml:"))
    nearest = [part for part in fault.split(" ")[0].strip(":").split(".") if f"{part}:" in text][-1:]
    assert nearest == [] or f"{nearest[0]}:" in text.splitlines()[line - 1]


def test_all_faults_of_both_files_are_found_at_once(tmp_path: Path) -> None:
    """One refusal lists every fault of model.yaml and of train.py, so that one edit mends them all."""
    recipe = RECIPE.replace("roc_auc", "auc").replace("owner: owner@example.com\n", "") + "rollout: {steps: [9, 1]}\n"
    faults = faults_of(tmp_path, recipe, "def load():\n    pass\n")
    texts = [fault.removeprefix(f"{tmp_path}/toy/model.yaml:") for fault in faults]
    assert [text.split(";")[0] for text in texts] == [
        "1: owner is missing",
        "5: acceptance.metrics.auc: auc is no metric of a classification",
        "8: rollout.steps: steps rise from at least 1 to 100, found [9, 1]",
        "models/toy/train.py has no function fit()",
    ]


NO_YAML: dict[str, tuple[bytes, str]] = {
    "open-bracket": (b"acceptance: [", "model.yaml:1: expected the node content"),
    "tab": (b"a:\n\t- b", "model.yaml:2: found character '\\t'"),
    "python-object": (b"a: !!python/object/apply:os.getcwd []", "model.yaml:1: could not determine a constructor"),
    "key-twice": (b"task: regression\ntask: classification", "model.yaml:2: the key task stands twice"),
    "limit-twice": (b"a:\n  b: 1\n  b: 2", "model.yaml:3: the key b stands twice"),
    "no-such-date": (b"a: 2026-13-45", "model.yaml is no YAML: month must be in 1..12"),
    "not-utf8": (b"\xff\xfe", "model.yaml is no YAML: 'utf-8' codec can't decode"),
    "list": (b"- a", "model.yaml: keys and values are expected, found a list"),
    "empty": (b"# soon", "model.yaml is empty"),
}


@pytest.mark.parametrize("case", NO_YAML)
def test_what_is_no_yaml_is_said(case: str, tmp_path: Path) -> None:
    """A model.yaml that is no mapping is refused with its path and line; a key that stands twice is no mapping."""
    content, expected = NO_YAML[case]
    file = tmp_path / "model.yaml"
    file.write_bytes(content)
    with pytest.raises(RecipeInvalid) as caught:
        read_recipe(file)
    assert len(caught.value.reasons) == 1
    assert caught.value.reasons[0].startswith(f"{tmp_path}/{expected}")


WRONG_TRAIN: dict[str, tuple[str | None, list[str]]] = {
    "missing": (None, ["models/toy/train.py is missing"]),
    "no-functions": ("", [f"models/toy/train.py has no function {name}()" for name in ("load", "fit")]),
    "load-is-data": ("load = 3\ndef fit(train): ...\n", ["models/toy/train.py has no function load()"]),
    "raises": ("import os\nos.environ['NO_SUCH']\n", ["models/toy/train.py:2 cannot be imported: KeyError: 'NO_SUCH'"]),
    "no-package": ("import nosuch", ["models/toy/train.py:1 cannot be imported: ModuleNotFoundError: No module named"]),
    "no-python": ("a = 1\ndef load(:\n", ["models/toy/train.py:2 cannot be imported: SyntaxError: invalid syntax"]),
}


@pytest.mark.parametrize("case", WRONG_TRAIN)
def test_a_wrong_train_py_is_named(case: str, tmp_path: Path) -> None:
    """A train.py that is missing, lacks a function or cannot be imported is refused with its line."""
    train, expected = WRONG_TRAIN[case]
    faults = faults_of(tmp_path, train=train)
    assert len(faults) == len(expected)
    for fault, start in zip(faults, expected, strict=True):
        assert fault.startswith(start)


def test_an_empty_folder_lacks_both_files(tmp_path: Path) -> None:
    """Both files are asked for at once."""
    expected = [f"{tmp_path}/toy/model.yaml is missing", "models/toy/train.py is missing"]
    assert faults_of(tmp_path, None, None) == expected


def test_train_py_may_hold_dataclasses(tmp_path: Path) -> None:
    """What works in a module works in train.py: postponed annotations in a dataclass look their module up."""
    head = "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    b: int\n"
    write_model(tmp_path, "toy", train=head + TRAIN)
    assert read_source("toy", tmp_path).name == "toy"


def test_an_unknown_model_is_answered_with_those_there_are(tmp_path: Path) -> None:
    """A name without folder is Missing, and the models there are are listed."""
    with pytest.raises(Missing, match="none yet"):
        read_source("toy", tmp_path / "nowhere")
    for name in ("tea", "coffee"):
        write_model(tmp_path, name)
    (tmp_path / "__pycache__").mkdir()
    with pytest.raises(Missing, match=r"the models are: coffee, tea\."):
        read_source("toy", tmp_path)


@pytest.mark.parametrize("name", ["../x", "Churn", "", "a/b", "a_b", "1a", "-a", "a-", "a" * 41, "ä", "a\n", "."])
def test_a_name_that_no_service_could_have_is_refused(name: str) -> None:
    """A model is called as a Cloud Run service may be, and its folder stays inside models/."""
    with pytest.raises(RecipeInvalid, match="lower-case letters"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "churn", "churn-2", "a" * 40])
def test_a_right_name_is_kept(name: str) -> None:
    """Letters, digits and hyphens, up to forty."""
    assert check_name(name) == name


@pytest.mark.parametrize("content", ["a: [", "tsak: regression"], ids=["no-yaml", "unknown-key"])
def test_faults_name_files_below_the_repository(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model.yaml of this repository is called models/NAME/model.yaml, whatever is wrong with it."""
    monkeypatch.setattr(recipe, "ROOT", tmp_path)
    faults = faults_of(tmp_path / "models", content)
    assert all(fault.startswith("models/toy/model.yaml:1: ") for fault in faults)


def test_the_recipe_in_the_docs_can_be_copied(tmp_path: Path) -> None:
    """The minimal model.yaml of docs/models.md is without fault, and holds nothing that has a default."""
    text = DOCS.partition("```yaml\n")[2].partition("```")[0]
    folder = write_model(tmp_path, "toy", text)
    assert read_recipe(folder / "model.yaml").model_fields_set == set(REQUIRED)


PARTS: dict[str, type[BaseModel]] = {
    "acceptance": Acceptance,
    "inputs.<feature>": InputPolicy,
    "privacy": Privacy,
    "serving": Serving,
    "rollout": Rollout,
    "monitoring": Monitoring,
    "maintenance": Maintenance,
}


def test_the_docs_tell_every_default() -> None:
    """The table of docs/models.md says for each key whether it is required, else its default."""
    rows = re.findall(r"^\| (`.+?`) \| (.+?) \| .* \|$", DOCS.partition("## model.yaml")[2], re.MULTILINE)
    told = {key: text for keys, text in rows for key in re.findall(r"`([\w.<>]+)`", keys)}
    inside = {f"{part}.{key}": field for part, shape in PARTS.items() for key, field in shape.model_fields.items()}
    plain = {key: field for key, field in Recipe.model_fields.items() if key not in {*PARTS, "inputs"}}
    assert set(told) == {*inside, *plain}
    for key, field in (inside | plain).items():
        assert told[key].startswith("required") is field.is_required(), key
        if not field.is_required() and field.default is not None:
            assert yaml.safe_load(told[key].strip("`")) == json.loads(json.dumps(field.default)), key


@pytest.mark.parametrize(
    ("bound", "value", "holds"),
    [
        (Bound(min=0.5), 0.5, True),
        (Bound(min=0.5), 0.49, False),
        (Bound(max=0.5), 0.5, True),
        (Bound(max=0.5), 0.51, False),
        (Bound(min=0, max=1), 2, False),
        (Bound(min=0), float("nan"), False),
    ],
)
def test_a_limit_holds_up_to_its_end(bound: Bound, value: float, holds: bool) -> None:
    """A value on a limit is within it; what is not a number never is."""
    assert bound.holds(value) is holds
