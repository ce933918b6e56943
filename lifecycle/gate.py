"""The gate before publishing: a candidate that met its limits, held against the champion, its recipe and a constant.

All are asked the same held-out rows, and every difference is resampled on the same draws of rows (resampling.py). What
can refuse a candidate:

- It is worse: by a metric of model.yaml's acceptance, by the calibration of its probabilities, or in a slice, it loses
  more than TOLERATED beyond noise. Beyond noise is one level for all differences together, divided among them, so that
  many metrics and many slices do not make a refusal by chance likely.
- It is no better than a constant, which is what labels that were mixed up lead to.
- It is too good: a column, or two, tell the target by themselves (leaks.py), or it takes away more than half of what
  the champion was still wrong by.
- It is slower by far, or slower than serving.latency_ms allows, or far larger.

How rarely an equally good candidate is refused was measured, see docs/models.md and tests/test_gate.py.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student
from threadpoolctl import threadpool_limits

from function.store import FileStore
from lifecycle import leaks
from lifecycle.decision import IN_WORDS, OTHERS, Cost, Decision, Difference, Opponent, describe_verdict, worst_slices
from lifecycle.errors import GateRefused
from lifecycle.metrics import METRICS, SMALLEST_SLICE, Outcome, measure, slices
from lifecycle.opponents import LeftOut, Opposing, Question, ask_champion, constant, halves, medians, refresh
from lifecycle.packaging import Candidate, Fitted
from lifecycle.recipe import Acceptance, Recipe
from lifecycle.resampling import Weighted, on_rows, values, weighted
from lifecycle.versions import Version

RESAMPLES = 1_000
MOST_ROWS = 50_000  # as many rows tell a difference of a thousandth; more would only take longer
FALSE_REFUSALS = 0.01  # of equally good candidates, half for metrics and half for slices
LUCKY_CONSTANTS = 0.01  # of candidates that are no better than a constant, so many look better by chance
TOLERATED = 0.05  # of what the opponent is better than a constant
TOLERATED_CALIBRATION = 0.05  # of probability; of numbers, of the target's standard deviation
IMPLAUSIBLE = 0.5  # of what the opponent was wrong by; honest work seldom takes away so much at once
SLOWER, SLOWER_OF_GOAL = 2.0, 0.1  # so many times the champion's time, and more than this share of the goal
LARGER, LARGER_BYTES = 3.0, 50_000_000  # so many times the champion's size, and so many bytes more
LEAST_DEFINED = 0.9  # of the resamples; with fewer nothing can be said
LOWER = {"log_loss", "brier", "mae", "rmse", "median_absolute_error", "calibration"}  # the better ones are lower
RESTS_ON_SHOWN = 5


class Costs(NamedTuple):
    """What both cost, and why the champion's is not known."""

    candidate: Cost
    champion: Cost | None = None
    left_out: str = ""


class _Pair(NamedTuple):
    """A metric of the candidate and of an opponent on the same rows, to be resampled."""

    metric: str
    slice: str
    against: Opponent
    rows: int
    counts: bool
    tolerated: float
    measures: tuple[Weighted, Weighted]


def judge(
    candidate: Candidate,
    fitted: Fitted,
    champion: Version | LeftOut | None,
    shelf: FileStore,
    costs: Costs,
    accept: str | None = None,
) -> Decision:
    """Return the decision on a candidate; `accept` is why its owner wants it whatever is found.

    The champion's files are on the shelf. Where the rows are not known to be held out (a packaged pipeline's examples),
    the candidate is compared with a constant alone: whoever was fitted on them would win.
    """
    question = Question(fitted, candidate.signature, candidate.positive, _rows(len(fitted.test)))
    opponents, left_out = _opponents(question, champion, shelf)
    ours = [outcome.take(question.rows) for outcome in candidate.outcomes]
    remarks = [remark for one in opponents for remark in one.remarks]
    if len(question.rows) < len(fitted.test):
        remarks.append(f"{len(question.rows)} of {len(fitted.test)} held-out rows, drawn at random, were compared.")
    acceptance = candidate.recipe.acceptance if candidate.recipe else None
    found, unmeasured = find_differences(question, ours, opponents, acceptance)
    if fitted.trained_here:
        try:
            found += _halved(question, ours)
        except LeftOut as reason:
            left_out["half"] = f"{reason}."
    rests_on, leaking = _leaks(candidate, fitted)
    known = acceptance.known if acceptance else ()
    reasons = [
        *_worse(found),
        *_no_better(found),
        *_implausible(found, _deciding(candidate.signature.task, ours), list(rests_on)[:3], known),
        *_leaking(leaking, known),
        *_costly(costs, candidate.recipe),
    ]
    return Decision(
        verdict="accepted" if not reasons else "accepted despite" if accept else "refused",
        reasons=tuple(reasons),
        accepted_because=accept if reasons else None,
        champion=champion.manifest.version if isinstance(champion, Version) else None,
        left_out=left_out,
        remarks=(*remarks, *unmeasured, *([costs.left_out] if costs.left_out else [])),
        resamples=RESAMPLES,
        differences=tuple(found),
        rests_on=dict(list(rests_on.items())[:RESTS_ON_SHOWN]),
        candidate_cost=costs.candidate,
        champion_cost=costs.champion,
    )


