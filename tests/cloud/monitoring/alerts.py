"""Alert policies: which ones Cloud Monitoring takes; whether they fire is in evaluation.py."""

from __future__ import annotations

import re

from tests.cloud.collection import Change, Collection, generated
from tests.cloud.errors import invalid, not_found
from tests.cloud.monitoring.evaluation import check_conditions
from tests.cloud.project import Project
from tests.cloud.schemas import Json

POLICIES = "monitoring.projects.alertPolicies"
CHANNELS = "monitoring.projects.notificationChannels"
OBJECTIVES = "monitoring.services.serviceLevelObjectives"
DESCRIPTORS = "monitoring.projects.metricDescriptors"
KINDS = ("conditionThreshold", "conditionAbsent", "conditionMatchedLog", "conditionPrometheusQueryLanguage")
KINDS += ("conditionMonitoringQueryLanguage", "conditionSql")
MOST_CONDITIONS, MOST_LABELS = 6, 64
USER_METRIC = re.compile(r'metric\.type\s*=\s*"(logging\.googleapis\.com/user/[^"]+)"')
PROMETHEUS_USER_METRIC = re.compile(r"logging_googleapis_com:user_([a-zA-Z0-9_]+)")
RESOURCE_TYPE = re.compile(r"resource\.type\s*=")
BURN_RATE = re.compile(r'select_slo_burn_rate\(\s*"([^"]+)"')
LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
EVALUATION_STEP_SECONDS = 30


def _check(new: Json, change: Change) -> None:
    conditions = new.get("conditions") or []
    if not 1 <= len(conditions) <= MOST_CONDITIONS:
        text = f"The policy must have between 1 and {MOST_CONDITIONS} conditions, not {len(conditions)}."
        raise invalid(f"Field alert_policy.conditions had an invalid value: {text}")
    if not new.get("displayName"):
        raise invalid("Field alert_policy.display_name had an invalid value: it must not be empty.")
    if not new.get("combiner") or new["combiner"] == "COMBINE_UNSPECIFIED":
        raise invalid("Field alert_policy.combiner had an invalid value: it must be specified.")
    for key in new.get("userLabels") or {}:
        if not LABEL_KEY.fullmatch(key):
            raise invalid(f"Field alert_policy.user_labels had an invalid value: the key '{key}' is not allowed.")
    for index, condition in enumerate(conditions):
        _check_condition(condition, f"alert_policy.conditions[{index}]", change.project)
    check_conditions(new)
    _check_strategy(new)
    _check_channels(new.get("notificationChannels") or [], change.project)


def _check_condition(condition: Json, where: str, project: Project) -> None:
    kinds = [kind for kind in KINDS if condition.get(kind) is not None]
    if len(kinds) != 1:
        raise invalid(f"Field {where} had an invalid value: exactly one kind of condition must be given, not {kinds}.")
    if not condition.get("displayName"):
        raise invalid(f"Field {where}.display_name had an invalid value: it must not be empty.")
    described = condition[kinds[0]]
    if kinds[0] in ("conditionThreshold", "conditionAbsent"):
        _check_filter(described.get("filter") or "", f"{where}.{kinds[0]}", project)
    if kinds[0] == "conditionPrometheusQueryLanguage":
        _check_promql(described, where, project)


def _check_filter(text: str, where: str, project: Project) -> None:
    objective = BURN_RATE.search(text)
    if objective:
        name = project.canonical(objective[1], "monitoring.googleapis.com")
        if name not in project.resources(OBJECTIVES):
            raise not_found(f"Cannot find the service level objective '{objective[1]}'.")
        return
    if "metric.type" not in text and "select_slo_" not in text:
        raise invalid(f"Field {where}.filter had an invalid value: it must name a metric.type.")
    if "select_slo_" not in text and not RESOURCE_TYPE.search(text):
        raise invalid(f'Field {where}.filter had an invalid value: must specify a restriction on "resource.type".')
    for metric in USER_METRIC.findall(text):
        _check_metric(metric, project)


def _check_promql(condition: Json, where: str, project: Project) -> None:
    if not condition.get("query"):
        raise invalid(f"Field {where}.condition_prometheus_query_language.query had an invalid value: it is empty.")
    seconds = float((condition.get("evaluationInterval") or "30s").rstrip("s"))
    if seconds % EVALUATION_STEP_SECONDS:
        raise invalid(f"Field {where}.evaluation_interval had an invalid value: it must be a multiple of 30 seconds.")
    if condition.get("disableMetricValidation"):
        return
    for name in PROMETHEUS_USER_METRIC.findall(condition["query"]):
        suffixless = re.sub(r"_(bucket|count|sum)$", "", name)
        if not any(suffixless == re.sub(r"\W", "_", known) for known in _user_metrics(project)):
            raise _no_metric(f"logging.googleapis.com/user/{name}")


def _check_metric(metric: str, project: Project) -> None:
    if metric.removeprefix("logging.googleapis.com/user/") not in _user_metrics(project):
        raise _no_metric(metric)


def _user_metrics(project: Project) -> set[str]:
    """Return the log-based metrics that Monitoring knows: a new one only after it has counted something."""
    prefix = f"projects/{project.id}/metricDescriptors/logging.googleapis.com/user/"
    return {name.removeprefix(prefix) for name in project.resources(DESCRIPTORS) if name.startswith(prefix)}


def _no_metric(metric: str) -> Exception:
    return not_found(
        f'Cannot find metric(s) that match type = "{metric}". If a metric was created recently, it could take up to '
        "10 minutes to become available. Please try again soon."
    )


def _check_strategy(new: Json) -> None:
    is_on_logs = any("conditionMatchedLog" in condition for condition in new["conditions"])
    limits = (new.get("alertStrategy") or {}).get("notificationRateLimit")
    if is_on_logs != bool(limits):
        raise invalid(
            "Field alert_policy.alert_strategy.notification_rate_limit had an invalid value: it is required for "
            "policies on log matches and allowed for no others."
        )
    if is_on_logs and len(new["conditions"]) > 1:
        raise invalid("Field alert_policy.conditions had an invalid value: a log match must be the only condition.")


def _check_channels(names: list[str], project: Project) -> None:
    known = project.resources(CHANNELS)
    for name in names:
        if project.canonical(name, "monitoring.googleapis.com") not in known:
            raise not_found(f"The notification channel '{name}' does not exist.")


def _complete(new: Json, change: Change) -> Json:
    record = {"mutateTime": change.moment, "mutatedBy": change.call.request.principal or "owner@example.com"}
    conditions = [{**condition, "name": condition.get("name") or _new_name(change)} for condition in new["conditions"]]
    return {
        **new,
        "conditions": conditions,
        "enabled": new.get("enabled", True),
        "creationRecord": (change.old or {}).get("creationRecord") or record,
        "mutationRecord": record,
    }


def _new_name(change: Change) -> str:
    return f"{change.name}/conditions/{generated(change.call)}"


COLLECTION = Collection(
    methods=POLICIES,
    check=_check,
    complete=_complete,
    output_only=frozenset({"creationRecord", "mutationRecord", "validity"}),
)
