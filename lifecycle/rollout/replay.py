"""Asks two revisions the same recent questions: where do they disagree, who refuses, who is slower.

Questions are instances of prediction records. What these leave out or hash is made up, the same for both revisions, so
that its effect is not compared; the result names such features.
"""

import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from scipy.stats import beta, binom

from function.contract import REFERENCE, Feature, Manifest, Output
from function.errors import InvalidInstances
from function.store import Store
from function.validation import Instances, Validator
from lifecycle.pinning import read_whole
from lifecycle.reference import Reference, Summary
from lifecycle.rollout.calls import Called, Calls, Spent
from lifecycle.rollout.filling import fill
from lifecycle.rollout.signals import Recorded
from lifecycle.versions import Version

MOST = 200  # instances, each sent to both revisions
SECONDS = 60.0
WARMING = 3  # calls to each revision before any is timed
CONFIDENCE = 0.95
MOVED = 0.1  # of the target's standard deviation in the training data: a number that moved further is another answer
SHOWN = 10  # of the largest moves
VALUES_SHOWN = 20  # of a column
BUSY = 429
FAR = 1e9  # how far it is to NaN, and the farthest that is told
NUMBERS = ("integer", "number")


class Share(NamedTuple):
    """How many instances were compared, and how many of them were answered otherwise."""

    asked: int = 0
    differing: int = 0


class Move(NamedTuple):
    """One instance and its two answers; the size is a difference of probability, or of standard deviations."""

    size: float
    instance: Mapping[str, Any]  # without what is private
    stable: Any
    candidate: Any


class Latency(NamedTuple):
    """How long pairs of calls took, the whole way; the ratio is the candidate's time in units of the stable one's."""

    pairs: int
    ratio: float  # median
    low: float  # of its interval
    high: float
    stable_ms: float  # median
    candidate_ms: float


class Replayed(NamedTuple):
    """What became of a replay; one that compared nothing says why in its notes."""

    compared: Share = Share()
    low: float = 0.0  # of the interval of the share that differs (Clopper and Pearson)
    high: float = 1.0
    slices: Mapping[str, Mapping[str, Share]] = {}  # by column and value
    moves: Mapping[str, float] = {}  # quantiles of how far answers moved
    largest: tuple[Move, ...] = ()
    latency: Latency | None = None
    made_up: tuple[str, ...] = ()  # features that no record holds: their effect is not compared
    cannot_be_asked: Mapping[str, int] = {}  # instances that do not fit the candidate's signature, by reason
    refused_by_candidate: int = 0  # what the stable revision takes
    refused_by_stable: int = 0  # what the candidate takes
    failed_candidate: int = 0
    failed_stable: int = 0
    notes: tuple[str, ...] = ()


class Versions(NamedTuple):
    """The two versions, and the summary of the candidate's training data."""

    stable: Manifest
    candidate: Manifest
    reference: Reference | None

    @property
    def private(self) -> frozenset[str]:
        """What either version's records leave out or hash."""
        both = (self.stable.privacy, self.candidate.privacy)
        return frozenset(name for privacy in both for name in (*privacy.omit, *privacy.hash))

    @property
    def features(self) -> dict[str, Feature]:
        """Every feature of either version, the candidate's where both have it."""
        return {one.name: one for version in (self.stable, self.candidate) for one in version.signature.features}


def read_versions(store: Store, stable: Version, candidate: Version) -> Versions:
    """Return what a replay has to know of two versions."""
    content = read_whole(store, candidate, REFERENCE)
    reference = None if content is None else Reference.model_validate_json(content)
    return Versions(stable.manifest, candidate.manifest, reference)


