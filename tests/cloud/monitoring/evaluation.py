"""Alert policies: which would fire at a given time, and with which values.

Nothing is remembered between evaluations: a condition that must hold for a while is evaluated over that while.
"""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field

from tests.cloud.errors import CloudError, invalid, unimplemented
from tests.cloud.instants import read_duration
from tests.cloud.monitoring import promql, slo
from tests.cloud.monitoring.filters import compile_filter
from tests.cloud.monitoring.query import MINUTE, Result, aggregate, select
from tests.cloud.monitoring.series import SeriesStore
from tests.cloud.schemas import Json

PROMQL, THRESHOLD, ABSENT = "conditionPrometheusQueryLanguage", "conditionThreshold", "conditionAbsent"
# Of an alignment, in alerts: https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies#Aggregation
LONGEST_ALIGNMENT_SECONDS = 90_000
# An absence is only noticed of what was there: at most this long ago.
REMEMBERED_SECONDS = 24.5 * 3600
COMPARISONS: dict[str, Callable[[float, float], bool]] = {"COMPARISON_GT": operator.gt, "COMPARISON_LT": operator.lt}
COMBINERS: dict[str, Callable[[Iterable[bool]], bool]] = {"AND": all, "OR": any, "COMBINE_UNSPECIFIED": any}


@dataclass(frozen=True)
class Violation:
    """One time series that a condition finds wrong, with its newest value; an absent one has none."""

    labels: dict[str, str]
    value: float | None


@dataclass(frozen=True)
class ConditionState:
    """Whether a condition is met, and by what; `values` are the newest of the series looked at, met or not.

    A condition that the double cannot evaluate is not met, and `problem` says why: nobody knows.
    """

    name: str
    met: bool
    violations: list[Violation] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    problem: str = ""


