"""What is asked of a candidate, how looks are weighed, and what is decided: promote, wait or roll back."""

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from function.contract import Label, Output, Signature
from lifecycle.recipe import Rollout, Serving
from lifecycle.reference import Reference, Summary
from lifecycle.rollout import checks as checks_module
from lifecycle.rollout import judge, sequential
from lifecycle.rollout.checks import WEIGHTS, Checks, Slice, make_checks
from lifecycle.rollout.evidence import Answer, Counts, Look, Seen
from lifecycle.rollout.judge import DOUBT, PATIENCE, Evidence, Step, Totals, Weighed, decide, findings, weigh

ROOT = Path(__file__).resolve().parent.parent
START = datetime(2026, 11, 22, tzinfo=UTC)
PLANS = ("basic", "plus", "pro")
NOTHING = Counts()


def signature(*outputs: Output, task: str = "classification") -> Signature:
    """Return a signature with these outputs."""
    return Signature.model_validate(
        {"task": task, "features": (), "outputs": outputs, "methods": ("predict",), "form": "frame", "magnitudes": {}}
    )


CLASSES = signature(Output(name="plan", classes=PLANS))
NUMBERS = signature(Output(name="price"), task="regression")


def answers(
    count: int,
    seed: int = 0,
    ms: Callable[[float], float] = lambda ms: ms,
    predict: Callable[[str, Label], Label] = lambda _, label: label,
) -> tuple[Answer, ...]:
    """Return answers of a service with a median of 20 ms; `ms` and `predict` change them."""
    random = np.random.default_rng(seed)
    drawn = zip(
        20 * np.exp(0.5 * random.normal(size=count)),
        random.choice(PLANS, count, p=[0.6, 0.3, 0.1]),
        random.choice(["north", "south"], count, p=[0.7, 0.3]),
        strict=True,
    )
    return tuple(
        Answer(ms(float(latency)), (predict(str(region), str(plan)),), {"region": str(region), "age": index % 50})
        for index, (latency, plan, region) in enumerate(drawn)
    )


def look(
    candidate: Counts = NOTHING,
    stable: Counts = NOTHING,
    ours: Sequence[Answer] = (),
    theirs: Sequence[Answer] = (),
    seconds: float = 10,
) -> Look:
    """Return a look at both revisions."""
    return Look(START, START + timedelta(seconds=seconds), Seen(candidate, tuple(ours)), Seen(stable, tuple(theirs)))


def asked(slices: Sequence[str] = (), before: Sequence[Answer] | None = None, **settings: float) -> Checks:
    """Return what is asked of the service above."""
    rollout = Rollout.model_validate(settings)
    return make_checks(CLASSES, answers(500, 99) if before is None else before, rollout, Serving(), slices)


def after(checks: Checks, *looks: Look) -> Evidence:
    """Return the evidence after some looks."""
    evidence = Evidence()
    for one in looks:
        evidence = weigh(checks, evidence, one)
    return evidence


def looks_until_gone(checks: Checks, make: Callable[[int], Look], most: int) -> int | None:
    """Return after how many looks a candidate is rolled back, None if it is not within `most`."""
    evidence = Evidence()
    for number in range(1, most + 1):
        evidence = weigh(checks, evidence, make(number))
        if decide(checks, evidence, Step(50, number / 6, "held")).verdict == "roll back":
            return number
    return None


def names(checks: Checks) -> list[str]:
    """Return the names of all checks."""
    return [check.name for check in checks.checks]


# What is asked


def test_what_is_asked_of_three_classes() -> None:
    """Errors, rejections, exits, latency, and of each class whether it became commoner or rarer."""
    checks = asked()
    latency = [name for name in names(checks) if name.startswith("latency")]
    assert names(checks)[:3] == ["errors", "rejections", "exits"]
    assert len(latency) == 3
    assert latency[0] == "latency"
    expected = {f"prediction '{plan}', {way}" for plan in PLANS for way in ("commoner", "rarer")}
    assert set(names(checks)[6:]) == expected
    assert checks.left_out == ()


TARGETS = {
    "two-classes": (signature(Output(name="left", classes=("no", "yes"))), ["'yes'"]),
    "truth": (signature(Output(name="left", classes=(False, True))), ["True"]),
    "whole-numbers": (signature(Output(name="stars", classes=(1, 2, 3))), ["1", "2", "3"]),
    "many-classes": (signature(Output(name="word", classes=tuple(f"w{i}" for i in range(90)))), None),
    "several-targets": (
        signature(Output(name="a", classes=("x", "y")), Output(name="b", classes=(1, 2))),
        ["a 'y'", "b 2"],
    ),
}


