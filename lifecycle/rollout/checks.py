"""What is asked of a candidate: fixed before its first traffic, from what is known of the stable revision by then."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from function.contract import Label, Output, Signature
from lifecycle.recipe import Rollout, Serving
from lifecycle.reference import Reference, category_key
from lifecycle.rollout.evidence import Answer

# What each kind of check is of the sum, where all kinds are asked. Errors hurt callers at once, so they weigh most; a
# check of half the weight must find twice the evidence.
WEIGHTS = {"errors": 0.3, "rejections": 0.1, "exits": 0.05, "latency": 0.2, "predictions": 0.2, "slices": 0.15}
ERRORS = 1.2  # tolerated odds ratio of errors: what no caller notices
REJECTIONS = 1.5
EXITS = 1.2  # of an instance; either revision counts as having one at least, for instances are whole
QUANTILES = (0.25, 0.5, 0.75, 0.9)  # between which latencies are ranked
TAILS = (0.9, 0.99)  # beyond which they are counted as well: what few requests suffer moves no ranks
DECILES = tuple(decile / 10 for decile in range(1, 10))
QUARTILES = (0.25, 0.5, 0.75)
ENOUGH_BEFORE = 50  # answers from which cut points are taken; fewer say too little of a quantile
GOAL_PARTS = (1, 4, 16, 64)  # without them, latency is cut at these parts of the goal
# A slowdown that nobody feels is tolerated whatever it is in percent: a thousandth of the latency goal.
GOAL_SHARE = 0.001
CLASSES = 20  # so many classes of a target are asked about, the commonest
CLASSES_OF_SLICE = 5
SLICES = 8  # values of a column,
RAREST = 0.02  # unless fewer answers than this share have one

Asked = Literal["errors", "rejections", "exits", "latency", "predictions"]


class Kept(BaseModel):
    """What is stored as JSON between looks."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Slice(Kept):
    """Instances with a value in a column, or with a number in a range of it."""

    column: str
    value: Label | None = None
    above: float | None = None
    upto: float | None = None

    def text(self) -> str:
        """Return it in words."""
        if self.value is not None:
            return f"{self.column} is {_label_text(self.value)}"
        low = "" if self.above is None else f"above {self.above:.12g}"
        high = "" if self.upto is None else f"at most {self.upto:.12g}"
        return f"{self.column} is {' and '.join(part for part in (low, high) if part)}"

    def holds(self, value: Label | None) -> bool:
        """Tell whether an instance with this value belongs to it."""
        if self.value is not None:
            return value == self.value
        if value is None or isinstance(value, str):
            return False
        return (self.above is None or value > self.above) and (self.upto is None or value <= self.upto)


class Check(Kept):
    """One question: whether the candidate has more of an event than is tolerated."""

    name: str  # in words; no two are alike
    asked: Asked
    weight: float
    tolerated: float = 1.0  # odds ratio
    fewer: bool = False  # the other way round: does it have less?
    target: int = 0
    label: Label | None = None  # the event is this class,
    cut: float | None = None  # or a number (a prediction up to it, a latency above it),
    cuts: tuple[float, ...] = ()  # or latencies are ranked: by how many of these they are above
    where: Slice | None = None


class Checks(Kept):
    """All questions of a release, and what else its decisions follow from."""

    checks: tuple[Check, ...]
    slower: float
    allowance_ms: float
    false_rollbacks: float
    requests: int
    minutes_per_step: float
    left_out: tuple[str, ...] = ()  # what is not asked, or asked worse, and why


def make_checks(
    signature: Signature,
    before: Sequence[Answer],
    rollout: Rollout,
    serving: Serving,
    slices: Sequence[str] = (),
    reference: Reference | None = None,
) -> Checks:
    """Return what is asked of a candidate beside a stable revision, whose answers of the last hours `before` are.

    Cut points are numbers known before the first traffic. Where `before` holds too few answers they come from the
    latency goal and the training data's summary: less apt, so that a fault is found later, but no less right.
    """
    told = before if len(before) >= ENOUGH_BEFORE else ()
    kinds = {
        "errors": [Check(name="errors", asked="errors", weight=1, tolerated=ERRORS)],
        "rejections": [Check(name="rejections", asked="rejections", weight=1, tolerated=REJECTIONS)],
        "exits": [Check(name="exits", asked="exits", weight=1, tolerated=EXITS)],
        "latency": list(_latency(told, serving)),
        "predictions": list(_predictions(signature, told, reference, rollout.shifted, None)),
        "slices": [
            check
            for where in _slices(slices, told)
            for check in _predictions(signature, told, reference, rollout.shifted, where)
        ],
    }
    checks = _shared_out(kinds)
    return Checks(
        checks=checks,
        slower=rollout.slower,
        allowance_ms=serving.latency_ms * GOAL_SHARE,
        false_rollbacks=rollout.false_rollbacks,
        requests=rollout.requests,
        minutes_per_step=rollout.minutes_per_step,
        left_out=tuple(_left_out(signature, before, slices, checks)),
    )


