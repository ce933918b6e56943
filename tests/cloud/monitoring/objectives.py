"""Services of Cloud Monitoring and their service level objectives."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tests.cloud.collection import Change, Collection, generated
from tests.cloud.discovery import Call
from tests.cloud.errors import invalid
from tests.cloud.logging.metrics import METRICS
from tests.cloud.monitoring.alerts import OBJECTIVES
from tests.cloud.monitoring.filters import compile_filter
from tests.cloud.monitoring.series import RUN_METRICS
from tests.cloud.project import Project
from tests.cloud.schemas import Json

SERVICES = "monitoring.services"
ID = re.compile(r"[a-zA-Z0-9_:.\-]{1,63}")
HIGHEST_GOAL = 0.9999
DAY_SECONDS, MOST_DAYS = 86400, 30
INDICATORS = ("basicSli", "requestBased", "windowsBased")
NUMBERS, USER = ("DOUBLE", "INT64"), "logging.googleapis.com/user/"
METRIC_TYPE = re.compile(r'metric\.type\s*=\s*"([^"]+)"')
RATIO_FILTERS = ("goodServiceFilter", "badServiceFilter", "totalServiceFilter")


def _optional(parameter: str) -> Callable[[Call], str]:
    def read(call: Call) -> str:
        return call.query.get(parameter) or generated(call)

    return read


def _check_objective(new: Json, change: Change) -> None:
    if not 0 < (new.get("goal") or 0) <= HIGHEST_GOAL:
        raise invalid(f"service_level_objective.goal must be above 0 and at most {HIGHEST_GOAL}.")
    periods = [name for name in ("rollingPeriod", "calendarPeriod") if new.get(name)]
    if len(periods) != 1:
        raise invalid("service_level_objective.period: exactly one of rolling_period and calendar_period must be set.")
    if new.get("rollingPeriod"):
        days = float(new["rollingPeriod"].rstrip("s")) / DAY_SECONDS
        if days != int(days) or not 1 <= days <= MOST_DAYS:
            raise invalid(f"service_level_objective.rolling_period must be 1 to {MOST_DAYS} whole days.")
    _check_indicator(new.get("serviceLevelIndicator") or {}, change.project)


def _check_indicator(indicator: Json, project: Project) -> None:
    if sum(bool(indicator.get(name)) for name in INDICATORS) != 1:
        raise invalid("service_level_objective.service_level_indicator: exactly one type must be set.")
    based = indicator.get("requestBased") or {}
    ratio, cut = based.get("goodTotalRatio"), based.get("distributionCut")
    if indicator.get("requestBased") and bool(ratio) == bool(cut):
        raise invalid("request_based: exactly one of good_total_ratio and distribution_cut must be set.")
    if ratio and sum(bool(ratio.get(name)) for name in RATIO_FILTERS) != 2:
        raise invalid("good_total_ratio: exactly two of the good, bad and total service filters must be set.")
    if cut and (not cut.get("distributionFilter") or not cut.get("range")):
        raise invalid("distribution_cut: a distribution filter and a range must be set.")
    for text in (ratio or {}).values():
        _check_values(text, NUMBERS, project)
    if cut:
        _check_values(cut["distributionFilter"], ("DISTRIBUTION",), project)


def _check_values(text: str, allowed: Sequence[str], project: Project) -> None:
    """Refuse a filter that does not parse, or that selects a metric of other values."""
    compile_filter(text)
    for metric in METRIC_TYPE.findall(text):
        found = _value_type(metric, project)
        if found and found not in allowed:
            raise invalid(f"The values of {metric} are {found}; here they must be {' or '.join(allowed)}.")


def _value_type(metric: str, project: Project) -> str:
    """Return what a metric's values are; nothing for a metric that is not known here."""
    if metric in RUN_METRICS:
        return RUN_METRICS[metric].value_type
    name = f"projects/{project.id}/metrics/{metric.removeprefix(USER)}"
    described: Json = project.resources(METRICS).get(name, {}).get("metricDescriptor", {})
    return str(described.get("valueType", ""))


def _numbered(new: Json, change: Change) -> Json:
    """Return a resource whose name has the project's number, as only these two kinds have it."""
    name = change.name.replace(f"projects/{change.project.id}/", f"projects/{change.project.number}/", 1)
    return {**new, "name": name}


SERVICE_COLLECTION = Collection(
    methods=SERVICES,
    new_id=_optional("serviceId"),
    id_rule=ID,
    complete=_numbered,
)
COLLECTION = Collection(
    methods=OBJECTIVES,
    new_id=_optional("serviceLevelObjectiveId"),
    id_rule=ID,
    check=_check_objective,
    complete=_numbered,
)