def find_differences(
    question: Question, ours: list[Outcome], opponents: Sequence[Opposing], acceptance: Acceptance | None
) -> tuple[list[Difference], list[str]]:
    """Return every difference from the opponents that can be told, and what an owner agreed on and cannot be."""
    found = _differences(_pairs(question, ours, opponents, acceptance), len(question.rows))
    compared = {(one.metric, one.against) for one in found if not one.slice}
    missing = [
        f"{metric} cannot be compared with {IN_WORDS[opponent.name]}: it is not defined for both of them on these rows."
        for opponent in opponents
        for metric in _agreed(question.signature.task, ours, acceptance)
        if (metric, opponent.name) not in compared
    ]
    return found, missing


def check_decision(decision: Decision, name: str) -> None:
    """Raise GateRefused for a decision that refuses, with what to do."""
    if decision.verdict == "refused":
        text = f"{describe_verdict(decision)} If it is meant: python -m lifecycle train {name} --accept 'the reason'."
        raise GateRefused(text, decision.reasons, decision.model_dump(mode="json"))


def _rows(count: int) -> np.ndarray:
    if count <= MOST_ROWS:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, MOST_ROWS, replace=False))


def _opponents(
    question: Question, champion: Version | LeftOut | None, shelf: FileStore
) -> tuple[list[Opposing], dict[Opponent, str]]:
    """Return those that can be asked, and why the others cannot."""
    opponents, left_out = list[Opposing](), dict[Opponent, str]()
    if champion is None:
        return opponents, left_out
    makers: dict[Opponent, Callable[[Version, FileStore, Question], Opposing]]
    makers = {"champion": ask_champion, "refreshed": refresh}
    for name, make in makers.items():
        try:
            if isinstance(champion, LeftOut):
                raise champion
            if not question.fitted.trained_here:
                raise LeftOut("it is not known whether the pipeline, or the champion, was fitted on these rows")
            opponents.append(make(champion, shelf, question))
        except LeftOut as reason:
            left_out[name] = f"{reason}."
    return opponents, left_out


def _halved(question: Question, ours: list[Outcome]) -> list[Difference]:
    """Return what half of the training rows, and their labels, tell of the other half and of the held-out rows."""
    half, rest, answers = halves(question)
    on_rest = _differences(list(_against_constant(rest, answers, constant(rest))), len(rest.rows))
    task, metric = question.signature.task, _deciding(question.signature.task, ours)
    measures = weighted(metric, ours), weighted(metric, half.outcomes)
    tolerated = _tolerated(metric, task, half, constant(question))
    pair = _Pair(metric, "", "half", len(question.rows), True, tolerated, measures)
    return [one.model_copy(update={"halves": True}) for one in on_rest] + _differences([pair], len(question.rows))


def _pairs(
    question: Question, ours: list[Outcome], opponents: Sequence[Opposing], acceptance: Acceptance | None
) -> list[_Pair]:
    """Return all that can be compared: every metric with every opponent, and the slices' metric in each slice."""
    task, still = question.signature.task, constant(question)
    agreed = [*_agreed(task, ours, acceptance), "calibration"]
    pairs = list(_against_constant(question, ours, still))
    for opponent in opponents:
        compare = partial(_compare, task, ours, opponent, still)
        everything = np.arange(len(opponent.rows))
        pairs += [
            pair for name in (*METRICS[task], "calibration") for pair in compare(name, "", everything, name in agreed)
        ]
        if acceptance and acceptance.slices:
            for column in acceptance.slices.by:
                parts = slices(question.test[column].iloc[opponent.rows])
                named = {f"{column} is {value}": rows for value, rows in parts.items()}
                pairs += [
                    pair for name, rows in named.items() for pair in compare(acceptance.slices.metric, name, rows, True)
                ]
    return pairs