@pytest.mark.parametrize(("of", "labels"), TARGETS.values(), ids=TARGETS)
def test_classes_that_are_asked_about(of: Signature, labels: list[str] | None) -> None:
    """Of two classes one says it all; of many the commonest are asked about; every target is."""
    checks = make_checks(of, (), Rollout(), Serving())
    found = [check.name.partition(",")[0].removeprefix("prediction ") for check in checks.checks if not check.fewer]
    predictions = [
        name
        for name, check in zip(found, [c for c in checks.checks if not c.fewer], strict=True)
        if check.label is not None
    ]
    assert predictions == (labels or [f"'w{i}'" for i in range(checks_module.CLASSES)])


def test_numbers_are_cut_at_the_stables_deciles() -> None:
    """Predicted numbers are counted up to the deciles of the stable's, with few answers to the training target's."""

    def cuts(checks: Checks) -> list[float | None]:
        return [check.cut for check in checks.checks if check.asked == "predictions" and check.fewer]

    before = [Answer(10.0, (float(value),), {}) for value in range(101)]
    assert cuts(make_checks(NUMBERS, before, Rollout(), Serving())) == pytest.approx(list(range(10, 100, 10)))
    price = Summary(type="number", rows=9, missing_rate=0, edges=tuple(range(11)))
    reference = Reference(rows=9, features={}, targets={"price": price})
    known = make_checks(NUMBERS, before[:3], Rollout(), Serving(), reference=reference)
    assert cuts(known) == pytest.approx(list(range(1, 10)))
    unknown = make_checks(NUMBERS, before[:3], Rollout(), Serving())
    assert cuts(unknown) == []
    assert "predictions of price" in " ".join(unknown.left_out)


def test_checks_that_are_close_keep_different_names() -> None:
    """Evidence is stored by name: cut points that differ in the tenth digit have names that differ."""
    before = [Answer(1000 + value / 1e5, (1e9 + value / 10,), {"at": 1.7e9 + value / 4}) for value in range(101)]
    checks = make_checks(NUMBERS, before, Rollout(), Serving(), ["at"])
    assert len(set(names(checks))) == len(checks.checks) > 40


def test_weights_add_up_to_one_whatever_is_asked() -> None:
    """Kinds that are not asked leave their weight to the others, so that the stated rate is not wasted."""
    for checks in (asked(), asked(["region", "age"]), asked(before=())):
        assert math.fsum(check.weight for check in checks.checks) == pytest.approx(1)
        assert len(set(names(checks))) == len(checks.checks)
    assert math.fsum(WEIGHTS.values()) == pytest.approx(1)


def test_slices_are_values_or_ranges_that_records_hold() -> None:
    """A column gives its values, or the quartiles of its many numbers; that records lack one is said."""
    checks = asked(["region", "age", "gender"])
    slices = {check.where.text() for check in checks.checks if check.where}
    assert {"region is 'north'", "region is 'south'"} < slices
    assert {"age is at most 12", "age is above 12 and at most 24.5", "age is above 37"} < slices
    assert checks.left_out == ("slices of gender: the records hold no value of it that is common enough",)


SLICES: dict[str, tuple[Slice, list[Label | None], list[bool]]] = {
    "text": (Slice(column="a", value="1"), ["1", 1, None], [True, False, False]),
    "truth": (Slice(column="a", value=True), [True, False, None], [True, False, False]),
    "low": (Slice(column="a", upto=3), [3, 3.1, None, "3"], [True, False, False, False]),
    "high": (Slice(column="a", above=3, upto=5), [3, 5.0, 5.1], [False, True, False]),
}


@pytest.mark.parametrize(("where", "values", "expected"), SLICES.values(), ids=SLICES)
def test_an_instance_belongs_to_a_slice_or_not(where: Slice, values: list[Label | None], expected: list[bool]) -> None:
    """Ranges hold their upper end, and nothing that is missing belongs anywhere."""
    assert [where.holds(value) for value in values] == expected


def test_with_few_answers_before_cut_points_come_from_the_goal() -> None:
    """A service that slept is asked the same, less aptly, and the report says so."""
    checks = asked(["region"], before=answers(10))
    assert [check.cuts for check in checks.checks if check.cuts] == [(300 / 64, 300 / 16, 75.0, 300.0)]
    assert "10 answers of the stable" in checks.left_out[0]
    assert not [check for check in checks.checks if check.where]


