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
LONELY = ("conditionMatchedLog", "conditionPrometheusQueryLanguage", "conditionMonitoringQueryLanguage")
MOST_CONDITIONS, MOST_LABELS = 6, 64
USER_METRIC = re.compile(r'metric\.type\s*=\s*"(logging\.googleapis\.com/user/[^"]+)"')
PROMETHEUS_USER_METRIC = re.compile(r"logging_googleapis_com:user_([a-zA-Z0-9_]+)")
RESOURCE_TYPE = re.compile(r"resource\.type\s*=")
BURN_RATE = re.compile(r'select_slo_burn_rate\(\s*"([^"]+)"')
LABEL_KEY, LABEL_VALUE = re.compile(r"[a-z][a-z0-9_-]{0,62}"), re.compile(r"[a-z0-9_-]{0,63}")
# https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies#Documentation
MOST_CHARACTERS, MOST_BYTES, MOST_LINKS, LONGEST_LINK_NAME, LONGEST_ADDRESS = 8192, 10240, 3, 63, 2083
ADDRESS = re.compile(r"https?://[^\s/]+\S*")
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
    _check_labels(new.get("userLabels") or {})
    _check_documentation(new.get("documentation") or {})
    for index, condition in enumerate(conditions):
        _check_condition(condition, f"alert_policy.conditions[{index}]", change.project)
    check_conditions(new)
    _check_strategy(new)
    _check_channels(new.get("notificationChannels") or [], change.project)


def _check_labels(labels: Json) -> None:
    if len(labels) > MOST_LABELS:
        raise invalid(f"Field alert_policy.user_labels had an invalid value: there are more than {MOST_LABELS}.")
    for key, value in labels.items():
        if not LABEL_KEY.fullmatch(key):
            raise invalid(f"Field alert_policy.user_labels had an invalid value: the key '{key}' is not allowed.")
        if not LABEL_VALUE.fullmatch(value):
            raise invalid(f"Field alert_policy.user_labels had an invalid value: the value '{value}' is not allowed.")


def _check_documentation(documentation: Json) -> None:
    field, content = "Field alert_policy.documentation", documentation.get("content") or ""
    if len(content) > MOST_CHARACTERS or len(content.encode()) > MOST_BYTES:
        raise invalid(f"{field}.content had an invalid value: it is longer than {MOST_CHARACTERS} characters.")
    links = documentation.get("links") or []
    if len(links) > MOST_LINKS:
        raise invalid(f"{field}.links had an invalid value: there are more than {MOST_LINKS}.")
    for link in links:
        if not 0 < len(link.get("displayName") or "") <= LONGEST_LINK_NAME:
            raise invalid(f"{field}.links.display_name had an invalid value: 1 to {LONGEST_LINK_NAME} characters.")
        if not ADDRESS.fullmatch(link.get("url") or "") or len(link["url"]) > LONGEST_ADDRESS:
            raise invalid(f"{field}.links.url had an invalid value: '{link.get('url', '')}' is no address of a page.")


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
    # https://cloud.google.com/monitoring/promql/create-promql-alerts
    lonely = [condition for condition in new["conditions"] if set(LONELY).intersection(condition)]
    if lonely and len(new["conditions"]) > 1:
        text = "a log match, a PromQL or an MQL query must be the only condition."
        raise invalid(f"Field alert_policy.conditions had an invalid value: {text}")


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