@dataclass(frozen=True)
class PolicyState:
    """Whether a policy fires."""

    name: str
    firing: bool
    conditions: list[ConditionState]

    def as_json(self) -> Json:
        """Return it as JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Moment:
    """All that conditions are evaluated on."""

    at: float
    store: SeriesStore
    slos: Mapping[str, Json]
    engine: promql.Engine | None


def evaluate(
    policies: Iterable[Json], store: SeriesStore, at: float, slos: Mapping[str, Json] | None = None
) -> list[PolicyState]:
    """Return the state of each policy at a time in seconds since 1970; `slos` by their resource names.

    Raises CloudError: 400 for a condition that Google would not take.
    Raises NoPrometheusError: a condition is PromQL, and Prometheus is not installed.
    """
    kept = list(policies)
    with contextlib.ExitStack() as stack:
        wanted = any(PROMQL in condition for policy in kept for condition in policy["conditions"])
        engine = stack.enter_context(promql.engine(store.all(), round(at, 3))) if wanted else None
        moment = _Moment(round(at, 3), store, slos or {}, engine)
        return [_policy(policy, moment) for policy in kept]


def check_conditions(policy: Json) -> None:
    """Refuse an AlertPolicy whose conditions have filters, comparisons or durations that Google would refuse.

    PromQL is only read where promtool is installed.

    Raises CloudError: 400.
    """
    for condition in policy["conditions"]:
        for kind, check in CHECKS.items():
            if kind in condition:
                check(condition[kind])


def _policy(policy: Json, moment: _Moment) -> PolicyState:
    conditions = [_condition(condition, moment) for condition in policy["conditions"]]
    combiner = policy.get("combiner", "COMBINE_UNSPECIFIED")
    if combiner not in COMBINERS:
        raise unimplemented(f"the combiner {combiner}")
    firing = policy.get("enabled", True) and COMBINERS[combiner](condition.met for condition in conditions)
    return PolicyState(policy.get("displayName", ""), firing, conditions)


def _condition(condition: Json, moment: _Moment) -> ConditionState:
    name = condition.get("displayName", "")
    try:
        return _evaluator(condition)(name, condition, moment)
    except CloudError as error:
        if error.status == 501:
            return ConditionState(name, False, problem=str(error))
        error.add_note(f"in the condition {name!r}")
        raise


def _evaluator(condition: Json) -> Callable[[str, Json, _Moment], ConditionState]:
    for kind, evaluator in EVALUATORS.items():
        if kind in condition:
            return lambda name, whole, moment: evaluator(name, whole[kind], moment)
    raise unimplemented(f"conditions of type {', '.join(one for one in condition if one.startswith('condition'))}")


def _promql(name: str, condition: Json, moment: _Moment) -> ConditionState:
    if moment.engine is None:
        raise RuntimeError("evaluate() starts the engine for policies with PromQL")
    step = read_duration(condition.get("evaluationInterval", "30s"))
    steps = math.ceil(read_duration(condition.get("duration", "0s")) / step)
    found = moment.engine.query_range(condition["query"], moment.at - steps * step, moment.at, step)
    series = [(one["metric"], one["values"]) for one in found["result"]]
    now = [(labels, values) for labels, values in series if values[-1][0] == moment.at]
    violations = [Violation(labels, float(values[-1][1])) for labels, values in now if len(values) == steps + 1]
    return ConditionState(name, bool(violations), violations, [float(values[-1][1]) for _, values in now])


def _threshold(name: str, condition: Json, moment: _Moment) -> ConditionState:
    if "forecastOptions" in condition or condition.get("evaluationMissingData", "").endswith("_ACTIVE"):
        raise unimplemented("forecasts, and missing data that counts as a violation")
    compare, limit = COMPARISONS[condition["comparison"]], condition.get("thresholdValue", 0)
    is_burn_rate = slo.is_burn_rate(condition["filter"])
    looked_at = _burn_rates(condition, moment) if is_burn_rate else _aligned(condition, moment)
    violations = [
        Violation(labels, values[0])
        for labels, values in looked_at
        if all(value is not None and compare(value, limit) for value in values)
    ]
    newest = [values[0] for _, values in looked_at if values[0] is not None]
    return ConditionState(name, _triggers(condition, len(violations), len(looked_at)), violations, newest)


# The labels of a series, and its values in the time for which a condition must hold, newest first.
Looked = tuple[dict[str, str], list[float | None]]


def _burn_rates(condition: Json, moment: _Moment) -> list[Looked]:
    name, read = slo.selected_burn_rate(condition["filter"], moment.slos, moment.store)
    minutes = _count(condition, MINUTE)
    return [({"slo": name}, [read(moment.at - index * MINUTE) for index in range(minutes)])]


def _aligned(condition: Json, moment: _Moment) -> list[Looked]:
    aggregation = _aggregation(condition, "aggregations")
    period = read_duration(aggregation["alignmentPeriod"])
    ends = [moment.at - index * period for index in range(_count(condition, period))]
    start = moment.at - len(ends) * period
    found = aggregate(select(moment.store, condition["filter"]), aggregation, start, moment.at)
    if "denominatorFilter" not in condition:
        return [(_labels(one), _at(_values(one), ends)) for one in found]
    below = _aggregation(condition, "denominatorAggregations")
    others = aggregate(select(moment.store, condition["denominatorFilter"]), below, start, moment.at)
    totals = {tuple(_labels(one).items()): _values(one) for one in others}
    return [
        (_labels(one), _at(_ratios(_values(one), totals.get(tuple(_labels(one).items()), {})), ends)) for one in found
    ]


def _absent(name: str, condition: Json, moment: _Moment) -> ConditionState:
    """Find the series that once had data and have none for as long as the condition says."""
    seconds = read_duration(condition["duration"])
    series = select(moment.store, condition["filter"])
    aggregation = _aggregation(condition, "aggregations") if condition.get("aggregations") else {}
    before = aggregate(series, aggregation, moment.at - REMEMBERED_SECONDS, moment.at - seconds)
    since = aggregate(series, aggregation, moment.at - seconds, moment.at)
    alive = [_labels(one) for one in since if one.points]
    known = [_labels(one) for one in before if one.points]
    violations = [Violation(labels, None) for labels in known if labels not in alive]
    return ConditionState(name, _triggers(condition, len(violations), len(known)), violations)


EVALUATORS: dict[str, Callable[[str, Json, _Moment], ConditionState]] = {
    PROMQL: _promql,
    THRESHOLD: _threshold,
    ABSENT: _absent,
}


def _count(condition: Json, period: float) -> int:
    """Return how many points in a row must violate."""
    return max(1, math.ceil(read_duration(condition.get("duration", "0s")) / period))


def _aggregation(condition: Json, name: str) -> Json:
    given: list[Json] = condition.get(name, [])
    if len(given) > 1:
        raise unimplemented("more than one aggregation of a condition")
    if not given or "alignmentPeriod" not in given[0]:
        raise unimplemented("threshold conditions without an alignment period")
    return given[0]


def _labels(result: Result) -> dict[str, str]:
    return {**dict(result.resource.labels), **dict(result.labels)}


def _values(result: Result) -> dict[float, float]:
    if result.descriptor.value_type == "DISTRIBUTION":
        raise invalid("A threshold needs numbers: align or reduce the distribution to a percentile.")
    return {point.end: point.value for point in result.points if isinstance(point.value, int | float)}


def _at(values: Mapping[float, float], ends: list[float]) -> list[float | None]:
    return [values.get(end) for end in ends]


def _ratios(values: Mapping[float, float], totals: Mapping[float, float]) -> dict[float, float]:
    return {end: value / totals[end] for end, value in values.items() if totals.get(end)}


def _triggers(condition: Json, violating: int, looked_at: int) -> bool:
    trigger = condition.get("trigger", {})
    if trigger.get("percent"):
        return looked_at > 0 and 100 * violating / looked_at >= trigger["percent"]
    return violating >= (trigger.get("count") or 1)


def _check_promql(condition: Json) -> None:
    if not condition.get("query"):
        raise invalid("Field alert_policy.conditions.condition_prometheus_query_language.query must not be empty.")
    promql.check_query(condition["query"])
    _check_duration(condition, "evaluationInterval", 30)


def _check_threshold(condition: Json) -> None:
    if condition.get("comparison") not in COMPARISONS:
        raise invalid("Field comparison had an invalid value: only COMPARISON_LT and COMPARISON_GT are supported.")
    _check_duration(condition, "duration", 60)
    _check_aggregations([*condition.get("aggregations", []), *condition.get("denominatorAggregations", [])])
    if not condition.get("filter", "").strip().startswith("select_slo_"):
        compile_filter(condition.get("filter", ""))
    elif slo.is_burn_rate(condition["filter"]) and not slo.BURN_RATE.fullmatch(condition["filter"].strip()):
        raise invalid(f'Field filter had an invalid value of "{condition["filter"]}": Could not parse filter.')


def _check_absent(condition: Json) -> None:
    compile_filter(condition.get("filter", ""))
    _check_duration(condition, "duration", 60)
    _check_aggregations(condition.get("aggregations", []))
    if read_duration(condition.get("duration", "0s")) < 120:
        raise invalid("Field duration had an invalid value: an absence must last at least 120 seconds.")


def _check_aggregations(aggregations: Iterable[Json]) -> None:
    # https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies#Aggregation
    for aggregation in aggregations:
        aligns = aggregation.get("perSeriesAligner", "ALIGN_NONE") != "ALIGN_NONE"
        reduces = aggregation.get("crossSeriesReducer", "REDUCE_NONE") != "REDUCE_NONE"
        period = read_duration(aggregation.get("alignmentPeriod", "0s"))
        if reduces and not aligns:
            raise invalid("Field aggregation.crossSeriesReducer had an invalid value: time series must be aligned.")
        if aligns and not MINUTE <= period <= LONGEST_ALIGNMENT_SECONDS:
            text = f"it must be from {MINUTE:g} to {LONGEST_ALIGNMENT_SECONDS} seconds."
            raise invalid(f"Field aggregation.alignmentPeriod had an invalid value: {text}")


def _check_duration(condition: Json, name: str, unit: int) -> None:
    if read_duration(condition.get(name, "0s")) % unit:
        raise invalid(
            f"Field {name} had an invalid value of {condition[name]}: it must be a multiple of {unit} seconds."
        )


CHECKS: dict[str, Callable[[Json], None]] = {
    PROMQL: _check_promql,
    THRESHOLD: _check_threshold,
    ABSENT: _check_absent,
}