# What is weighed


def some_looks(count: int = 12) -> list[Look]:
    """Return looks at a candidate with somewhat more errors."""
    random = np.random.default_rng(5)
    return [
        look(
            Counts(40, int(random.binomial(40, 0.1)), int(random.binomial(40, 0.05)), number % 3 == 0),
            Counts(700, int(random.binomial(700, 0.06)), int(random.binomial(700, 0.05)), 0),
            answers(35, number),
            answers(60, 100 + number),
        )
        for number in range(count)
    ]


def test_evidence_is_the_same_when_it_is_stored_between_looks() -> None:
    """A tool that is killed after every look and reads its JSON again ends with the very same numbers and words."""
    checks = asked(["region", "age"])
    kept = after(checks, *some_looks())
    stored, read_checks = Evidence().model_dump_json(), checks.model_dump_json()
    for one in some_looks():
        again = Checks.model_validate_json(read_checks)
        assert again == checks
        stored = weigh(again, Evidence.model_validate_json(stored), one).model_dump_json()
    assert Evidence.model_validate_json(stored) == kept
    step = Step(5, 3.0, "held")
    assert decide(checks, Evidence.model_validate_json(stored), step) == decide(checks, kept, step)


def test_many_releases_are_weighed_and_decided_as_one() -> None:
    """Arrays of releases, with which the judge is measured, go the very way that one release goes."""
    checks = asked(["region"])
    releases = [some_looks(4)[first:] + some_looks(4)[:first] for first in range(4)]
    growth = np.tile(judge.start(checks), (4, 1, 1))
    for number in range(4):
        tallies = [judge.tally(checks, looks[number]) for looks in releases]
        events = np.stack([one.events for one in tallies])
        ranked = [np.stack(bins) for bins in zip(*(one.ranked for one in tallies), strict=True)]
        growth = judge.carried(checks, growth, judge.Tally(events, ranked))
    singles = [after(checks, *looks) for looks in releases]
    for row, single in zip(growth, singles, strict=True):
        assert row == pytest.approx(np.array([single.weighed[name].growth for name in names(checks)]), rel=1e-9)
    totals = np.array([single.totals for single in singles])
    step = Step(np.array([5, 5, 50, 100]), np.array([1.0, 20.0, 99.0, 0.0]), "held")  # type: ignore[arg-type]
    total, enough = judge.against(checks, growth), judge.has_enough(checks, totals)
    verdicts = judge.rule(checks, total, judge.is_doubtful(growth), enough, step)
    for verdict, single, percent, minutes in zip(verdicts, singles, step.percent, step.minutes, strict=True):  # type: ignore[call-overload]
        assert decide(checks, single, Step(int(percent), float(minutes), "held")).verdict == verdict


FINE = Counts(50, 0, 0, 0), Counts(450, 2, 3, 0)


def faulty(kind: str) -> Callable[[int], Look]:
    """Return how looks at a candidate with a fault are made."""
    made: dict[str, Callable[[int], Look]] = {
        "more errors": lambda n: look(Counts(50, 3), FINE[1], answers(50, n), answers(60, n + 500)),
        "more rejections": lambda n: look(Counts(50, 0, 6), FINE[1], answers(50, n), answers(60, n + 500)),
        "dying instances": lambda n: look(Counts(50, 0, 0, 2), FINE[1], answers(50, n), answers(60, n + 500)),
        "twice as slow": lambda n: look(*FINE, answers(50, n, lambda ms: 2 * ms), answers(60, n + 500)),
        "20 % slower": lambda n: look(*FINE, answers(50, n, lambda ms: 1.2 * ms), answers(300, n + 500)),
        "a slow tail": lambda n: look(
            *FINE, answers(50, n, lambda ms: 10 * ms if 20 < ms < 22 else ms), answers(60, n + 500)
        ),
        "one class only": lambda n: look(*FINE, answers(50, n, predict=lambda *_: "plus"), answers(60, n + 500)),
        "a class never": lambda n: look(
            *FINE, answers(50, n, predict=lambda _, x: "basic" if x == "pro" else x), answers(60, n + 500)
        ),
        "a broken slice": lambda n: look(
            *FINE, answers(50, n, predict=lambda where, x: "basic" if where == "south" else x), answers(60, n + 500)
        ),
    }
    return made[kind]