def replay(
    calls: Calls,
    stable: str,
    candidate: str,
    versions: Versions,
    instances: Sequence[Recorded],
    by: Sequence[str] = (),
    *,
    most: int = MOST,
    seconds: float = SECONDS,
    seed: int = 0,
) -> Replayed:
    """Return how two revisions, at the addresses of their tags, answer recent instances, one a call.

    `by` are the columns of acceptance.slices; disagreement is counted by each categorical feature as well.
    """
    if reason := _nothing(versions, instances):
        return Replayed(notes=(reason,))
    chance = random.Random(seed)  # noqa: S311 - a sample and made-up values, no secret
    chosen = chance.sample(instances, min(most, len(instances)))
    questions = [_complete(one, versions, chance) for one in chosen]
    sorted_out = _sort_out(questions, versions)
    course = _Course(calls, (stable, candidate), chance, time.monotonic() + seconds)
    course.run(sorted_out.both)
    made_up = sorted({name for question in questions for name in question.made_up})
    return _summary(course, sorted_out, versions, by)._replace(made_up=tuple(made_up))


def judge_replay(result: Replayed, limit: float) -> list[str]:
    """Return why a candidate is refused on a replay, in words; nothing where it is not.

    `limit` is rollout.disagreement. Only what is beyond noise speaks against it.
    """
    reasons = []
    compared = result.compared
    if result.low > limit:
        share = f"{compared.differing} of {compared.asked} replayed requests are answered otherwise"
        reasons.append(f"{share}: at least {result.low:.1%}, and rollout.disagreement allows {limit:.1%}")
    alone, others = result.refused_by_candidate, result.refused_by_stable
    if _interval(alone, alone + others)[0] > 0.5:
        reasons.append(f"it refuses {alone} replayed requests that are answered today, and takes {others} that are not")
    if result.failed_candidate:
        reasons.append(f"it failed to answer {result.failed_candidate} replayed requests")
    return reasons


class _Question(NamedTuple):
    """One instance as it is sent, and the features that were made up for it."""

    instance: Mapping[str, Any]
    made_up: frozenset[str]


class _Sorted(NamedTuple):
    """Questions by who takes them, as far as signatures tell."""

    both: list[_Question]
    candidate_refuses: int  # and the stable version does not
    stable_refuses: int
    cannot: Counter[str]


class _Answer(NamedTuple):
    """What one revision predicts for one instance: a value for each target, and its probabilities by class."""

    values: list[Any]
    chances: list[dict[str, float]]


class _Pair(NamedTuple):
    """One question and what both revisions answered to it."""

    question: _Question
    stable: Called
    candidate: Called


class _Compared(NamedTuple):
    """Two answers to one question."""

    question: _Question
    stable: _Answer
    candidate: _Answer
    times: tuple[float, float]  # milliseconds: stable, candidate


def _nothing(versions: Versions, instances: Sequence[Recorded]) -> str:
    """Return why nothing can be replayed; an empty text where something can."""
    if not instances:
        return "nothing was replayed: no prediction record of late holds an instance"
    asked = {feature.name for feature in versions.stable.signature.features}
    if asked <= versions.private:
        return "nothing was replayed: records hold none of the features, for privacy keeps all of them out"
    old, new = versions.stable.signature, versions.candidate.signature
    if old.task != new.task or [one.name for one in old.outputs] != [one.name for one in new.outputs]:
        return "nothing was replayed: the two versions predict different things"
    return ""


def _complete(recorded: Recorded, versions: Versions, chance: random.Random) -> _Question:
    """Return a recorded instance with what privacy keeps out of records made up."""
    instance, made_up = dict(recorded.features), set()
    features, summaries = versions.features, versions.reference.features if versions.reference else {}
    for name in sorted(versions.private & features.keys()):
        hashed = name in instance
        if hashed and instance[name] is None:
            continue  # that it is missing is no secret
        instance[name] = fill(features[name], summaries.get(name), chance)
        made_up.add(name)
    return _Question(instance, frozenset(made_up))


