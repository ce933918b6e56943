"""Promote, wait or roll back: what was seen of two revisions, weighed. No cloud, no clock, no chance.

Each look is weighed into evidence, which is plain JSON and goes on where a killed tool left it. The evidence of the
checks, each with its weight, is added up. Ville's inequality holds for the sum, too: a version that does nothing more
than is tolerated is ever rolled back with a probability of at most `false_rollbacks`, however often one looks.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from lifecycle.rollout import sequential
from lifecycle.rollout.checks import Check, Checks, Kept, Slice
from lifecycle.rollout.evidence import Look, Seen

DOUBT = 3  # one check's evidence of 1 in so many is no reason to roll back, but one to wait with more traffic
PATIENCE = 4  # times minutes_per_step, after which a step ends with what there is
MOST_SHOWN = 1e9
# A revision that is seldom asked answers slower for that alone. Of two runs of the churn example, asked 100 times a
# second, 90 % of the answers took at most 0.8 ms; once a second, 0.9; once in two seconds, 1.7 and 3.6. What is asked
# less often than IDLE_RATE a second, and less than half as often as the other revision, may take IDLE_MS more.
IDLE_RATE = 0.7
IDLE_MS = 3.0

Verdict = Literal["promote", "wait", "roll back"]
Basis = Literal["traffic", "replay", "nothing"]  # what a decision rests on; the others where traffic is low


class Weighed(Kept):
    """What a check has seen so far; `growth` is the log of its evidence for each of the factors of `sequential`."""

    growth: tuple[float, ...]
    candidate: int = 0
    candidate_events: int = 0
    stable: int = 0
    stable_events: int = 0


class Totals(NamedTuple):
    """Requests so far, and those of which a record was read."""

    candidate: int = 0
    stable: int = 0
    candidate_answers: int = 0
    stable_answers: int = 0


class Tally(NamedTuple):
    """What checks count in a look, or in one look each of many releases."""

    events: np.ndarray  # ... x checks x (candidate, its events, stable, its events)
    ranked: Sequence[np.ndarray]  # of each check that ranks: ... x (candidate, stable) x bins


class Evidence(Kept):
    """What all looks of a release have said so far."""

    looks: int = 0
    totals: Totals = Totals()
    weighed: dict[str, Weighed] = Field(default={})  # by the check's name


class Step(NamedTuple):
    """Where a release is."""

    percent: int  # of the traffic
    minutes: float  # since it began
    replay: Literal["held", "failed", "nothing"]  # of recent requests at 0 %; nothing where there were none


class Finding(Kept):
    """One check in words: how it stands."""

    check: str
    counted: str
    one_in: float  # how seldom a version that is no worse gets this far by chance

    @property
    def text(self) -> str:
        """Return it as one clause."""
        return f"{self.check}: {self.counted}; {_seldom(self.one_in)}"


class Decision(Kept):
    """What to do now, and why."""

    verdict: Verdict
    reasons: tuple[str, ...]
    basis: Basis
    one_in: float  # the evidence of all checks together


def weigh(checks: Checks, evidence: Evidence, look: Look) -> Evidence:
    """Return the evidence after one more look, which must not span two steps."""
    seen = tally(checks, look)
    before = _weighed(checks, evidence)
    growth = carried(checks, np.array([one.growth for one in before]), seen)
    weighed = {
        check.name: Weighed(
            growth=tuple(grown.tolist()),
            candidate=one.candidate + int(row[0]),
            candidate_events=one.candidate_events + int(row[1]),
            stable=one.stable + int(row[2]),
            stable_events=one.stable_events + int(row[3]),
        )
        for check, one, grown, row in zip(checks.checks, before, growth, seen.events, strict=True)
    }
    arms = look.candidate, look.stable
    counted = (*(arm.counts.requests for arm in arms), *(len(arm.answers) for arm in arms))
    totals = Totals(*(old + new for old, new in zip(evidence.totals, counted, strict=True)))
    return Evidence(looks=evidence.looks + 1, totals=totals, weighed=weighed)


def decide(checks: Checks, evidence: Evidence, step: Step) -> Decision:
    """Return what to do at a step with the evidence so far."""
    growth = np.array([one.growth for one in _weighed(checks, evidence)])
    total, enough = against(checks, growth), has_enough(checks, np.array(evidence.totals))
    verdict: Verdict = rule(checks, total, is_doubtful(growth), enough, step).item()
    return Decision(
        verdict=verdict,
        reasons=tuple(_reasons(verdict, checks, evidence, step, float(total))),
        basis=_basis(bool(enough | (total >= limit(checks))), step),
        one_in=_one_in(float(total)),
    )


def findings(checks: Checks, evidence: Evidence) -> tuple[Finding, ...]:
    """Return how every check stands, what speaks most against the candidate first."""
    pairs = zip(checks.checks, _weighed(checks, evidence), strict=True)
    found = [(check, one, float(sequential.evidence(np.array(one.growth)))) for check, one in pairs]
    found.sort(key=lambda each: -(each[2] + math.log(each[0].weight)))
    return tuple(
        Finding(check=check.name, counted=_counted(check, one), one_in=_one_in(log)) for check, one, log in found
    )


def tally(checks: Checks, look: Look) -> Tally:
    """Return what each check counts in a look."""
    seconds = (look.until - look.since).total_seconds()
    asked = [np.array(arm.counts.requests / look.fraction) for arm in (look.candidate, look.stable)]
    allowance = float(allowance_ms(checks, asked[0], asked[1], seconds))
    candidate = _Arm(look.candidate, lambda ms: (ms - allowance) / checks.slower)
    stable = _Arm(look.stable, lambda ms: ms)
    events = [(*candidate.count(check), *stable.count(check)) for check in checks.checks]
    ranked = [(candidate.ranks(check.cuts), stable.ranks(check.cuts)) for check in checks.checks if check.cuts]
    return Tally(np.array(events, dtype=np.int64).reshape(-1, 4), [np.array(one) for one in ranked])


def allowance_ms(checks: Checks, candidate: np.ndarray, stable: np.ndarray, seconds: float) -> np.ndarray:
    """Return what is taken off the candidate's latencies, given the requests to either revision within a look."""
    idle = (candidate < IDLE_RATE * seconds) & (2 * candidate < stable)
    return np.where(idle, checks.allowance_ms + IDLE_MS, checks.allowance_ms)