def _shared_out(kinds: Mapping[str, list[Check]]) -> tuple[Check, ...]:
    """Return all checks, weighted: a kind's weight is shared by its checks, that of kinds without any by the others."""
    whole = sum(WEIGHTS[kind] for kind, checks in kinds.items() if checks)
    return tuple(
        check.model_copy(update={"weight": check.weight * WEIGHTS[kind] / whole / sum(one.weight for one in checks)})
        for kind, checks in kinds.items()
        for check in checks
    )


def _latency(before: Sequence[Answer], serving: Serving) -> Iterator[Check]:
    values = [answer.latency_ms for answer in before]
    cuts = np.quantile(values, QUANTILES) if values else [serving.latency_ms / part for part in GOAL_PARTS]
    tails = np.quantile(values, TAILS) if values else [serving.latency_ms]
    yield Check(name="latency", asked="latency", weight=2, cuts=tuple(np.unique(cuts).tolist()))
    for text, cut in _told_apart(tails):
        yield Check(name=f"latency above {text} ms", asked="latency", weight=1, cut=cut)


def _told_apart(cuts: Sequence[float] | np.ndarray) -> list[tuple[str, float]]:
    """Return different numbers, each with a text of as few digits as tell them apart: a check is known by its name."""
    different = np.unique(cuts).tolist()
    digits = next(
        digits for digits in range(3, 18) if len({f"{cut:.{digits}g}" for cut in different}) == len(different)
    )
    return [(f"{cut:.{digits}g}", cut) for cut in different]


def _label_text(label: Label) -> str:
    return repr(label) if isinstance(label, str) else str(label)


def _predictions(
    signature: Signature, before: Sequence[Answer], reference: Reference | None, shifted: float, where: Slice | None
) -> Iterator[Check]:
    """Yield for each class, or cut point of numbers, of each target whether it is commoner, and whether it is rarer."""
    several = len(signature.outputs) > 1
    for target, output in enumerate(signature.outputs):
        values = [answer.values[target] for answer in before]
        events = (
            _classes(output, values, reference, where) if output.classes else _cuts(output, values, reference, where)
        )
        for text, event in events:
            name = f"{output.name} {text}" if several else f"prediction {text}"
            name += f" where {where.text()}" if where else ""
            for fewer in (False, True):
                yield Check(
                    name=f"{name}, {'rarer' if fewer else 'commoner'}",
                    asked="predictions",
                    weight=1,
                    tolerated=shifted,
                    fewer=fewer,
                    target=target,
                    where=where,
                    **event,
                )


def _classes(
    output: Output, values: Sequence[Label], reference: Reference | None, where: Slice | None
) -> Iterator[tuple[str, dict[str, Label]]]:
    """Yield the commonest classes; of two classes the last one, since its share is also that of the other."""
    classes = output.classes or ()
    summary = reference.targets.get(output.name) if reference else None
    named = summary.categories or {} if summary else {}
    seen = Counter(values)
    ranked = sorted(classes, key=lambda label: (-seen[label], -named.get(category_key(label), 0)))
    most = CLASSES_OF_SLICE if where else CLASSES
    for label in classes[1:] if len(classes) == 2 else ranked[:most]:
        yield _label_text(label), {"label": label}


def _cuts(
    output: Output, values: Sequence[Label], reference: Reference | None, where: Slice | None
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield cut points of a number: at its deciles, in slices at its quartiles."""
    summary = reference.targets.get(output.name) if reference else None
    wanted = QUARTILES if where else DECILES
    known = [float(value) for value in values] or list(summary.edges or () if summary else ())
    for text, cut in _told_apart(np.quantile(known, wanted) if known else []):
        yield f"up to {text}", {"cut": cut}


def _slices(columns: Sequence[str], before: Sequence[Answer]) -> Iterator[Slice]:
    """Yield the commonest values of each column that records hold; of many numbers, ranges between their quartiles."""
    for column in columns:
        values = [value for answer in before if (value := answer.features.get(column)) is not None]
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        if len(numbers) == len(values) and len(set(numbers)) > SLICES:
            edges = [None, *np.unique(np.quantile(numbers, QUARTILES)).tolist(), None]
            yield from (Slice(column=column, above=edges[at], upto=edges[at + 1]) for at in range(len(edges) - 1))
        else:
            common = Counter(values).most_common(SLICES)
            yield from (Slice(column=column, value=value) for value, count in common if count >= RAREST * len(before))


def _left_out(
    signature: Signature, before: Sequence[Answer], columns: Sequence[str], checks: Sequence[Check]
) -> Iterator[str]:
    """Yield what is not asked, or not as well as with more answers of the stable."""
    targets = {check.target for check in checks if check.asked == "predictions"}
    for target, output in enumerate(signature.outputs):
        if target not in targets:
            yield f"predictions of {output.name}: neither answers before nor the training data say where to cut numbers"
    if len(before) < ENOUGH_BEFORE:
        yield (
            f"{len(before)} answers of the stable were found in the hours before, fewer than {ENOUGH_BEFORE}: cut "
            "points come from serving.latency_ms and the training data, and no slices are asked about"
        )
        return
    asked = {check.where.column for check in checks if check.where}
    for column in columns:
        if column not in asked:
            yield f"slices of {column}: the records hold no value of it that is common enough"
