"""What a run found: medians of one contender's samples, and how they compare with the naive handler and the echo."""

import statistics
from dataclasses import asdict, dataclass
from typing import Any

from tests.benchmarks.measures import Load


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
    samples: dict[str, list[float]]


def result(model: str, contender: str, cold_seconds: list[float], load: Load) -> Result:
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
