"""What a run found: medians of one contender's samples, how contenders compare, and what we want of the ratios."""

import statistics
from dataclasses import asdict, dataclass
from typing import Any

from tests.benchmarks.measures import Load, percentile
from tests.benchmarks.pipelines import PIPELINES


@dataclass(frozen=True)
class Result:
    """One contender's medians for one model; None where a number does not exist (an echo takes no time to predict)."""

    model: str
    contender: str
    cold_seconds: float
    p50_us: float
    p99_us: float
    requests_per_second: float
    memory_mb: float | None
    predict_us: float | None
    own_us: float | None
    beside_p99_us: float | None
    samples: dict[str, list[float]]


@dataclass(frozen=True)
class Target:
    """A ratio that we want: `ours` over `other` of one number, at most (or at least, where a rate is meant) so much."""

    name: str
    key: str
    ours: str
    other: str
    wanted: dict[str, float]
    at_least: bool = False


TARGETS = (
    Target("cold start, baked / naive", "cold_seconds", "ours", "naive", dict.fromkeys(PIPELINES, 0.30)),
    Target("cold start, from a bucket / naive", "cold_seconds", "bucket", "naive", dict.fromkeys(PIPELINES, 0.50)),
    Target(
        "p50 / naive", "p50_us", "ours", "naive", {"forest": 1 / 30, "boosting": 1 / 15, "text": 0.2, "linear": 0.2}
    ),
    Target("p50 / onnxruntime", "p50_us", "ours", "onnx", dict.fromkeys(PIPELINES, 1.5)),
    Target("requests a second / naive", "requests_per_second", "ours", "naive", {"forest": 40, "text": 6}, True),
    Target("resident memory / naive", "memory_mb", "ours", "naive", dict.fromkeys(PIPELINES, 0.4)),
)
OWN = "own time / echo"
OWN_WANTED = 2.0
COMPUTE = "compute of 1,000 rows / scikit-learn"
COMPUTE_WANTED = {"forest": 1.0, "boosting": 2.0, "text": 1.0, "linear": 1.0}


@dataclass(frozen=True)
class Verdict:
    """One measure of one model: what was found, what is wanted of it (None: nothing), and whether it is reached."""

    model: str
    measure: str
    found: float
    wanted: float | None
    reached: bool | None


def verdicts(model: str, rows: list[dict[str, Any]], compute_ms: dict[str, float] | None) -> list[Verdict]:
    """Return how one model's rows of `compared` stand to what is wanted; what was not measured is left out."""
    by_name = {row["contender"]: row for row in rows if row["model"] == model}
    found = []
    for target in TARGETS:
        sides = [by_name.get(name, {}).get(target.key) for name in (target.ours, target.other)]
        if (value := ratio(*sides)) is not None:
            found.append(_verdict(model, target.name, value, target.wanted.get(model), target.at_least))
    if (own := by_name.get("ours", {}).get("own_times_echo")) is not None:
        found.append(_verdict(model, OWN, own, OWN_WANTED))
    if compute_ms:
        value = compute_ms["numpy"] / compute_ms["sklearn"]
        found.append(_verdict(model, COMPUTE, value, COMPUTE_WANTED.get(model)))
    return found


def _verdict(model: str, measure: str, value: float, wanted: float | None, at_least: bool = False) -> Verdict:
    reached = None if wanted is None else (value >= wanted if at_least else value <= wanted)
    return Verdict(model, measure, value, wanted, reached)


def result(
    model: str, contender: str, cold_seconds: list[float], load: Load, beside_us: list[float] | None = None
) -> Result:
    """Return the medians of one contender's cold starts and rounds, the samples beside them."""
    names = ("p50_us", "p99_us", "requests_per_second", "predict_us", "own_us")
    samples = {name: [getattr(each, name) for each in load.rounds] for name in names}
    known = {name: None if None in values else statistics.median(values) for name, values in samples.items()}
    samples = {name: values for name, values in samples.items() if known[name] is not None}
    return Result(
        model=model,
        contender=contender,
        cold_seconds=statistics.median(cold_seconds),
        memory_mb=load.memory_mb,
        beside_p99_us=percentile(beside_us, 99) if beside_us else None,
        samples={"cold_seconds": cold_seconds, **samples},
        **known,
    )


def compared(results: list[Result]) -> list[dict[str, Any]]:
    """Return one row for each result with its ratios: cold start to the naive handler's, own time to the echo's p50.

    A ratio is None when the contender that it refers to was not measured.
    """
    naive = {each.model: each.cold_seconds for each in results if each.contender == "naive"}
    echo = {each.model: each.p50_us for each in results if each.contender == "echo"}
    return [
        asdict(each)
        | {
            "cold_times_naive": ratio(each.cold_seconds, naive.get(each.model)),
            "own_times_echo": ratio(each.own_us, echo.get(each.model)),
        }
        for each in results
    ]


def ratio(value: float | None, reference: float | None) -> float | None:
    """Return a value as a multiple of a reference, None when either is unknown."""
    return None if value is None or reference is None else value / reference
