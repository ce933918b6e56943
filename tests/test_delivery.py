"""What a delivery came to: its record, what its steps left, what Terraform said."""

import json
from pathlib import Path

import pytest

from function.store import FileStore
from lifecycle import delivery
from lifecycle.environment import Environment
from lifecycle.errors import LifecycleError
from lifecycle.plan import Plan, read_plan
from lifecycle.versions import NAME, move_alias
from tests.toys import TOYS, publish_toy

TARGET = Environment("dev", "p", "europe-west6", "pilot", "models", {"new": {}, "toy": {}, "torn": {}})
FACTS = {"run": "deliver", "commit": "abc", "build": "b-1"}


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """Return a store with two versions of a toy, the first of which answers, and a version that cannot be read."""
    made = FileStore(tmp_path / "store")
    for _ in range(2):
        publish_toy(made, "toy", TOYS["truth"]())
    move_alias(made, "toy", "champion", 1)
    move_alias(made, "toy", "challenger", 2)
    made.create("torn/1/manifest.json", b"{")
    made.create("toy/2/rollouts/r-1.json", b"{}")
    made.create("toy/2/rollouts/r-2.json", b"{}")
    return made


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Return the notes of a delivery in which all went well but a release, and one step was ended."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for step, code in {"train": 0, "build": 0, "rollout": 10}.items():
        (folder / step).write_text(f"{code}\n")
    (folder / "plan.txt").write_text("a: Refreshing state... [id=a]\n\nPlan: 0 to add, 1 to change, 0 to destroy.\n")
    return folder


def test_a_record_tells_of_each_model(store: FileStore, notes: Path) -> None:
    """The version to be released, the one that answers, its last verdict; one that cannot be read hides no other."""
    kept = delivery.record(store, TARGET, notes, FACTS)
    record = json.loads(store.get(f"{kept.key}.json").content)
    assert record == kept.record
    toy = record["models"]["toy"]
    assert (toy["version"], toy["champion"], toy["verdict"]) == (2, 1, "toy/2/rollouts/r-2.json")
    assert toy["outcome"] == "version 2 is published but not released; version 1 answers"
    assert record["models"]["new"]["outcome"] == "no version is published"
    assert "cannot be read" in record["models"]["torn"]["outcome"]
    assert record["steps"] == {"train": 0, "image": None, "build": 0, "rollout": 10}


def test_a_record_can_be_read(store: FileStore, notes: Path) -> None:
    """The Markdown says commit, outcome, what each exit code means, and what Terraform would change."""
    text = store.get(f"{delivery.record(store, TARGET, notes, FACTS).key}.md").content.decode()
    assert "- commit: abc" in text
    assert (
        "| toy | version 2 is published but not released; version 1 answers | none | toy/2/rollouts/r-2.json |" in text
    )
    assert "- train: succeeded" in text
    assert "- image: did not end, or was not reached" in text
    assert "- rollout: ended with 10: A candidate was refused, or rolled back" in text
    assert "- Terraform: Plan: 0 to add, 1 to change, 0 to destroy." in text


def test_a_delivery_that_did_not_all_succeed_fails(store: FileStore, notes: Path) -> None:
    """Steps that failed, or left no word, are named; where all succeeded there is nothing to say."""
    with pytest.raises(LifecycleError, match="not all of it succeeded") as caught:
        delivery.check(delivery.record(store, TARGET, notes, FACTS))
    assert [reason.split()[0] for reason in caught.value.reasons] == ["image", "rollout"]
    for step in delivery.STEPS:
        (notes / step).write_text("0\n")
    delivery.check(delivery.record(store, TARGET, notes, {**FACTS, "build": "b-2"}))


def test_no_model_can_be_called_like_the_records_folder() -> None:
    """Records and models lie beside each other in the store."""
    assert NAME.fullmatch(delivery.FOLDER) is None


PLANS: dict[str, tuple[str, Plan]] = {
    "nothing": (
        "No changes. Your infrastructure matches.\n",
        Plan("No changes. Your infrastructure matches.", False, ""),
    ),
    "changes": (
        "x.y: Reading...\nx.y: Read complete after 0s [id=1]\n  ~ memory = 1\n"
        "Plan: 1 to add, 0 to change, 2 to destroy.\n",
        Plan(
            "Plan: 1 to add, 0 to change, 2 to destroy.",
            False,
            "~ memory = 1\nPlan: 1 to add, 0 to change, 2 to destroy.",
        ),
    ),
    "drift": (
        "Note: Objects have changed outside of Terraform\nPlan: 0 to add, 1 to change, 0 to destroy.\n",
        Plan("Plan: 0 to add, 1 to change, 0 to destroy.", True, ""),
    ),
    "an error": ("Error: no\n", Plan("It ended without a result.", False, "Error: no")),
}


@pytest.mark.parametrize(("said", "expected"), PLANS.values(), ids=PLANS)
def test_plans_are_read(said: str, expected: Plan, tmp_path: Path) -> None:
    """Its last words, whether there was drift, and its text without what it says while it looks."""
    (tmp_path / "plan.txt").write_text(said)
    found = read_plan(tmp_path / "plan.txt")
    assert found is not None
    assert found == expected._replace(text=expected.text or said.strip())
    assert read_plan(tmp_path / "none.txt") is None
