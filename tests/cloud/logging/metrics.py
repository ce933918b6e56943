"""Log-based metrics: what the service fills in and refuses; what they count is not decided here."""

from __future__ import annotations

import re

from tests.cloud.collection import Change, Collection, from_body
from tests.cloud.errors import invalid
from tests.cloud.schemas import Json

METRICS = "logging.projects.metrics"
# https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.metrics
NAME = re.compile(r"(?!/)[A-Za-z0-9_\-.,+!*',()%/ ]{1,100}")
LABEL = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
LABEL_TYPES = {"STRING", "BOOL", "INT64"}
PLAIN = re.compile(r"EXTRACT\(\s*[^\s,()]+\s*\)")
REGEXP = re.compile(r'REGEXP_EXTRACT\(\s*[^\s,()]+\s*,\s*"((?:[^"\\]|\\.)*)"\s*\)')
LONGEST_FILTER, MOST_LABELS = 20_000, 10
FIXED_DESCRIPTOR = ("metricKind", "valueType")


def _check(new: Json, change: Change) -> None:
    if not new.get("filter"):
        raise invalid("The metric's filter is empty.")
    if len(new["filter"]) > LONGEST_FILTER:
        raise invalid(f"The metric's filter is longer than {LONGEST_FILTER} characters.")
    descriptor = new.get("metricDescriptor") or {}
    _check_labels(descriptor, new.get("labelExtractors") or {})
    _check_value(descriptor, new)
    _check_same_kind(descriptor, change)


def _check_labels(descriptor: Json, extractors: Json) -> None:
    labels = {label.get("key", ""): label.get("valueType", "STRING") for label in descriptor.get("labels") or []}
    if len(labels) > MOST_LABELS:
        raise invalid(f"A metric has at most {MOST_LABELS} labels.")
    for name, kind in labels.items():
        if not LABEL.fullmatch(name) or kind not in LABEL_TYPES:
            raise invalid(f"Invalid label '{name}' in the metric descriptor.")
    for name in set(labels) ^ set(extractors):
        missing = "label_extractors" if name in labels else "metric_descriptor.labels"
        raise invalid(f"The label '{name}' is missing in {missing}: each label needs exactly one extractor.")
    for extractor in extractors.values():
        _check_extractor(extractor)


def _check_value(descriptor: Json, new: Json) -> None:
    is_distribution = descriptor.get("valueType") == "DISTRIBUTION"
    if descriptor.get("metricKind") not in (None, "METRIC_KIND_UNSPECIFIED", "DELTA"):
        raise invalid("The metric kind of a log-based metric must be DELTA.")
    if is_distribution != bool(new.get("valueExtractor")):
        raise invalid("A value extractor is required for a DISTRIBUTION, and allowed for nothing else.")
    if new.get("bucketOptions") and not is_distribution:
        raise invalid("Bucket options are allowed only for a DISTRIBUTION.")
    if new.get("valueExtractor"):
        _check_extractor(new["valueExtractor"])


def _check_extractor(text: str) -> None:
    found = REGEXP.fullmatch(text)
    if not found and not PLAIN.fullmatch(text):
        raise invalid(f"Invalid extractor '{text}': it must be EXTRACT(field) or REGEXP_EXTRACT(field, \"regex\").")
    if found and _groups(found[1].replace("\\\\", "\\")) != 1:
        raise invalid(f"Invalid extractor '{text}': the regular expression must have exactly one group.")


def _groups(pattern: str) -> int:
    try:
        return re.compile(pattern).groups
    except re.error as fault:
        raise invalid(f"Invalid regular expression '{pattern}': {fault}") from None


def _check_same_kind(descriptor: Json, change: Change) -> None:
    before = (change.old or {}).get("metricDescriptor") or {}
    for field in FIXED_DESCRIPTOR:
        if before and descriptor.get(field, before[field]) != before[field]:
            raise invalid(f"The {field} of a metric cannot change.")


def _complete(new: Json, change: Change) -> Json:
    name = change.name.partition("/metrics/")[2]
    kind = f"logging.googleapis.com/user/{name}"
    described = {"metricKind": "DELTA", "valueType": "INT64", "unit": "1", **(new.get("metricDescriptor") or {})}
    described |= {"name": f"projects/{change.project.id}/metricDescriptors/{kind}", "type": kind}
    if new.get("description"):
        described["description"] = new["description"]
    return {**new, "name": name, "resourceName": change.name, "metricDescriptor": described}


COLLECTION = Collection(
    methods=METRICS,
    new_id=from_body("name"),
    id_rule=NAME,
    check=_check,
    complete=_complete,
    upserts=True,
)