def start(checks: Checks) -> np.ndarray:
    """Return the growth before anything was seen, checks x factors."""
    return np.array([_stakes(check) for check in checks.checks])


def carried(checks: Checks, growth: np.ndarray, seen: Tally) -> np.ndarray:
    """Return the growth after a look, ... x checks x factors."""
    return sequential.carried(growth, _ratios(checks, seen), start(checks))


def _stakes(check: Check) -> tuple[float, ...]:
    return sequential.SMALL_FIRST if check.asked in ("latency", "predictions") else sequential.EVENLY


def _weighed(checks: Checks, evidence: Evidence) -> list[Weighed]:
    return [evidence.weighed.get(check.name) or Weighed(growth=_stakes(check)) for check in checks.checks]


def _ratios(checks: Checks, seen: Tally) -> np.ndarray:
    """Return the log likelihood ratios of what was counted, ... x checks x factors."""
    logs = np.zeros((*seen.events.shape[:-1], len(sequential.FACTORS)))
    for test in (_by_chance, _by_instance):
        at = [index for index, check in enumerate(checks.checks) if _test_of(check) is test]
        asked = [checks.checks[index] for index in at]
        if asked:
            logs[..., at, :] = test(asked, seen.events[..., at, :])
    ranking = [index for index, check in enumerate(checks.checks) if check.cuts]
    for index, bins in zip(ranking, seen.ranked, strict=True):
        flat = bins.reshape(-1, 2, bins.shape[-1])
        logs[..., index, :] = _shaped(sequential.ordered(flat[:, 0], flat[:, 1]), bins[..., 0, 0])
    return logs


def against(checks: Checks, growth: np.ndarray) -> np.ndarray:
    """Return the log of the weighted sum of all checks' evidence; `growth` is ... x checks x factors."""
    weights = np.log([check.weight for check in checks.checks])
    logs = sequential.evidence(growth) + weights
    peak = logs.max(axis=-1)
    return np.asarray(peak + np.log(np.exp(logs - peak[..., None]).sum(axis=-1)))


def is_doubtful(growth: np.ndarray) -> np.ndarray:
    """Tell where one check's evidence gives reason to wait; `growth` is ... x checks x factors."""
    return np.asarray(sequential.evidence(growth).max(axis=-1) >= math.log(DOUBT))