def _sort_out(questions: Iterable[_Question], versions: Versions) -> _Sorted:
    """Sort questions by which version takes them: a caller is refused before anything is computed."""
    faults = [_fault_finder(manifest) for manifest in (versions.stable, versions.candidate)]
    found = _Sorted([], 0, 0, Counter())
    refused: Counter[str] = Counter()
    for question in questions:
        stable, candidate = (fault(question.instance) for fault in faults)
        if candidate:
            found.cannot[candidate] += 1
        if not stable and not candidate:
            found.both.append(question)
        elif not (stable and candidate):
            refused["stable" if stable else "candidate"] += 1
    return found._replace(candidate_refuses=refused["candidate"], stable_refuses=refused["stable"])


def _fault_finder(manifest: Manifest) -> Callable[[Mapping[str, Any]], str]:
    """Return what tells why an instance does not fit a signature, without any value of it."""
    validator = Validator(manifest.signature)

    def fault(instance: Mapping[str, Any]) -> str:
        try:
            validator.columns(Instances([instance], lambda _: ""))
        except InvalidInstances as error:
            first = error.details[0]
            return f"{first['at'].lstrip('/')}: {first['expected']} is expected"
        return ""

    return fault


class _Course:
    """One replay under way."""

    def __init__(self, calls: Calls, addresses: tuple[str, str], chance: random.Random, until: float) -> None:
        self._calls = calls
        self._urls = [f"{address}/predict" for address in addresses]
        self._chance = chance
        self._until = until
        self.pairs: list[_Pair] = []
        self.failed = [0, 0]
        self.notes: list[str] = []

    def run(self, questions: Sequence[_Question]) -> None:
        """Ask both revisions, in an order of chance: whoever is always second would find caches warm."""
        try:
            for question in [one for one in questions[:1] for _ in range(WARMING)]:
                self._ask(question)
            for question in questions:
                if time.monotonic() >= self._until:
                    self.notes.append(f"the time was up after {len(self.pairs)} of {len(questions)} instances")
                    break
                self.pairs.append(self._ask(question))
        except Spent as spent:
            self.notes.append(str(spent))

    def _ask(self, question: _Question) -> _Pair:
        body = orjson.dumps({"instances": [question.instance]})
        called: dict[int, Called] = {}
        for side in self._chance.sample((0, 1), 2):
            called[side] = self._calls.post(self._urls[side], body)
            self.failed[side] += called[side].failed or (called[side].status == 200 and _read(called[side]) is None)
        return _Pair(question, called[0], called[1])


def _summary(course: _Course, sorted_out: _Sorted, versions: Versions, by: Sequence[str]) -> Replayed:
    pairs = course.pairs
    compared = [one for pair in pairs if (one := _compared(pair)) is not None]
    spreads = _spreads(compared, versions)
    differing = [_differs(one, versions.stable.signature.outputs, spreads) for one in compared]
    moves = [_move(one, versions, spreads) for one in compared]
    low, high = _interval(sum(differing), len(compared))
    nothing = [] if compared else ["nothing was compared: no instance was answered by both revisions"]
    return Replayed(
        compared=Share(len(compared), sum(differing)),
        low=low,
        high=high,
        slices=_slices(compared, differing, versions, by),
        moves=_quantiles([move.size for move in moves]),
        largest=tuple(sorted(moves, key=lambda move: -move.size)[:SHOWN]),
        latency=_latency([one.times for one in compared]),
        cannot_be_asked=dict(sorted_out.cannot.most_common()),
        refused_by_candidate=sorted_out.candidate_refuses + sum(_refused(one.candidate, one.stable) for one in pairs),
        refused_by_stable=sorted_out.stable_refuses + sum(_refused(one.stable, one.candidate) for one in pairs),
        failed_candidate=course.failed[1],
        failed_stable=course.failed[0],
        notes=(*course.notes, *nothing),
    )


def _refused(one: Called, other: Called) -> bool:
    return 400 <= one.status < 500 and one.status != BUSY and other.status == 200