FAULTS = {
    "more errors": (6, "errors"),
    "more rejections": (6, "rejections"),
    "dying instances": (20, "exits"),
    "twice as slow": (6, "latency"),
    "20 % slower": (60, "latency"),
    "a slow tail": (30, "latency above"),
    "one class only": (4, "prediction"),
    "a class never": (12, "prediction 'pro', rarer"),
    "a broken slice": (12, "where region is 'south'"),
}


@pytest.mark.parametrize(("fault", "within", "named"), [(key, *value) for key, value in FAULTS.items()], ids=FAULTS)
def test_each_fault_is_found_and_named(fault: str, within: int, named: str) -> None:
    """A fault rolls back within some looks of 50 requests, and the reason names it with the counts of both sides."""
    checks = asked(["region"])
    looks = looks_until_gone(checks, faulty(fault), within)
    assert looks is not None
    assert looks >= 2  # no look alone decides
    decision = decide(
        checks, after(checks, *(faulty(fault)(number + 1) for number in range(looks))), Step(5, 1, "held")
    )
    assert (decision.verdict, decision.basis) == ("roll back", "traffic")
    assert named in " ".join(decision.reasons[:-1])
    assert re.search(r"[\d,]+ of [\d,]+ \([\d.e+]+ %\) \w+, the stable's [\d,]+ of [\d,]+", decision.reasons[0])
    assert re.fullmatch(
        r"together 1 in (more than )?[\d,]+ by chance for a version that is no worse, and 1 in 100 is enough",
        decision.reasons[-1],
    )
    assert decision.one_in >= 100


HARMLESS: dict[str, Callable[[int], Look]] = {
    "the same": lambda n: look(*FINE, answers(50, n), answers(60, n + 500)),
    "9 % slower": lambda n: look(*FINE, answers(50, n, lambda ms: 1.09 * ms), answers(60, n + 500)),
    "faster": lambda n: look(*FINE, answers(50, n, lambda ms: ms / 3), answers(60, n + 500)),
    "fewer errors and rejections": lambda n: look(
        FINE[0], Counts(450, 20, 30, 1), answers(50, n), answers(60, n + 500)
    ),
    "everything fails on both sides": lambda n: look(Counts(50, 50), Counts(450, 450)),
    "instances end, one of each": lambda n: look(
        Counts(50, 0, 0, 1), Counts(450, 0, 0, 1), answers(50, n), answers(60, n + 500)
    ),
    "no records": lambda n: look(*FINE),
}


@pytest.mark.parametrize("make", HARMLESS.values(), ids=HARMLESS)
def test_what_is_no_worse_is_not_rolled_back(make: Callable[[int], Look]) -> None:
    """A hundred looks at a version that does nothing more than tolerated find nothing."""
    assert looks_until_gone(asked(["region"]), make, 100) is None


# 20 ms and a goal of 300; fast: the same answers a hundred times as fast, 0.2 ms
SLOWNESS = {
    "fast-0.2-ms-more": (100, lambda ms: ms + 0.2, 300, 300, None),
    "fast-0.2-ms-more-of-a-goal-of-20": (100, lambda ms: ms + 0.2, 20, 300, "gone"),
    "fast-1-ms-more": (100, lambda ms: ms + 1, 300, 300, "gone"),
    "seldom-asked-2-ms-more": (100, lambda ms: ms + 2, 300, 3, None),
    "seldom-asked-8-ms-more": (100, lambda ms: ms + 8, 300, 3, "gone"),
    "20-ms-2-ms-more": (1, lambda ms: ms + 2, 300, 300, None),
    "20-ms-8-ms-more": (1, lambda ms: ms + 8, 300, 300, "gone"),
}


@pytest.mark.parametrize(("divisor", "slower", "goal", "count", "end"), SLOWNESS.values(), ids=SLOWNESS)
def test_a_slowdown_that_nobody_feels_is_harmless(
    divisor: float, slower: Callable[[float], float], goal: float, count: int, end: str | None
) -> None:
    """A thousandth of the goal is tolerated whatever it is in percent, and 3 ms where the candidate is seldom asked."""

    def fast(number: int, made: int, change: Callable[[float], float]) -> tuple[Answer, ...]:
        return tuple(one._replace(latency_ms=change(one.latency_ms / divisor)) for one in answers(made, number))

    before = fast(99, 500, lambda ms: ms)
    checks = make_checks(CLASSES, before, Rollout(), Serving(latency_ms=goal))
    gone = looks_until_gone(
        checks,
        lambda n: look(
            Counts(count), Counts(400), fast(n, count, slower), fast(n + 500, 400, lambda ms: ms), seconds=10
        ),
        60,
    )
    assert ("gone" if gone else None) == end


