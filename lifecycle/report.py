"""What a change would do, for people who have to say yes to it: drafts of models, as Markdown.

A draft is all of a new version but its publication (`train --draft FOLDER`), or why there would be none.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from function.contract import Manifest
from lifecycle.card import describe_engine
from lifecycle.decision import Decision, comparison_rows, markdown_table, write_decision
from lifecycle.errors import GateRefused, LifecycleError, Missing, VerifyFailed
from lifecycle.plan import Plan
from lifecycle.training import Made, Stays

TITLE = "What this change would do"


class Failure(BaseModel):
    """Why there is no new version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exit_code: int
    message: str
    reasons: tuple[str, ...] = ()


class Draft(BaseModel):
    """What would become of one model: a new version, the one that stays, or a failure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    changed: tuple[str, ...] = ()  # why it is made anew; nothing where that was not asked
    stays: int | None = None  # the version that nothing replaces
    manifest: Manifest | None = None
    decision: Decision | None = None
    findings: tuple[str, ...] = ()  # how the data differs from the last version's
    failure: Failure | None = None


class Section(NamedTuple):
    """A part of a report: its heading, one sentence for the list at the top, and lines of Markdown."""

    title: str
    summary: str
    lines: Sequence[str]


def describe_draft(model: str, outcome: Made | Stays | LifecycleError) -> Draft:
    """Return the draft of a model by what training it came to."""
    if isinstance(outcome, LifecycleError):
        decision = Decision.model_validate(outcome.decision) if isinstance(outcome, GateRefused) else None
        failure = Failure(exit_code=outcome.exit_code, message=outcome.message, reasons=tuple(outcome.reasons))
        return Draft(model=model, decision=decision, failure=failure)
    manifest = outcome.version.manifest
    if isinstance(outcome, Stays):
        return Draft(model=model, stays=manifest.version, manifest=manifest)
    findings = tuple(f"{finding.level}: {finding}" for finding in outcome.findings)
    return Draft(model=model, changed=outcome.changed, manifest=manifest, decision=outcome.decision, findings=findings)


def save_draft(folder: Path, draft: Draft) -> Path:
    """Write a draft into a folder; return the file. Raises LifecycleError where the folder takes none."""
    file = folder / f"{draft.model}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(draft.model_dump_json(indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        text = f"{folder}: a folder that can be written is expected, found: {error.strerror or error}"
        raise LifecycleError(f"{text}. Name another one.") from error
    return file


def read_drafts(folder: Path, names: Sequence[str]) -> list[Draft]:
    """Return the drafts of these models, or of all that there are; raises Missing, or VerifyFailed."""
    files = [folder / f"{name}.json" for name in names] or sorted(folder.glob("*.json"))
    missing = [str(file) for file in files if not file.is_file()]
    if missing or not files:
        raise Missing("There is no draft. Make one: python -m lifecycle train NAME --draft FOLDER", missing)
    try:
        return [Draft.model_validate_json(file.read_bytes()) for file in files]
    except ValidationError as error:
        raise VerifyFailed(f"A draft in {folder} cannot be read: {error.error_count()} faults.") from error


def write_report(sections: Sequence[Section], title: str = TITLE) -> str:
    """Return a report: what each section comes to, then the sections."""
    summary = markdown_table(("", "comes to"), [(section.title, section.summary) for section in sections])
    parts = [[f"# {title}", "", *summary], *([f"## {section.title}", "", *section.lines] for section in sections)]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def model_section(draft: Draft) -> Section:
    """Return what would become of a model, with the figures to judge it by."""
    lines = [f"Made anew: {' and '.join(draft.changed)}."] if draft.changed else []
    if draft.stays is not None:
        text = "neither its folder, its data, the code that makes versions nor the locked libraries changed"
        return Section(draft.model, f"version {draft.stays} stays", [f"Version {draft.stays} stays: {text}."])
    if draft.failure is not None:
        lines += ["", draft.failure.message, "", *(f"- {reason}" for reason in draft.failure.reasons)]
    if draft.findings:
        lines += ["", "The data differs from that of the version before:", "", *(f"- {one}" for one in draft.findings)]
    if draft.manifest is not None:
        lines += ["", describe_engine(draft.manifest), *_metrics(draft.manifest), *_limits(draft.manifest)]
    if draft.decision is not None:
        lines += ["", "### Held against what there is", "", *write_decision(draft.decision)]
    return Section(draft.model, _summary(draft), lines)


def plan_section(plan: Plan | None) -> Section:
    """Return what Terraform would change."""
    if plan is None:
        return Section("Terraform", "nothing was planned", ["Nothing was planned."])
    said = "Compared with Terraform's state; what was changed behind its back shows after the merge."
    return Section("Terraform", plan.summary, [said, "", *(f"    {line}" for line in plan.text.splitlines())])


def _summary(draft: Draft) -> str:
    if draft.failure is not None:
        return f"no new version: {draft.failure.message}"
    decision = draft.decision
    if decision is None or decision.champion is None:
        return "a first version"
    text = f"a new version, not worse than version {decision.champion}"
    if decision.verdict == "accepted despite":
        text = f"a new version, although the gate refuses it: {decision.accepted_because}"
    rows = [row for row in comparison_rows(decision) if row[-1] != "shown only" and row[3]]
    return f"{text}; {rows[0][0]} {rows[0][1]}, {rows[0][3]}" if rows else text


def _metrics(manifest: Manifest) -> list[str]:
    rows = [(name, f"{one.value:.4f}", f"{one.low:.4f} to {one.high:.4f}") for name, one in manifest.metrics.items()]
    return ["", *markdown_table(("metric", "value", "95 % interval"), rows)] if rows else []


def _limits(manifest: Manifest) -> list[str]:
    rows = [(one.name, one.rule, "" if one.value is None else f"{one.value:.4g}") for one in manifest.limits]
    return ["", *markdown_table(("limit", "expected", "found"), rows)] if rows else []