def _compared(pair: _Pair) -> _Compared | None:
    stable, candidate = _read(pair.stable), _read(pair.candidate)
    if stable is None or candidate is None or len(stable.values) != len(candidate.values):
        return None
    return _Compared(pair.question, stable, candidate, (pair.stable.ms, pair.candidate.ms))


def _read(called: Called) -> _Answer | None:
    """Return the answer to a question, None where there is none that can be read."""
    try:
        content = orjson.loads(called.content)
        value, chances = content["predictions"][0], content.get("probabilities", [[]])[0]
        tables = chances if isinstance(chances, list) else [chances]
        by_class = [{str(name): float(chance or 0.0) for name, chance in table.items()} for table in tables]
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return _Answer(value if isinstance(value, list) else [value], by_class) if called.status == 200 else None


# How far two answers are from each other


def _spreads(compared: Sequence[_Compared], versions: Versions) -> list[float]:
    """Return the unit of each target: for numbers the training data's standard deviation, else the answers' own."""
    targets: Mapping[str, Summary] = versions.reference.targets if versions.reference else {}
    spreads = []
    for index, output in enumerate(versions.stable.signature.outputs):
        summary = targets.get(output.name)
        spread = summary.deviation if summary else None
        if output.classes is None and not spread:
            values = [value for one in compared if isinstance(value := one.stable.values[index], float | int)]
            spread = statistics.pstdev(values) if values else None
        spreads.append(spread or 1.0)
    return spreads


def _differs(one: _Compared, outputs: Sequence[Output], spreads: Sequence[float]) -> bool:
    """Tell whether any target has another label, or a number that moved further than it may."""
    distances = map(_distance, one.stable.values, one.candidate.values, outputs, spreads)
    return any(distance > MOVED for distance in distances)


def _distance(stable: Any, candidate: Any, output: Output, spread: float) -> float:
    if output.classes is not None:
        return 0.0 if type(stable) is type(candidate) and stable == candidate else 1.0
    if isinstance(stable, float | int) and isinstance(candidate, float | int):
        return min(abs(stable - candidate) / spread, FAR)
    return 0.0 if stable is candidate else FAR  # NaN, which JSON does not have


def _move(one: _Compared, versions: Versions, spreads: Sequence[float]) -> Move:
    """Return how far an answer moved: by its probabilities where there are some."""
    outputs = versions.stable.signature.outputs
    sizes = [*map(_distance, one.stable.values, one.candidate.values, outputs, spreads)]
    if one.stable.chances and len(one.stable.chances) == len(one.candidate.chances):
        sizes = [*map(_largest_difference, one.stable.chances, one.candidate.chances)]
    shown = {name: value for name, value in one.question.instance.items() if name not in versions.private}
    return Move(max(sizes), shown, one.stable._asdict(), one.candidate._asdict())


def _largest_difference(stable: Mapping[str, float], candidate: Mapping[str, float]) -> float:
    classes = stable.keys() | candidate.keys()
    return max((abs(stable.get(one, 0.0) - candidate.get(one, 0.0)) for one in classes), default=0.0)


# What is told of them


def _slices(
    compared: Sequence[_Compared], differing: Sequence[bool], versions: Versions, by: Sequence[str]
) -> dict[str, dict[str, Share]]:
    """Return disagreement by the values of columns, of each column the most frequent ones."""
    summaries = versions.reference.features if versions.reference else {}
    features = {
        name: feature
        for name, feature in versions.features.items()
        if name not in versions.private and (_is_categorical(feature) or (name in by and feature.type in NUMBERS))
    }
    found: dict[str, dict[str, Share]] = {}
    for name, feature in features.items():
        asked: Counter[str] = Counter()
        differ: Counter[str] = Counter()
        for one, differs in zip(compared, differing, strict=True):
            group = _group(feature, one.question.instance.get(name), summaries.get(name))
            asked[group] += 1
            differ[group] += differs
        found[name] = {value: Share(count, differ[value]) for value, count in asked.most_common(VALUES_SHOWN)}
    return found if compared else {}