def has_enough(checks: Checks, totals: np.ndarray) -> np.ndarray:
    """Tell where traffic is enough to be trusted; `totals` is ... x the fields of Totals.

    A tenth as many records are wanted, too: without them neither latency nor predictions were judged.
    """
    requests, records = totals[..., :2].min(axis=-1), totals[..., 2:].min(axis=-1)
    return np.asarray((requests >= checks.requests) & (10 * records >= checks.requests))


def rule(checks: Checks, total: np.ndarray, doubtful: np.ndarray, enough: np.ndarray, step: Step) -> np.ndarray:
    """Return the verdict on evidence (as a log), or those of many releases: the step's numbers may be arrays, too."""
    last = np.equal(step.percent, 100)  # nothing is left to compare with
    late = np.greater_equal(step.minutes, PATIENCE * checks.minutes_per_step)
    ripe = np.greater_equal(step.minutes, checks.minutes_per_step) & enough & ~doubtful
    unproven = late & ~enough & (step.replay == "failed")
    cases: list[tuple[np.ndarray, Verdict]] = [
        (total >= limit(checks), "roll back"),
        (last, "promote"),
        (unproven, "roll back"),
        (late | ripe, "promote"),
    ]
    return np.select([np.asarray(case) for case, _ in cases], [verdict for _, verdict in cases], "wait")


def limit(checks: Checks) -> float:
    """Return the evidence, as a log, at which a release is rolled back."""
    return -math.log(checks.false_rollbacks)


def _test_of(check: Check) -> Callable[[Sequence[Check], np.ndarray], np.ndarray] | None:
    if check.cuts:
        return None  # ranked
    return _by_instance if check.asked == "exits" else _by_chance


def _by_chance(asked: Sequence[Check], seen: np.ndarray) -> np.ndarray:
    """Weigh events of requests that went to either revision by chance."""
    swapped = np.array([check.fewer for check in asked])[:, None]
    batches = np.where(swapped, seen[..., [2, 3, 0, 1]], seen)
    tolerated = np.broadcast_to([check.tolerated for check in asked], seen.shape[:-1])
    return _shaped(sequential.compared(batches.reshape(-1, 4), tolerated.ravel()), seen[..., 0])


def _by_instance(asked: Sequence[Check], seen: np.ndarray) -> np.ndarray:
    """Weigh events of instances, of which nobody knows how many there are: one each at least, else as requests are."""
    candidate, stable = seen[..., 0], np.where(seen[..., [0, 2]].any(axis=-1), seen[..., 2], 1)
    odds = np.array([check.tolerated for check in asked]) * np.maximum(candidate, stable)
    share = odds / (odds + stable)
    exits = seen[..., 1] + seen[..., 3]
    return _shaped(sequential.beyond(exits.ravel(), seen[..., 1].ravel(), share.ravel()), exits)


def _shaped(logs: np.ndarray, like: np.ndarray) -> np.ndarray:
    return logs.reshape(*like.shape, len(sequential.FACTORS))


class _Arm:
    """Counts events of one revision; what several checks ask of its answers is looked up once."""

    def __init__(self, seen: Seen, felt: Callable[[float], float]) -> None:
        self._counts = seen.counts
        self._answers = seen.answers
        self._latencies = np.array([felt(answer.latency_ms) for answer in seen.answers], dtype=float)
        self._found: dict[object, np.ndarray] = {}

    def count(self, check: Check) -> tuple[int, int]:
        """Return how many requests or answers a check is about, and how many of them had the event."""
        if check.asked == "latency":
            return len(self._answers), int((self._latencies > _shown_cut(check)).sum())
        if check.asked == "predictions":
            within = self._within(check.where)
            return int(within.sum()), int((within & self._predicted(check)).sum())
        return self._counts.requests, int(getattr(self._counts, check.asked))

    def ranks(self, cuts: Sequence[float]) -> np.ndarray:
        """Return how many answers are above none of the cuts, above one, and so on."""
        return np.bincount(np.searchsorted(cuts, self._latencies, side="left"), minlength=len(cuts) + 1)

    def _within(self, where: Slice | None) -> np.ndarray:
        if where not in self._found:
            holds = [where is None or where.holds(answer.features.get(where.column)) for answer in self._answers]
            self._found[where] = np.array(holds, dtype=bool)
        return self._found[where]

    def _predicted(self, check: Check) -> np.ndarray:
        key = (check.target, check.label, check.cut)
        if key not in self._found:
            values = [answer.values[check.target] for answer in self._answers]
            label, cut = check.label, check.cut
            hits = [value == label if cut is None else float(value) <= cut for value in values]
            self._found[key] = np.array(hits, dtype=bool)
        return self._found[key]


