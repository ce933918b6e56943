"""What became of a release: written beside the version as JSON and as a page to read, and read before the next one."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from function.contract import Shape
from function.store import AlreadyExists, Store
from lifecycle.errors import VerifyFailed
from lifecycle.rollout.judge import Finding

Outcome = Literal["promoted", "refused", "rolled back", "interrupted", "overtaken", "shadowed"]
IN_WORDS: dict[Outcome, str] = {
    "promoted": "answers everything",
    "refused": "was refused before any caller met it",
    "rolled back": "was rolled back",
    "interrupted": "was taken back, because the release was interrupted",
    "overtaken": "is no longer released from here: somebody else moved the traffic",
    "shadowed": "was shown what callers send, and answered none of them",
}
AGAINST: tuple[Outcome, ...] = ("refused", "rolled back")


class Step(Shape):
    """One share of the traffic: since when, how much was seen, and what was decided."""

    percent: int
    since: datetime
    until: datetime
    candidate_requests: int  # of the release so far
    stable_requests: int
    decision: str
    basis: str
    reasons: tuple[str, ...]


class Verdict(Shape):
    """A release from its beginning to its end."""

    rollout: str
    environment: str
    model: str
    version: int
    image: str
    tag: str  # of that image, where it was found by its code and its pin
    candidate: str  # revision
    stable: str | None  # revision
    stable_version: int | None
    outcome: Outcome
    heading: str | None  # of the runbook, where it did not go on
    basis: str  # what the decision rests on
    reasons: tuple[str, ...]
    notes: tuple[str, ...]  # what could not be looked at
    started_at: datetime
    ended_at: datetime
    by: str
    cold_start_ms: float | None
    examined: Mapping[str, Any] = {}
    replay: Mapping[str, Any] = {}
    steps: tuple[Step, ...] = ()
    findings: tuple[Finding, ...] = ()


def write_verdict(store: Store, verdict: Verdict) -> str:
    """Write a verdict beside its version, as JSON and as Markdown; return the key of the page.

    What is there already stays: a run that was killed while it wrote has told the same.
    """
    folder = f"{_folder(verdict.model, verdict.version)}{verdict.rollout}"
    for kind, text in (("md", page(verdict)), ("json", verdict.model_dump_json(indent=1))):
        with suppress(AlreadyExists):
            store.create(f"{folder}.{kind}", text.encode())
    return f"{folder}.md"


def read_verdicts(store: Store, model: str, version: int) -> list[Verdict]:
    """Return the verdicts on a version, oldest first; raises VerifyFailed for one that cannot be read."""
    keys = [entry.key for entry in store.list(_folder(model, version)) if entry.key.endswith(".json")]
    verdicts = []
    for key in keys:
        try:
            verdicts.append(Verdict.model_validate_json(store.get(key).content))
        except ValidationError as error:
            raise VerifyFailed(f"{store.url}/{key} cannot be read: {error.error_count()} faults.") from error
    return sorted(verdicts, key=lambda verdict: verdict.ended_at)


def summary(verdict: Verdict) -> str:
    """Return the outcome as one sentence."""
    return f"{verdict.model} {verdict.version} {IN_WORDS[verdict.outcome]}."


def page(verdict: Verdict) -> str:
    """Return a verdict as Markdown."""
    stable = f"version {verdict.stable_version} ({verdict.stable})" if verdict.stable else "nothing"
    minutes = (verdict.ended_at - verdict.started_at).total_seconds() / 60
    lines = [
        f"# {verdict.model} {verdict.version}: {verdict.outcome}",
        "",
        summary(verdict),
        "",
        *(f"- {reason}" for reason in verdict.reasons),
        "",
        *_table(
            ("", ""),
            [
                ("revision", verdict.candidate),
                ("image", verdict.image),
                ("compared with", stable),
                ("decided on", verdict.basis),
                ("began", verdict.started_at.isoformat(timespec="seconds")),
                ("took", f"{minutes:.1f} minutes"),
                ("by", verdict.by),
                ("cold start", "not seen" if verdict.cold_start_ms is None else f"{verdict.cold_start_ms:.0f} ms"),
            ],
        ),
        *_section("Not looked at", [f"- {note}" for note in verdict.notes]),
        *_section("Steps", _steps(verdict)),
        *_section("What the judge asked", _findings(verdict)),
        *_section("At 0 %", _facts(verdict.examined)),
        *_section("Replay", _facts(verdict.replay)),
    ]
    return "\n".join(lines) + "\n"


def _folder(model: str, version: int) -> str:
    return f"{model}/{version}/rollouts/"


def _steps(verdict: Verdict) -> list[str]:
    rows = [
        (
            f"{step.percent} %",
            f"{(step.until - step.since).total_seconds() / 60:.1f}",
            f"{step.candidate_requests:,}",
            f"{step.stable_requests:,}",
            f"{step.decision}: {'; '.join(step.reasons)}" if step.reasons else step.decision,
        )
        for step in verdict.steps
    ]
    return _table(("traffic", "minutes", "requests of it", "of the stable", "decision"), rows) if rows else []


def _findings(verdict: Verdict) -> list[str]:
    rows = [(one.check, one.text, f"1 in {one.one_in:,.0f}") for one in verdict.findings]
    return _table(("more of it than the stable?", "counted", "by chance"), rows) if rows else []


def _facts(facts: Mapping[str, Any]) -> list[str]:
    return _table(("", ""), [(name.replace("_", " "), _text(value)) for name, value in facts.items()]) if facts else []


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return "; ".join(map(_text, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(one)}" for name, one in value.items()) or "none"
    return str(value)


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", f"## {title}", "", *lines] if lines else []


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |" for row in cells]