def _is_categorical(feature: Feature) -> bool:
    return feature.categories is not None or feature.type == "boolean"


def _group(feature: Feature, value: Any, summary: Summary | None) -> str:
    """Return the group of a value: of categories the value itself, of numbers the quarter of the training data."""
    if value is None:
        return "missing"
    if _is_categorical(feature) or summary is None or summary.quantiles is None:
        return str(value)
    below = sum(value > summary.quantiles[quartile] for quartile in ("0.25", "0.5", "0.75"))
    return f"quarter {below + 1}"


def _quantiles(sizes: Sequence[float]) -> dict[str, float]:
    ordered = sorted(sizes)
    shares = {"0.5": 0.5, "0.9": 0.9, "0.99": 0.99, "1.0": 1.0}
    return {name: ordered[math.ceil(share * len(ordered)) - 1] for name, share in shares.items() if ordered}


def _latency(times: Sequence[tuple[float, float]]) -> Latency | None:
    """Return the median ratio of pairs, with the interval that order statistics give it whatever their distribution."""
    if not times:
        return None
    ratios = sorted(candidate / stable for stable, candidate in times)
    from_end = max(int(binom.ppf((1 - CONFIDENCE) / 2, len(ratios), 0.5)), 1)
    stable_ms, candidate_ms = (statistics.median(side) for side in zip(*times, strict=True))
    low, high = ratios[from_end - 1], ratios[-from_end]
    return Latency(len(ratios), statistics.median(ratios), low, high, stable_ms, candidate_ms)


def _interval(events: int, total: int) -> tuple[float, float]:
    """Return the interval of Clopper and Pearson of a share: https://doi.org/10.1093/biomet/26.4.404."""
    tail = (1 - CONFIDENCE) / 2
    low = float(beta.ppf(tail, events, total - events + 1)) if events else 0.0
    high = float(beta.ppf(1 - tail, events + 1, total - events)) if events < total else 1.0
    return low, high


def joined(results: Sequence[Replayed]) -> Replayed:
    """Return replays of the same two revisions as one; moves and times are those of the replay that compared most."""
    if not results:
        return Replayed(notes=("nothing was asked meanwhile",))
    most = max(results, key=lambda one: one.compared.asked)
    compared = _added([one.compared for one in results])
    low, high = _interval(compared.differing, compared.asked) if compared.asked else (0.0, 1.0)
    reasons = sum((Counter(one.cannot_be_asked) for one in results), Counter[str]())
    return most._replace(
        compared=compared,
        low=low,
        high=high,
        slices=_joined_slices([one.slices for one in results]),
        largest=tuple(sorted((move for one in results for move in one.largest), key=lambda move: -move.size)[:SHOWN]),
        cannot_be_asked=dict(reasons.most_common()),
        refused_by_candidate=sum(one.refused_by_candidate for one in results),
        refused_by_stable=sum(one.refused_by_stable for one in results),
        failed_candidate=sum(one.failed_candidate for one in results),
        failed_stable=sum(one.failed_stable for one in results),
        made_up=tuple(sorted({name for one in results for name in one.made_up})),
        notes=tuple(dict.fromkeys(note for one in results for note in one.notes)) if not compared.asked else (),
    )


def _added(shares: Iterable[Share]) -> Share:
    return Share(*(sum(numbers) for numbers in zip(*shares, strict=True)))


def _joined_slices(all_slices: Sequence[Mapping[str, Mapping[str, Share]]]) -> dict[str, dict[str, Share]]:
    found: dict[str, dict[str, Share]] = {}
    for slices in all_slices:
        for column, shares in slices.items():
            known = found.setdefault(column, {})
            known.update({value: _added([known.get(value, Share()), share]) for value, share in shares.items()})
    return found
