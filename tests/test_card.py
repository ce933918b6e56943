"""The model card: Markdown that says what was measured, and says so where nothing was."""

from typing import Any

import pytest

from function.contract import Data, Estimator, Feature, Limit, Manifest, Metric, Output, Privacy, Proof, Signature
from lifecycle.card import write_card
from lifecycle.recipe import Maintenance

FEATURES = (
    Feature(name="age", type="integer", dtype="int64", nullable=False, minimum=18, maximum=90, example=40),
    Feature(name="a|b", type="text", dtype="str", nullable=True, categories=("x|y", "line\nbreak"), example="x|y"),
    Feature(name="city", type="text", dtype="str", nullable=False, categories=tuple("abcdefghij"), example="a"),
    Feature(name="diary", type="text", dtype="str", nullable=False, example="words"),
    Feature(name="since", type="datetime", dtype="datetime64[us]", nullable=False, example="2026-01-01"),
)
METRICS = {
    "roc_auc": Metric(value=0.81239, low=0.7, high=0.9, train=0.95),
    "brier": Metric(value=0.2, low=0.1, high=0.3, train=None),
}
LIMITS = (
    Limit(name="roc_auc", stands="model.yaml:6", rule="at least 0.8", value=0.81239, met=True),
    Limit(name="f1", stands="model.yaml:7", rule="at most 1", value=None, met=False),
)
MAINTENANCE = Maintenance(retrain="monthly", data="the last year", tell="me@example.com", go_back="promote toy 1")


def manifest_with(**parts: Any) -> Manifest:
    """Return a manifest, some of its parts changed."""
    signature = Signature(
        task="classification",
        features=FEATURES,
        outputs=(Output(name="label", classes=("no", "yes")),),
        methods=("predict",),
        form="frame",
        magnitudes={"predict": ()},
    )
    plain: dict[str, Any] = {
        "model": "toy",
        "version": 3,
        "created_at": "2026-01-01T00:00:00+00:00",
        "purpose": "Which customers leave.",
        "owner": "owner@example.com",
        "engine": "sklearn",
        "proof": Proof(verdict="not compiled", reason="its step is not compiled"),
        "signature": signature,
        "privacy": Privacy(omit=("age",), hash=("diary",)),
        "files": {},
        "libraries": {"python": "3.11.9", "scikit-learn": "1.9.1"},
        "git_commit": None,
        "data": Data(sha256="0123456789abcdef" * 4, train_rows=100, test_rows=50),
        "estimator": Estimator(name="sklearn.linear_model.LogisticRegression", parameters={}),
        "metrics": METRICS,
        "slices": {"city": {"a|b": 0.75}},
        "limits": LIMITS,
        "notes": ("2 of 50 rows would be refused.",),
        "positive": "yes",
        "recipe": {"purpose": "Which customers leave."},
    }
    return Manifest.model_validate(plain | parts)


def section(card: str, title: str) -> list[str]:
    """Return the lines under a heading of the card."""
    lines = card.splitlines()
    start = lines.index(f"## {title}") + 1
    ends = [index for index in range(start, len(lines)) if lines[index].startswith("## ")]
    return [line for line in lines[start : ends[0] if ends else None] if line]


def cells(row: str) -> list[str]:
    """Return a table row's cells; an escaped pipe is a part of its cell."""
    return [cell.strip().replace("\0", "|") for cell in row.strip("|").replace("\\|", "\0").split("|")]


def test_the_head_says_what_it_is_and_whose() -> None:
    """Name, version, purpose, owner and time stand first."""
    card = write_card(manifest_with(), MAINTENANCE)
    assert card.startswith("# toy, version 3\n\nWhich customers leave.\n\nOwner: owner@example.com. Made 2026-01-01T")
    assert card.endswith("rows would be refused.\n")


