"""decision.json: what a candidate was compared with before it was published, what was found, and what was decided."""

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict

DECISION = "decision.json"

Opponent = Literal["champion", "refreshed", "constant", "half"]
OTHERS: tuple[Opponent, ...] = ("champion", "refreshed")
Verdict = Literal["accepted", "refused", "accepted despite"]
IN_WORDS = {
    "champion": "the champion",
    "refreshed": "the champion refreshed",
    "constant": "a constant",
    "half": "the same pipeline fitted on half of the training rows",
    "calibration": "calibration error",
}


class Part(BaseModel):
    """A part of decision.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Difference(Part):
    """The candidate and one opponent on the same rows: a metric of both, and how sure the difference is.

    `difference` is the candidate's value minus the opponent's, `low` to `high` its 95 % bootstrap interval. `loss` is
    how much worse the candidate is at least, at the level that is divided among all differences; below 0 it need not
    be worse at all. More than `tolerated` is refused where the difference `counts`.
    """

    metric: str
    slice: str = ""  # the group of rows, where it is not all of them
    halves: bool = False  # asked on half of the training rows, of the same pipeline fitted on the other half
    against: Opponent
    rows: int
    candidate: float
    opponent: float
    difference: float
    low: float
    high: float
    loss: float
    tolerated: float
    counts: bool
    worse: bool

    def line(self) -> str:
        """Return what was found as a sentence's middle: both values, the interval, and on what."""
        values = f"{self.candidate:.4f} against {self.opponent:.4f}"
        interval = f"difference {self.difference:+.4f}, 95 % interval {self.low:+.4f} to {self.high:+.4f}"
        return f"{_named(self)}: {values} on {self.rows} rows ({interval})"


class Cost(Part):
    """What an answer and a start cost, measured in one process that has the image's packages alone."""

    one_row_ms: float | None = None  # the median of one row through the serving engine, asked alternately
    loaded_bytes: int  # of the file that the serving engine loads
    load_ms: dict[str, float] = {}  # the parts of a cold start


class Decision(Part):
    """What was decided on a candidate, and on which evidence."""

    format: Literal[1] = 1
    verdict: Verdict
    reasons: tuple[str, ...] = ()  # what speaks against it
    accepted_because: str | None = None  # the owner's words, where it was published despite them
    champion: int | None = None  # the version that it was compared with
    left_out: dict[Opponent, str] = {}  # what could not be compared, and why
    remarks: tuple[str, ...] = ()  # what a reader has to know of the comparison
    resamples: int = 0
    differences: tuple[Difference, ...] = ()
    rests_on: dict[str, float] = {}  # the columns that the candidate's answers rest on most, and how much
    candidate_cost: Cost | None = None
    champion_cost: Cost | None = None


def worst_slices(differences: Iterable[Difference]) -> list[Difference]:
    """Return the slice in which the candidate loses most, against each opponent."""
    worst: dict[Opponent, Difference] = {}
    for one in differences:
        if one.slice and (one.against not in worst or _beyond(one) > _beyond(worst[one.against])):
            worst[one.against] = one
    return list(worst.values())


def _beyond(one: Difference) -> float:
    return one.loss - one.tolerated


def describe_verdict(decision: Decision) -> str:
    """Return the verdict in a sentence."""
    nobody = "with no champion to compare it with"
    against = nobody if decision.champion is None else f"beside the champion (version {decision.champion})"
    if decision.verdict != "accepted despite":
        return f"{decision.verdict.capitalize()}, {against}."
    return f"Refused by the gate, and published all the same, because: {decision.accepted_because}"


COMPARISON_HEAD = ("metric", "candidate", "champion", "difference", "champion refreshed", "difference", "means")


def comparison_rows(decision: Decision) -> list[tuple[str, ...]]:
    """Return a table's rows, one a metric and one a worst slice; each difference with its 95 % interval."""
    shown = [one for one in decision.differences if not one.slice and one.against in OTHERS] + worst_slices(
        decision.differences
    )
    rows = []
    for key in dict.fromkeys((one.metric, one.slice) for one in shown):
        beside = {one.against: one for one in decision.differences if (one.metric, one.slice) == key and not one.halves}
        one = beside.get("refreshed") or beside["champion"]
        cells = [cell for name in OTHERS for cell in _beside(beside.get(name))]
        rows.append((_named(one), f"{one.candidate:.4f}", *cells, _meaning(list(beside.values()))))
    return rows


def cost_rows(decision: Decision) -> list[tuple[str, ...]]:
    """Return a table's rows: what a row, a load and the loaded file cost, the champion beside the candidate."""
    ours, theirs = decision.candidate_cost, decision.champion_cost
    if ours is None:
        return []
    parts = [
        (f"load: {part}, ms", ms, theirs.load_ms.get(part) if theirs else None) for part, ms in ours.load_ms.items()
    ]
    total = sum(ours.load_ms.values()), sum(theirs.load_ms.values()) if theirs and theirs.load_ms else None
    cells: list[tuple[str, float | None, float | None]] = [
        ("one row, ms", ours.one_row_ms, theirs.one_row_ms if theirs else None),
        ("loaded, MB", ours.loaded_bytes / 1e6, theirs.loaded_bytes / 1e6 if theirs else None),
        *parts,
        *([("load: all of it, ms", *total)] if parts else []),
    ]
    return [(name, _number(one), _number(other)) for name, one, other in cells]


COST_HEAD = ("cost", "candidate", "champion")


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Return a table as lines of Markdown."""
    head = list(head)
    cells = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in cells]


def write_decision(decision: Decision) -> list[str]:
    """Return the decision as lines of Markdown, without a heading."""
    lines = [describe_verdict(decision), ""]
    lines += [f"- {text}" for text in decision.reasons]
    aside = [one for one in decision.differences if one.against not in OTHERS]
    lines += [f"- Beside {IN_WORDS[one.against]}, {one.line()}." for one in aside]
    lines += [f"- Not compared with {IN_WORDS[name]}: {why}" for name, why in decision.left_out.items()]
    lines += [f"- {text}" for text in decision.remarks]
    if decision.rests_on:
        most = ", ".join(f"{name} ({share:.0%})" for name, share in decision.rests_on.items())
        lines.append(f"- Its answers rest most on {most}.")
    for head, rows in ((COMPARISON_HEAD, comparison_rows(decision)), (COST_HEAD, cost_rows(decision))):
        lines += ["", *markdown_table(head, rows)] if rows else []
    return lines


def _named(one: Difference) -> str:
    where = f" where {one.slice}" if one.slice else " from one half of the training rows to the other" * one.halves
    return IN_WORDS.get(one.metric, one.metric) + where


def _beside(one: Difference | None) -> tuple[str, str]:
    if one is None:
        return "", ""
    return f"{one.opponent:.4f}", f"{one.difference:+.4f} ({one.low:+.4f} to {one.high:+.4f})"


def _meaning(beside: list[Difference]) -> str:
    others = [one for one in beside if one.against in OTHERS]
    if any(one.worse for one in others):
        return "worse"
    return "not worse" if any(one.counts for one in others) else "shown only"


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3g}"