def _compare(
    task: str,
    ours: list[Outcome],
    opponent: Opposing,
    still: Opposing,
    metric: str,
    where: str,
    rows: np.ndarray,
    counts: bool,
) -> Iterator[_Pair]:
    """Yield a metric of some of the opponent's rows, or nothing where one of the two lacks what it is made of."""
    own = opponent.rows[rows]
    sides = [outcome.take(own) for outcome in ours], [outcome.take(rows) for outcome in opponent.outcomes]
    try:
        mine, theirs = (on_rows(weighted(metric, side), own) for side in sides)
    except (ValueError, TypeError, IndexError):
        return
    yield _Pair(
        metric, where, opponent.name, len(own), counts, _tolerated(metric, task, opponent, still), (mine, theirs)
    )


def _agreed(task: str, ours: list[Outcome], acceptance: Acceptance | None) -> list[str]:
    """Return the metrics that the owner agreed on."""
    return list(acceptance.metrics) if acceptance else [_deciding(task, ours)]


def _against_constant(question: Question, ours: list[Outcome], still: Opposing) -> Iterator[_Pair]:
    """Yield what decides whether a candidate knows more than a constant.

    Of classes it is the order of rows, which calibration and thresholds leave alone; of numbers both errors, each
    beside the constant that makes it least, for a model of medians may well be worse than the mean by squares.
    """
    theirs = dict.fromkeys(("roc_auc", "balanced_accuracy", "rmse"), still.outcomes)
    metrics = [_deciding(question.signature.task, ours)]
    if metrics == ["rmse"]:
        metrics, theirs = ["rmse", "mae"], theirs | {"mae": medians(question)}
    for metric in metrics:
        measures = weighted(metric, ours), weighted(metric, theirs[metric])
        yield _Pair(metric, "", "constant", len(question.rows), True, 0.0, measures)


def _deciding(task: str, outcomes: list[Outcome]) -> str:
    """Return the metric by which candidates are told from constants, and plausible gains from implausible ones."""
    if task == "regression":
        return "rmse"
    return "balanced_accuracy" if any(outcome.chances is None for outcome in outcomes) else "roc_auc"


def _tolerated(metric: str, task: str, opponent: Opposing, still: Opposing) -> float:
    """Return the loss that is let pass: a share of what the opponent is better than a constant."""
    if metric == "calibration":
        return TOLERATED_CALIBRATION
    constants = [outcome.take(opponent.rows) for outcome in still.outcomes]
    skill = measure(metric, task, opponent.outcomes) - measure(metric, task, constants)
    return TOLERATED * abs(skill) if np.isfinite(skill) else 0.0


def _differences(pairs: list[_Pair], count: int) -> list[Difference]:
    """Return every difference that the resamples can tell, its loss at the level that all share."""
    if count < SMALLEST_SLICE or not pairs:
        return []
    flat = list(chain.from_iterable(pair.measures for pair in pairs))
    draws = values(flat, count, RESAMPLES)
    everything = np.ones((1, count))
    with np.errstate(all="ignore"):
        points = [float(one(everything)[0]) for one in flat]
    levels = {True: _share_of_level(pairs, sliced=True), False: _share_of_level(pairs, sliced=False)}
    found = []
    for index, pair in enumerate(pairs):
        drawn = draws[:, 2 * index] - draws[:, 2 * index + 1]
        both = points[2 * index], points[2 * index + 1]
        level = LUCKY_CONSTANTS if pair.against == "constant" else levels[bool(pair.slice)]
        if np.isfinite(both).all() and np.isfinite(drawn).mean() >= LEAST_DEFINED:
            found.append(_difference(pair, both, drawn[np.isfinite(drawn)], level))
    return found


def _share_of_level(pairs: list[_Pair], *, sliced: bool) -> float:
    """Return the level of one difference: half of the whole, divided among those of metrics, or those of slices."""
    sharing = sum(pair.counts and bool(pair.slice) is sliced and pair.against != "constant" for pair in pairs)
    return FALSE_REFUSALS / 2 / max(1, sharing)


def _difference(pair: _Pair, both: tuple[float, float], drawn: np.ndarray, level: float) -> Difference:
    difference = both[0] - both[1]
    low, high = np.quantile(drawn, [0.025, 0.975])
    worse_by = difference if pair.metric in LOWER else -difference
    noise = float(student.isf(level, pair.rows - 1) * drawn.std())
    # A constant must be left behind beyond noise, so that here the loss is what it may be at most.
    loss = worse_by + noise if pair.against == "constant" else worse_by - noise
    return Difference(
        metric=pair.metric,
        slice=pair.slice,
        against=pair.against,
        rows=pair.rows,
        candidate=both[0],
        opponent=both[1],
        difference=difference,
        low=float(low),
        high=float(high),
        loss=loss,
        tolerated=pair.tolerated,
        counts=pair.counts,
        worse=pair.counts and (loss >= 0 if pair.against == "constant" else loss > pair.tolerated),
    )


