"""A verdict as a page for people: Markdown, which stands beside the version and in the log of a delivery."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lifecycle.decision import markdown_table

if TYPE_CHECKING:
    from lifecycle.rollout.verdict import Outcome, Verdict

IN_WORDS: dict[Outcome, str] = {
    "promoted": "answers everything",
    "refused": "was refused before any caller met it",
    "rolled back": "was rolled back",
    "interrupted": "was taken back, because the release was interrupted",
    "overtaken": "is no longer released from here: somebody else moved the traffic",
    "shadowed": "was shown what callers send, and answered none of them",
}
# What a decision rests on.
BASES = {
    "traffic": "what callers met",
    "replay": "the replay of recent requests, for traffic was low",
    "nothing": "its golden examples alone: traffic was low, and there were no recent requests to replay",
}
LARGEST = 5  # moves that are shown


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
        *markdown_table(
            ("", ""),
            [
                ("revision", verdict.candidate),
                ("image", verdict.image),
                ("compared with", stable),
                ("decided on", BASES.get(verdict.basis, verdict.basis)),
                ("began", verdict.started_at.isoformat(timespec="seconds")),
                ("took", f"{minutes:.1f} minutes"),
                ("by", verdict.by),
                ("cold start", "not seen" if verdict.cold_start_ms is None else f"{verdict.cold_start_ms:.0f} ms"),
            ],
        ),
        *_section("Not looked at", [f"- {note}" for note in verdict.notes]),
        *_section("Steps", _steps(verdict)),
        *_section("What the judge asked", _findings(verdict)),
        *_section("At 0 %", [f"- {line}" for line in _examined(verdict.examined)]),
        *_section("Replay", list(_replayed(verdict.replay))),
    ]
    return "\n".join(lines) + "\n"


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
    return markdown_table(("traffic", "minutes", "requests of it", "of the stable", "decision"), rows) if rows else []


def _findings(verdict: Verdict) -> list[str]:
    rows = [(one.check, one.counted, f"1 in {one.one_in:,.0f}") for one in verdict.findings]
    return markdown_table(("more of it than the stable?", "counted", "by chance"), rows) if rows else []


def _examined(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what was asked at 0 %, as lifecycle.rollout.examination.Examined tells it."""
    if not facts:
        return
    yield f"golden examples compared with what is recorded: {facts['golden']}"
    yield f"bad requests sent: {len(facts['bodies'])} ({', '.join(facts['bodies'])})"
    yield from (f"wrong: {fault}" for fault in facts["faults"])
    if not facts["faults"]:
        yield "all were answered as they have to be"


def _replayed(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what came of a replay, as lifecycle.rollout.replay.Replayed tells it."""
    if facts:
        yield from (f"- {line}" for line in (*_compared(facts), *_not_compared(facts)))
        yield from _slices(facts["slices"])
        yield from _largest([move for move in facts["largest"] if move["size"]])


def _compared(facts: Mapping[str, Any]) -> Iterator[str]:
    asked, differing = facts["compared"]["asked"], facts["compared"]["differing"]
    if asked:
        between = f"{100 * differing / asked:.1f} %, between {100 * facts['low']:.1f} and {100 * facts['high']:.1f} %"
        yield f"{asked} recent instances were answered by both revisions, {differing} of them otherwise ({between})"
    if latency := facts["latency"]:
        times = f"{latency['candidate_ms']:.3g} and {latency['stable_ms']:.3g} ms, {latency['pairs']} pairs of calls"
        interval = f"{latency['low']:.3g} to {latency['high']:.3g}"
        yield f"it took {latency['ratio']:.3g} times ({interval}) the stable's time: {times}"
    if moves := facts["moves"]:
        sizes = ", ".join(f"{100 * float(part):g} % at most {size:.3g}" for part, size in moves.items())
        yield f"how far answers moved: {sizes}"


def _not_compared(facts: Mapping[str, Any]) -> Iterator[str]:
    if facts["made_up"]:
        yield f"made up, because records do not hold it: {'; '.join(facts['made_up'])}"
    yield from (f"{count} could not be asked: {why}" for why, count in facts["cannot_be_asked"].items())
    for what in ("refused_by_candidate", "refused_by_stable", "failed_candidate", "failed_stable"):
        if facts[what]:
            yield f"{what.replace('_', ' ')}: {facts[what]}"
    yield from facts["notes"]


def _slices(slices: Mapping[str, Mapping[str, Mapping[str, int]]]) -> list[str]:
    """Return where answers differ, as a table; nothing where none does."""
    rows = [
        (column, value, f"{share['differing']} of {share['asked']}")
        for column, values in slices.items()
        for value, share in values.items()
        if share["differing"]
    ]
    return ["", *markdown_table(("column", "value", "answered otherwise"), rows)] if rows else []


def _largest(moves: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        (f"{one['size']:.3g}", _pairs(one["instance"]), str(one["stable"]), str(one["candidate"]))
        for one in moves[:LARGEST]
    ]
    return ["", *markdown_table(("moved by", "instance", "the stable's answer", "its answer"), rows)] if rows else []


def _pairs(instance: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in instance.items())


def _section(title: str, lines: list[str]) -> list[str]:
    return ["", f"## {title}", "", *lines] if lines else []