def _basis(decided: bool, step: Step) -> Basis:
    if decided:
        return "traffic"
    return "nothing" if step.replay == "nothing" else "replay"


def _reasons(verdict: Verdict, checks: Checks, evidence: Evidence, step: Step, total: float) -> Iterator[str]:
    enough = bool(has_enough(checks, np.array(evidence.totals)))
    if total >= limit(checks):
        yield from _against(checks, evidence)
        once = 1 / checks.false_rollbacks
        yield f"together {_seldom(_one_in(total))} for a version that is no worse, and 1 in {once:,.0f} is enough"
    elif verdict == "wait":
        yield from _missing(checks, evidence, step)
    elif not enough:
        yield from _low_traffic(checks, evidence, step)
    else:
        worst = _doubt(checks, evidence)
        yield f"{_traffic(evidence)}: {'nothing' if worst.one_in < DOUBT else 'too little'} speaks against it"
        yield f"what speaks most: {worst.text}"


def _against(checks: Checks, evidence: Evidence) -> Iterator[str]:
    """Yield what decided: the checks that make up nearly all of the sum, at most three."""
    weights = {check.name: check.weight for check in checks.checks}
    found = findings(checks, evidence)
    most = found[0].one_in * weights[found[0].check]
    for one in found[:3]:
        if one.one_in * weights[one.check] >= most / 10:
            yield one.text


def _missing(checks: Checks, evidence: Evidence, step: Step) -> Iterator[str]:
    totals = evidence.totals
    if step.minutes < checks.minutes_per_step:
        yield f"{step.minutes:.1f} of {checks.minutes_per_step:g} minutes"
    if not has_enough(checks, np.array(totals)):
        yield f"{checks.requests:,} requests of either version are wanted, and a tenth as many records"
    worst = _doubt(checks, evidence)
    if worst.one_in >= DOUBT:
        yield f"doubts: {worst.text}"


def _doubt(checks: Checks, evidence: Evidence) -> Finding:
    """Return the check whose own evidence is the most."""
    return max(findings(checks, evidence), key=lambda one: one.one_in)


def _low_traffic(checks: Checks, evidence: Evidence, step: Step) -> Iterator[str]:
    replays = {
        "held": "it goes on because the replay of recent requests held",
        "failed": "it goes back because the replay of recent requests did not hold",
        "nothing": "it goes on with its golden examples alone: there were no recent requests to replay",
    }
    yield f"{_traffic(evidence)} after {step.minutes:.1f} minutes, where {checks.requests:,} are wanted: traffic is low"
    yield replays[step.replay]


def _traffic(evidence: Evidence) -> str:
    totals = evidence.totals
    records = f"{totals.candidate_answers:,} and {totals.stable_answers:,} records"
    return f"{totals.candidate:,} requests to the candidate, {totals.stable:,} to the stable, {records}"


def _shown_cut(check: Check) -> float:
    """Return what latencies are counted above; where they are ranked, the middle cut stands for all in reports."""
    return check.cuts[len(check.cuts) // 2] if check.cuts else check.cut or 0.0


def _counted(check: Check, one: Weighed) -> str:
    things = "answers" if check.asked in ("latency", "predictions") else "requests"
    found = f"{one.candidate_events:,} of {_share(one.candidate_events, one.candidate)}"
    return f"{found} {things}, the stable's {one.stable_events:,} of {_share(one.stable_events, one.stable)}"


def _share(events: int, total: int) -> str:
    if not total:
        return "0"
    percent = 100 * events / total
    return f"{total:,} ({percent:.0f} %)" if percent >= 10 else f"{total:,} ({percent:.2g} %)"


def _one_in(log: float) -> float:
    """Return how seldom so much evidence comes by chance: at least 1, and no number that nobody can read."""
    return math.exp(min(max(log, 0), math.log(MOST_SHOWN)))


def _seldom(one_in: float) -> str:
    more = "more than " if round(one_in) >= MOST_SHOWN else ""
    return f"1 in {more}{one_in:,.0f} by chance"
