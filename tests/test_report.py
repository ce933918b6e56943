"""Drafts and their report: what a change would do, model by model, in words and figures."""

from pathlib import Path

import pytest

from lifecycle.data_checks import Finding
from lifecycle.decision import Cost, Decision, Difference
from lifecycle.errors import DataRefused, GateRefused, LifecycleError, Missing, VerifyFailed
from lifecycle.report import Section, describe_draft, model_section, read_drafts, save_draft, write_report
from lifecycle.training import Made, Stays
from lifecycle.versions import Version
from tests.test_card import cells, manifest_with


def difference(**parts: object) -> Difference:
    """Return a difference from the champion, some of its parts changed."""
    plain = {"metric": "roc_auc", "against": "champion", "rows": 800, "candidate": 0.81, "opponent": 0.84}
    plain |= {"difference": -0.03, "low": -0.05, "high": -0.01, "loss": 0.005, "tolerated": 0.02}
    return Difference.model_validate(plain | {"counts": True, "worse": False} | parts)


DECISION = Decision(
    verdict="accepted",
    champion=6,
    differences=(
        difference(),
        difference(against="refreshed", opponent=0.8, difference=0.01, low=-0.005, high=0.02, loss=-0.02),
        difference(metric="recall", counts=False),
        difference(slice="city is Bern", loss=0.01),
        difference(slice="city is Genf", loss=0.002),
        difference(against="constant", opponent=0.5, difference=0.31),
    ),
    candidate_cost=Cost(one_row_ms=0.2, loaded_bytes=40_000, load_ms={"import": 80.0, "load": 20.0}),
    champion_cost=Cost(one_row_ms=0.1, loaded_bytes=30_000, load_ms={"import": 70.0, "load": 20.0}),
)
VERSION = Version(manifest_with(), b"{}")
MADE = Made(VERSION, [Finding("changed", "age", "values from 1 to 9", "1 to 12")], {}, DECISION, ("the data changed",))


def rows_of(section: Section, first: str) -> list[list[str]]:
    """Return the cells of a section's rows whose first cell begins so."""
    return [cells(line) for line in section.lines if line.startswith(f"| {first}")]


def test_a_new_version_is_shown_beside_the_champion() -> None:
    """Metrics with intervals, the differences and what they mean, limits, decision, and both cold starts."""
    section = model_section(describe_draft("toy", MADE))
    assert section.title == "toy"
    assert section.summary == "a new version, not worse than version 6; roc_auc 0.8100, -0.0300 (-0.0500 to -0.0100)"
    assert section.lines[0] == "Made anew: the data changed."
    assert "- changed: age: expected values from 1 to 9, found 1 to 12" in section.lines
    assert "Accepted, beside the champion (version 6)." in section.lines
    metric, beside, *_ = rows_of(section, "roc_auc |")
    assert metric == ["roc_auc", "0.8124", "0.7000 to 0.9000"]
    assert ["roc_auc", "at least 0.8", "0.8124"] in rows_of(section, "roc_auc |")
    expected = ["-0.0300 (-0.0500 to -0.0100)", "0.8000", "+0.0100 (-0.0050 to +0.0200)", "not worse"]
    assert ["roc_auc", "0.8100", "0.8400", *expected] in rows_of(section, "roc_auc |")
    assert beside != metric
    assert rows_of(section, "recall")[0][-1] == "shown only"
    assert [row[0] for row in rows_of(section, "roc_auc where")] == ["roc_auc where city is Bern"]
    assert rows_of(section, "load: all of it") == [["load: all of it, ms", "100", "90"]]


def test_what_stays_is_said_with_its_reason() -> None:
    """Nothing changed: the version, and what was looked at."""
    section = model_section(describe_draft("toy", Stays(VERSION)))
    assert section.summary == "version 3 stays"
    assert section.lines == [
        "Version 3 stays: neither its folder, its data, the code that makes versions nor the locked libraries changed."
    ]


FAILURES: dict[str, LifecycleError] = {
    "gate": GateRefused(
        "Refused.", ["Worse than the champion"], DECISION.model_copy(update={"verdict": "refused"}).model_dump()
    ),
    "data": DataRefused("The data breaks it:", ["age: expected a column, found none"]),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_refusal_is_part_of_the_report(case: str) -> None:
    """A change that would fail is what a reviewer has to see: the message, the reasons, and what the gate found."""
    section = model_section(describe_draft("toy", FAILURES[case]))
    assert section.summary == f"no new version: {FAILURES[case].message}"
    assert all(f"- {reason}" in section.lines for reason in FAILURES[case].reasons)
    assert bool(rows_of(section, "recall")) is (case == "gate")


def test_a_first_version_and_one_that_is_meant() -> None:
    """There is nothing beside a first version; what is published all the same says why."""
    first = DECISION.model_copy(update={"champion": None, "differences": ()})
    assert model_section(describe_draft("toy", MADE._replace(decision=first))).summary == "a first version"
    meant = DECISION.model_copy(update={"verdict": "accepted despite", "accepted_because": "a new contract"})
    summary = model_section(describe_draft("toy", MADE._replace(decision=meant))).summary
    assert summary.startswith("a new version, although the gate refuses it: a new contract")


def test_drafts_are_read_as_they_were_written(tmp_path: Path) -> None:
    """One file a model; without names all of them."""
    drafts = [describe_draft("a", MADE), describe_draft("b", Stays(VERSION)), describe_draft("c", FAILURES["gate"])]
    for draft in drafts:
        save_draft(tmp_path / "drafts", draft)
    assert read_drafts(tmp_path / "drafts", []) == drafts
    assert read_drafts(tmp_path / "drafts", ["b"]) == drafts[1:2]
    with pytest.raises(Missing, match="train NAME --draft FOLDER"):
        read_drafts(tmp_path / "drafts", ["d"])
    with pytest.raises(Missing):
        read_drafts(tmp_path, [])
    (tmp_path / "drafts/a.json").write_text("{}")
    with pytest.raises(VerifyFailed, match="cannot be read"):
        read_drafts(tmp_path / "drafts", [])


def test_a_report_takes_sections_of_others() -> None:
    """At the top stands what each section comes to, below them what it holds: models, and whatever else is planned."""
    sections = [model_section(describe_draft("toy", Stays(VERSION))), Section("Terraform", "2 | to add", ["a plan"])]
    text = write_report(sections)
    assert text.startswith("# What this change would do\n")
    assert "| toy | version 3 stays |\n| Terraform | 2 \\| to add |" in text
    assert text.endswith("## Terraform\n\na plan\n")