def test_a_sample_of_many_requests_is_not_seldom_asked() -> None:
    """Where the look is a sample, it is the requests that were counted in all which tell how often each was asked."""
    before = [one._replace(latency_ms=one.latency_ms / 100) for one in answers(500, 99)]
    checks = make_checks(CLASSES, before, Rollout(), Serving())

    def sampled(fraction: float) -> Callable[[int], Look]:
        mine, theirs = ([one._replace(latency_ms=ms) for one in answers(3, 1)] for ms in (2.2, 0.2))
        return lambda _: look(Counts(3), Counts(400), mine, theirs * 9)._replace(fraction=fraction)

    assert looks_until_gone(checks, sampled(1.0), 30) is None
    assert looks_until_gone(checks, sampled(0.01), 30) is not None


def test_what_is_tolerated_can_be_set() -> None:
    """A version that is twice as slow, or predicts otherwise, by intent is released with `slower` and `shifted`."""
    for fault, setting in (("twice as slow", {"slower": 3}), ("a class never", {"shifted": 1000})):
        assert looks_until_gone(asked(), faulty(fault), 12) is not None
        assert looks_until_gone(asked(**setting), faulty(fault), 12) is None


def test_a_smaller_rate_of_false_rollbacks_wants_more_evidence() -> None:
    """What one in a hundred by chance is enough for, one in a million is not."""
    loose, strict = (looks_until_gone(asked(false_rollbacks=rate), faulty("20 % slower"), 200) for rate in (0.05, 1e-6))
    assert loose is not None
    assert strict is not None
    assert loose < strict


def test_labels_are_counted_with_their_types() -> None:
    """Truths are not texts, whole numbers are what JSON makes of them, and an unknown class is none of the asked."""
    of = signature(Output(name="left", classes=(False, True)))
    checks = make_checks(of, (), Rollout(), Serving())
    values: list[Label] = [True, True, "True", False]
    seen = after(checks, look(ours=[Answer(1.0, (value,), {}) for value in values]))
    weighed = seen.weighed["prediction True, commoner"]
    assert (weighed.candidate, weighed.candidate_events) == (4, 2)


def test_findings_begin_with_what_speaks_most_against_the_candidate() -> None:
    """Every check is reported once, with its counts and how seldom they come by chance."""
    checks = asked()
    found = findings(checks, after(checks, *(faulty("more errors")(n) for n in range(3))))
    assert {one.check for one in found} == set(names(checks))
    assert found[0].check == "errors"
    assert found[0].text.startswith("errors: 9 of 150 (6 %) requests, the stable's 6 of 1,350 (0.44 %); 1 in ")
    assert all(one.one_in >= 1 for one in found)


# What is decided

ENOUGH = Totals(120, 2000, 100, 300)
FEW = Totals(12, 200, 11, 190)
LIMIT = math.log(100)


def evidence(checks: Checks, log: float, totals: Totals) -> Evidence:
    """Return evidence whose sum has this logarithm."""
    growth = tuple(log + start for start in sequential.EVENLY)
    return Evidence(totals=totals, weighed={name: Weighed(growth=growth) for name in names(checks)})


DECISIONS: dict[str, tuple[float, Totals, Step, str, str, str]] = {
    "evidence-at-once": (LIMIT + 0.01, FEW, Step(5, 0.2, "held"), "roll back", "traffic", "together 1 in 101"),
    "evidence-at-the-last-moment": (LIMIT + 0.01, ENOUGH, Step(100, 0, "held"), "roll back", "traffic", "together"),
    "too-early": (0, ENOUGH, Step(5, 14.9, "held"), "wait", "traffic", "14.9 of 15 minutes"),
    "too-few-requests": (0, FEW, Step(5, 20, "held"), "wait", "replay", "requests of either version are wanted"),
    "too-few-records": (0, Totals(500, 900, 3, 300), Step(5, 20, "held"), "wait", "replay", "a tenth as many records"),
    "too-few-of-the-stable": (
        0,
        Totals(500, 9, 99, 9),
        Step(95, 20, "held"),
        "wait",
        "replay",
        "100 requests of either version",
    ),
    "time-and-requests": (0, ENOUGH, Step(5, 15, "held"), "promote", "traffic", "nothing speaks against it"),
    "doubt": (math.log(DOUBT) + 0.01, ENOUGH, Step(5, 30, "held"), "wait", "traffic", "doubts: errors"),
    "doubt-that-stayed": (math.log(DOUBT) + 0.01, ENOUGH, Step(5, 60, "held"), "promote", "traffic", "too little"),
    "low-traffic-replay-held": (0, FEW, Step(5, 60, "held"), "promote", "replay", "traffic is low"),
    "low-traffic-replay-failed": (0, FEW, Step(5, 60, "failed"), "roll back", "replay", "did not hold"),
    "low-traffic-nothing-to-replay": (0, FEW, Step(5, 60, "nothing"), "promote", "nothing", "golden examples alone"),
    "no-traffic-at-all": (0, Totals(), Step(5, 60, "nothing"), "promote", "nothing", "0 requests to the candidate"),
    "stable-without-traffic": (0, Totals(300, 0, 200, 0), Step(50, 60, "held"), "promote", "replay", "0 to the stable"),
    "all-traffic": (0, ENOUGH, Step(100, 0, "held"), "promote", "traffic", "nothing speaks against it"),
    "all-traffic-from-the-start": (0, Totals(), Step(100, 0, "held"), "promote", "replay", "traffic is low"),
}


