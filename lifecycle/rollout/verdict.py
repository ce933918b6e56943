"""What became of a release: written beside the version as JSON and as a page to read, and read before the next one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from function.contract import Shape
from function.store import Store
from lifecycle.errors import VerifyFailed

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
    candidate_requests: int
    stable_requests: int
    decision: str
    reasons: tuple[str, ...]


class Question(Shape):
    """One question of the judge at the end: what was counted on either side, and how far that is from chance."""

    asks: str
    candidate: str
    stable: str
    chance: float  # the largest probability with which a harmless candidate would ever look so bad
    bound: float  # the one below which it is rolled back


class Verdict(Shape):
    """A release from its beginning to its end."""

    rollout: str
    environment: str
    model: str
    version: int
    image: str
    candidate: str  # revision
    stable: str | None  # revision
    stable_version: int | None
    outcome: Outcome
    basis: str  # what the decision rests on: traffic, replay, nothing to compare with
    reasons: tuple[str, ...]
    notes: tuple[str, ...]  # what could not be looked at
    started_at: datetime
    ended_at: datetime
    by: str
    cold_start_ms: float | None
    golden: dict[str, Any]
    replay: dict[str, Any]
    steps: tuple[Step, ...]
    questions: tuple[Question, ...]


def write_verdict(store: Store, verdict: Verdict) -> str:
    """Write a verdict beside its version, as JSON and as Markdown; return the key of the page."""
    folder = f"{_folder(verdict.model, verdict.version)}{verdict.rollout}"
    store.create(f"{folder}.md", page(verdict).encode())
    store.create(f"{folder}.json", verdict.model_dump_json(indent=1).encode())
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


def last_word(verdicts: Sequence[Verdict], image: str, candidate: str) -> Verdict | None:
    """Return the verdict that still stands against releasing an image, or the revision that configuration made of it.

    What was promoted since, or only interrupted, stands against nothing.
    """
    about = [verdict for verdict in verdicts if image == verdict.image and verdict.outcome in ("promoted", *AGAINST)]
    last = about[-1] if about else None
    if last is None or last.outcome == "promoted":
        return None
    is_configuration = any(verdict.outcome == "promoted" for verdict in about)
    return last if not is_configuration or last.candidate == candidate else None


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
        *_section("What the judge asked", _questions(verdict)),
        *_section("Golden examples", _facts(verdict.golden)),
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


def _questions(verdict: Verdict) -> list[str]:
    rows = [
        (one.asks, one.candidate, one.stable, in_words(one.chance), in_words(one.bound)) for one in verdict.questions
    ]
    return _table(("more than the stable?", "candidate", "stable", "by chance", "bound"), rows) if rows else []


def in_words(chance: float) -> str:
    """Return a small probability as people say it."""
    return "even" if chance >= 1 else f"1 in {1 / chance:,.0f}" if chance > 0 else "never"


def _facts(facts: dict[str, Any]) -> list[str]:
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
