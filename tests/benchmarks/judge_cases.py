"""What a candidate may be like, good and bad, and requests drawn from it: for many releases at once."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from function.contract import Output, Signature
from lifecycle.recipe import Rollout, Serving
from lifecycle.rollout.checks import Check, Checks, make_checks
from lifecycle.rollout.evidence import Answer
from lifecycle.rollout.judge import Tally

RATES = {"ten a day": 10 / 86_400, "0.2/s": 0.2, "2/s": 2.0, "20/s": 20.0, "200/s": 200.0}
SAMPLE = 200  # records that are read of either revision at a look, at most
ERRORS, REJECTIONS = 0.002, 0.01
MEDIAN_MS, SPREAD = 20.0, 0.5  # log-normal: 99 % answer within 64 ms
CLASSES = ("leave", "stay", "call")
SEGMENTS = {"north": 0.4, "east": 0.3, "south": 0.2, "west": 0.1}
SHARES = np.array([[0.30, 0.60, 0.10], [0.25, 0.65, 0.10], [0.35, 0.55, 0.10], [0.30, 0.58, 0.12]])  # of the classes
BROKEN = list(SEGMENTS).index("south")
DIES_WITH = 10  # requests that a dying instance fails


@dataclass(frozen=True)
class Case:
    """How a candidate differs from the stable revision, and what both go through."""

    name: str
    good: bool = False
    errors: float = 0.0  # more, as a share of requests
    slower: float = 1.0
    odds: float = 1.0  # of the first class
    never: bool = False  # the rarest class is never predicted
    broken: bool = False  # a fifth of the callers get one class only
    curve: bool = False  # a day's ups and downs within an hour: traffic x 0.2 to 1.8, errors x 0.1 to 10, latency x 2
    after: float = 0.0  # minutes, until which the candidate is as good as the stable
    dying: float = 0.0  # instances that die, a request
    hosts: float = 0.0  # how far hosts differ in speed, as a standard deviation


CASES = (
    Case("identical", good=True),
    Case("identical; traffic, errors and latency rise and fall", good=True, curve=True),
    Case("predictions a little different (odds x 1.3)", good=True, odds=1.3),
    Case("9 % slower", good=True, slower=1.09),
    Case("1 % more errors", errors=0.01),
    Case("5 % more errors", errors=0.05),
    Case("5 % more errors, from minute 20 on", errors=0.05, after=20),
    Case("20 % slower", slower=1.2),
    Case("twice as slow", slower=2.0),
    Case("twice as slow, from minute 35 on", slower=2.0, after=35),
    Case("predictions shifted (odds x 2)", odds=2.0),
    Case("predictions shifted (odds x 3)", odds=3.0),
    Case("one class of three never predicted", never=True),
    Case("a slice of a fifth broken", broken=True),
)
# Good versions for which what the judge takes for granted does not hold.
BEYOND = (
    Case("instances die, one in 20,000 requests, ten requests with each", good=True, dying=1 / 20_000),
    Case("instances die, one in 2,000 requests, ten requests with each", good=True, dying=1 / 2_000),
    Case("hosts differ in speed by 5 %", good=True, hosts=0.05),
    Case("hosts differ in speed by 15 %", good=True, hosts=0.15),
)


class World(NamedTuple):
    """What one revision does at a moment; a row a release."""

    errors: np.ndarray
    scale: np.ndarray  # of latency
    joint: np.ndarray  # how often a caller is of a segment and gets a class, segment by segment
    dying: float


class Drawn(NamedTuple):
    """What one revision did for a while; a row a release."""

    requests: np.ndarray
    errors: np.ndarray
    rejections: np.ndarray
    answers: np.ndarray  # of which records were read
    slower: np.ndarray  # of them, how many took longer than each of some thresholds
    joint: np.ndarray  # of them, segments x classes


class Luck(NamedTuple):
    """What differs from release to release of the same case."""

    phase: np.ndarray  # of the day
    hosts: np.ndarray  # speed of the candidate's and of the stable's instances

    def of(self, rows: np.ndarray) -> "Luck":
        """Return that of some releases."""
        return Luck(self.phase[rows], self.hosts[:, rows])


def luck(case: Case, rate: float, releases: int, random: np.random.Generator) -> Luck:
    """Draw what differs from release to release; an instance answers fifty requests a second."""
    instances = np.maximum(1, np.ceil(rate * np.array([[0.05], [0.95]]) / 50))
    hosts = np.exp(case.hosts * random.normal(size=(2, releases)) / np.sqrt(instances))
    return Luck(random.uniform(0, 2 * np.pi, releases), hosts)


def requests_of(
    case: Case, rate: float, seconds: float, minutes: np.ndarray, lucky: Luck, random: np.random.Generator
) -> np.ndarray:
    """Draw how many requests come within some seconds."""
    return random.poisson(rate * seconds * (1 + 0.8 * _wave(case, minutes, lucky)))


def worlds(case: Case, minutes: np.ndarray, lucky: Luck) -> tuple[World, World]:
    """Return what candidate and stable do so many minutes after a release began."""
    wave = _wave(case, minutes, lucky)
    errors, scale = ERRORS * 10**wave, 2**wave
    joint = _joint(SHARES)
    on = minutes >= case.after
    changed = np.where(on[:, None], _joint(_changed(case)), joint)
    slower = scale * np.where(on, case.slower, 1.0)
    return (
        World(errors + on * case.errors, slower * lucky.hosts[0], changed, case.dying),
        World(errors, scale * lucky.hosts[1], np.broadcast_to(joint, changed.shape), case.dying),
    )


def draw(requests: np.ndarray, world: World, thresholds: np.ndarray, most: int, random: np.random.Generator) -> Drawn:
    """Draw what one revision answers; `thresholds` are releases x rising numbers, in milliseconds."""
    deaths = random.poisson(requests * world.dying)
    errors = np.minimum(random.binomial(requests, world.errors) + DIES_WITH * deaths, requests)
    rejections = random.binomial(requests - errors, REJECTIONS)
    answers = np.minimum(requests - errors - rejections, most)
    above = 1 - ndtr(np.log(thresholds / MEDIAN_MS / world.scale[:, None]) / SPREAD)
    ends = np.ones((len(requests), 1))
    bins = random.multinomial(answers, -np.diff(np.concatenate([ends, above, 0 * ends], axis=1), axis=1))
    slower = bins[:, ::-1].cumsum(axis=1)[:, -2::-1]
    joint = random.multinomial(answers, world.joint).reshape(-1, *SHARES.shape)
    return Drawn(requests, errors, rejections, answers, slower, joint)


def counted(checks: Checks, candidate: Drawn, stable: Drawn) -> Tally:
    """Return what each check counts."""
    events = [_events(checks, drawn) for drawn in (candidate, stable)]
    ranked = [
        np.stack([_ranks(checks, check, drawn) for drawn in (candidate, stable)], axis=1)
        for check in checks.checks
        if check.cuts
    ]
    return Tally(np.concatenate(events, axis=-1), ranked)


def cuts_of(checks: Checks) -> list[float]:
    """Return all cut points of latency, which rise."""
    return sorted({cut for check in checks.checks for cut in (*check.cuts, check.cut) if cut is not None})


def _ranks(checks: Checks, check: Check, drawn: Drawn) -> np.ndarray:
    cuts = cuts_of(checks)
    above = drawn.slower[:, [cuts.index(cut) for cut in check.cuts]]
    return -np.diff(np.concatenate([drawn.answers[:, None], above, 0 * above[:, :1]], axis=1), axis=1)


def _events(checks: Checks, drawn: Drawn) -> np.ndarray:
    """Return what each check counts of one revision, releases x checks x (total, events)."""
    columns, cuts = [], cuts_of(checks)
    for check in checks.checks:
        if check.asked == "latency":
            cut = check.cuts[len(check.cuts) // 2] if check.cut is None else check.cut
            columns.append((drawn.answers, drawn.slower[:, cuts.index(cut)]))
        elif check.asked == "predictions":
            at = slice(None) if check.where is None else [list(SEGMENTS).index(str(check.where.value))]
            part = drawn.joint[:, at].sum(axis=1)
            columns.append((part.sum(axis=1), part[:, CLASSES.index(str(check.label))]))
        else:
            events = {"errors": drawn.errors, "rejections": drawn.rejections, "exits": 0 * drawn.errors}
            columns.append((drawn.requests, events[check.asked]))
    return np.stack([np.stack(pair, axis=-1) for pair in columns], axis=1)


def asked(rollout: Rollout) -> Checks:
    """Return what is asked in every release."""
    signature = Signature(
        task="classification",
        features=(),
        outputs=(Output(name="plan", classes=CLASSES),),
        methods=("predict",),
        form="frame",
        magnitudes={},
    )
    return make_checks(signature, answers_before(), rollout, Serving(), ("segment",))


def answers_before(count: int = 2000) -> list[Answer]:
    """Return answers of the stable in the hours before."""
    random = np.random.default_rng(0)
    segments = random.choice(len(SEGMENTS), count, p=list(SEGMENTS.values()))
    return [
        Answer(
            latency_ms=float(MEDIAN_MS * np.exp(SPREAD * random.normal())),
            values=(CLASSES[random.choice(len(CLASSES), p=SHARES[segment])],),
            features={"segment": list(SEGMENTS)[segment]},
        )
        for segment in segments
    ]


def _wave(case: Case, minutes: np.ndarray, lucky: Luck) -> np.ndarray:
    return np.sin(minutes / 60 * 2 * np.pi + lucky.phase) * case.curve


def _joint(shares: np.ndarray) -> np.ndarray:
    return (np.array(list(SEGMENTS.values()))[:, None] * shares).ravel()


def _changed(case: Case) -> np.ndarray:
    shares = SHARES * [case.odds, 1, 0 if case.never else 1]
    shares /= shares.sum(axis=1, keepdims=True)
    if case.broken:
        shares[BROKEN] = [0, 1, 0]
    return shares