def test_every_metric_stands_with_its_interval() -> None:
    """Value, interval and the value on training rows, and which class is meant."""
    lines = section(write_card(manifest_with(), MAINTENANCE), "How good it is")
    assert lines[0] == "On 50 rows, with a 95 % bootstrap interval. The positive class is yes."
    rows = [cells(line) for line in lines[3:5]]
    assert rows == [["roc_auc", "0.8124", "0.7 to 0.9", "0.95"], ["brier", "0.2", "0.1 to 0.3", ""]]
    assert cells(lines[-1]) == ["city", "a|b", "0.75"]


def test_every_limit_stands_with_what_was_found() -> None:
    """Expected, found and where it is written; what could not be measured says so."""
    rows = [cells(line) for line in section(write_card(manifest_with(), MAINTENANCE), "Limits it was accepted against")]
    assert rows[2:] == [
        ["roc_auc", "at least 0.8", "0.8124", "model.yaml:6"],
        ["f1", "at most 1", "not measured", "model.yaml:7"],
    ]


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [({}, "None were stated."), ({"purpose": "x"}, "They were not held: no target was given.")],
    ids=["without-model-yaml", "with-model-yaml"],
)
def test_without_a_target_nothing_is_claimed(recipe: dict[str, str], expected: str) -> None:
    """A card without measurements says why, and does not say that no limits were stated where some were."""
    card = write_card(manifest_with(metrics={}, slices={}, limits=(), recipe=recipe), None)
    assert section(card, "How good it is") == ["Not measured: no target was given."]
    assert section(card, "Limits it was accepted against") == [expected]
    assert section(card, "Maintenance") == ["Not stated: there is no model.yaml."]


def test_features_stand_with_what_training_had() -> None:
    """Ranges, the first categories and how many more, free text; whatever a name holds, the table keeps its columns."""
    lines = section(write_card(manifest_with(), MAINTENANCE), "What it takes")
    assert [cells(line) for line in lines[2:]] == [
        ["age", "integer", "no", "18 to 90"],
        ["a|b", "text", "yes", "x|y, line break"],
        ["city", "text", "no", "a, b, c, d, e, f, g, h and 2 more"],
        ["diary", "text", "no", "free text"],
        ["since", "datetime", "no", ""],
    ]
    assert all(len(cells(line)) == 4 for line in lines)


def test_outputs_are_classes_or_a_number() -> None:
    """A classifier's classes are listed, a regression gives a number."""
    assert section(write_card(manifest_with(), None), "What it gives") == ["- `label`: one of no, yes"]
    signature = manifest_with().signature.model_copy(update={"outputs": (Output(name="price"),)})
    assert section(write_card(manifest_with(signature=signature), None), "What it gives") == ["- `price`: a number"]


def test_origin_privacy_and_maintenance_are_said() -> None:
    """What made it, what is kept out of records, and who keeps it good."""
    card = write_card(manifest_with(), MAINTENANCE)
    assert "- 100 training rows and 50 test rows, digest `0123456789abcdef`" in card
    assert "- git commit unknown" in card
    assert "Left out: age. Hashed: diary." in card
    assert section(card, "Maintenance")[-1] == "- Go back: `promote toy 1`"
    plain = write_card(manifest_with(privacy=Privacy(), git_commit="abc", notes=()), MAINTENANCE)
    assert "Nothing is left out. Nothing is hashed." in plain
    assert "## Notes" not in plain


def test_examples_are_no_training_rows() -> None:
    """Of a packaged pipeline nobody knows whether it was fitted on the examples, and its card claims neither."""
    unknown = "it is not known whether the pipeline was fitted on them"
    card = write_card(manifest_with(data=Data(sha256="01" * 32, train_rows=569, test_rows=0)), None)
    head = section(card, "How good it is")[0]
    assert head.startswith(f"On the 569 example rows, with a 95 % bootstrap interval; {unknown}. The positive class")
    origin = section(card, "What it was made of")[0]
    assert origin == f"- described by 569 example rows; {unknown}, digest `0101010101010101`"
    assert cells(section(card, "What it takes")[0])[-1] == "in the examples"
    assert "training rows and" not in card
    assert "test rows" not in card