def _worse(found: Sequence[Difference]) -> Iterator[str]:
    losing = [one for one in found if one.worse and one.against in OTHERS]
    for one in [*(one for one in losing if not one.slice), *worst_slices(losing)]:
        yield f"Worse than {IN_WORDS[one.against]} by {one.line()}; a loss of {one.tolerated:.4f} is let pass."
    against = {one.against for one in losing}
    if against == {"champion"} and any(one.against == "refreshed" for one in found):
        yield "The champion's own recipe does no better on the new training rows: look at these rows first."
    if against == {"refreshed"}:
        yield "The champion's own recipe does better on the same training rows: look at what changed in train.py first."


def _no_better(found: Sequence[Difference]) -> Iterator[str]:
    constants = [one for one in found if one.against == "constant"]
    for tried in ([one for one in constants if not one.halves], [one for one in constants if one.halves]):
        if tried and all(one.worse for one in tried):
            why = "are labels mixed up, or are the rows too few to tell?"
            yield f"No better than a constant by {' nor by '.join(one.line() for one in tried)}: {why}"
    for one in found:
        if one.against == "half" and one.worse:
            why = "does fit() get rows and labels that belong together?"
            yield f"Worse than {IN_WORDS['half']} by {one.line()}: {why}"


def _implausible(
    found: Sequence[Difference], metric: str, rests_on: Sequence[str], known: Sequence[str]
) -> Iterator[str]:
    """Yield where so much less is wrong than before that a leak is likelier than progress.

    What rests most on a column that is known beforehand is better because of it.
    """
    for one in found if rests_on[0] not in known else ():
        if one.against not in OTHERS or one.slice or one.metric != metric:
            continue
        wrong = one.opponent if metric in LOWER else 1 - one.opponent
        gained = -one.high if metric in LOWER else one.low
        if gained > IMPLAUSIBLE * wrong:
            what = f"takes away more than {IMPLAUSIBLE:.0%} of what it was wrong by: is a column known too late?"
            yield f"Too good beside {IN_WORDS[one.against]}: {one.line()} {what} It rests on {', '.join(rests_on)}."


def _leaks(candidate: Candidate, fitted: Fitted) -> tuple[dict[str, float], list[leaks.Leak]]:
    """Return what the answers rest on, and what tells the target by itself; examples are no held-out rows."""
    with threadpool_limits(limits=1):
        rests_on = leaks.rests_on(fitted.pipeline, candidate.signature, fitted.test)
        if not fitted.trained_here or len(fitted.test) < SMALLEST_SLICE:
            return rests_on, []
        task = candidate.signature.task
        return rests_on, leaks.find_leaks(fitted.train, fitted.test, fitted.targets, list(rests_on), task)


def _leaking(found: Sequence[leaks.Leak], known: Sequence[str]) -> Iterator[str]:
    for leak in found:
        if not set(leak.columns) & set(known):
            what = "are they" if len(leak.columns) > 1 else "is it"
            name = f"name {'one of them' if len(leak.columns) > 1 else 'it'} in acceptance.known of model.yaml"
            yield f"{leak}: {what} known when a prediction is asked for? If so, {name}."


def _costly(costs: Costs, recipe: Recipe | None) -> Iterator[str]:
    ours, theirs = costs.candidate, costs.champion
    goal = recipe.serving.latency_ms if recipe else None
    if goal and ours.one_row_ms and ours.one_row_ms > goal:
        yield f"One row takes {ours.one_row_ms:.3g} ms, and serving.latency_ms of model.yaml is {goal:g} ms."
    if theirs is None:
        return
    if goal and ours.one_row_ms and theirs.one_row_ms:
        more = ours.one_row_ms - theirs.one_row_ms
        if ours.one_row_ms > SLOWER * theirs.one_row_ms and more > SLOWER_OF_GOAL * goal:
            slower = f"{ours.one_row_ms / theirs.one_row_ms:.1f} times as slow as the champion"
            yield f"One row takes {ours.one_row_ms:.3g} ms, {slower} ({theirs.one_row_ms:.3g} ms)."
    more_bytes = ours.loaded_bytes - theirs.loaded_bytes
    if ours.loaded_bytes > LARGER * theirs.loaded_bytes and more_bytes > LARGER_BYTES:
        sizes = f"{ours.loaded_bytes / 1e6:.0f} MB, the champion {theirs.loaded_bytes / 1e6:.0f} MB"
        yield f"A start loads {sizes}: more than {LARGER:g} times as much."