@pytest.mark.parametrize(("log", "totals", "step", "verdict", "basis", "said"), DECISIONS.values(), ids=DECISIONS)
def test_decisions(log: float, totals: Totals, step: Step, verdict: str, basis: str, said: str) -> None:
    """Evidence rolls back at any time; time, requests and no doubt promote; low traffic goes by the replay."""
    checks = asked()
    decision = decide(checks, evidence(checks, log, totals), step)
    assert (decision.verdict, decision.basis) == (verdict, basis)
    assert said in "; ".join(decision.reasons)
    assert type(decision).model_validate_json(decision.model_dump_json()) == decision


@pytest.mark.parametrize("percent", [5, 100])
def test_a_release_without_any_traffic_ends(percent: int) -> None:
    """With nothing but empty looks a step lasts four times its minutes at most, and ends in words, not in waiting."""
    checks = asked(before=())
    seen = after(checks, *(look() for _ in range(20)))
    decision = decide(checks, seen, Step(percent, PATIENCE * checks.minutes_per_step, "nothing"))
    assert (decision.verdict, decision.basis) == ("promote", "nothing")


def test_ten_requests_a_day_are_released_on_the_replay() -> None:
    """A service that is hardly asked waits its time at each step, then goes on by its replay, and says so."""
    checks = asked(before=answers(10))
    seen = after(checks, *(look(Counts(number == 7), Counts(number == 3), seconds=30) for number in range(120)))
    assert decide(checks, seen, Step(5, 59, "held")).verdict == "wait"
    decision = decide(checks, seen, Step(5, 60, "held"))
    assert (decision.verdict, decision.basis) == ("promote", "replay")
    assert "replay of recent requests held" in " ".join(decision.reasons)


# What is documented

GUIDE = (ROOT / "docs" / "judge.md").read_text(encoding="utf-8")


def test_the_guide_names_every_setting_and_weight() -> None:
    """docs/judge.md has each key of `rollout` with its default, and each kind of check with its weight."""
    for key, field in Rollout.model_fields.items():
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        assert f"| `rollout.{key}` | `{default}` |" in GUIDE, key
    for kind, weight in WEIGHTS.items():
        assert f"| {kind} | {weight:g} |" in GUIDE, kind


NUMBERS_IN_WORDS = {
    f"at most {sequential.ONE_LOOK and round(math.exp(sequential.ONE_LOOK))}-fold": "a look",
    f"1 in {DOUBT} ": "doubt",
    f"{checks_module.ENOUGH_BEFORE} answers": "answers before",
    f"{checks_module.ERRORS:g}": "errors",
    f"{checks_module.REJECTIONS:g}": "rejections",
    f"{judge.IDLE_MS:g} ms": "idle",
    f"{judge.IDLE_RATE:g} requests a second": "idle",
    f"{PATIENCE} times": "patience",
}


@pytest.mark.parametrize("words", NUMBERS_IN_WORDS, ids=NUMBERS_IN_WORDS.values())
def test_the_guide_says_the_numbers_that_the_judge_uses(words: str) -> None:
    """A constant that changes must change in docs/judge.md."""
    assert words in GUIDE


def test_the_guides_command_is_a_target_of_make() -> None:
    """`make judge` runs the module that the guide names."""
    command = "python -m tests.benchmarks.judge"
    assert command in GUIDE
    assert "make judge" in GUIDE
    assert re.search(
        rf"^judge: .*## .*\n\t.*{re.escape(command)}", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M
    )
