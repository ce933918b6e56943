"""Log-based metrics: what the service fills in and refuses; what they count is in extract.py."""

from __future__ import annotations

import re

from tests.cloud.collection import Change, Collection, from_body
from tests.cloud.logging import extract
from tests.cloud.schemas import Json

METRICS = "logging.projects.metrics"
# https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.metrics
NAME = re.compile(r"(?!/)[A-Za-z0-9_\-.,+!*',()%/ ]{1,100}")


def _check(new: Json, change: Change) -> None:
    extract.check_metric({**new, "name": _name(change)})
    if change.old:
        extract.check_update(change.old, new)


def _complete(new: Json, change: Change) -> Json:
    name = _name(change)
    kind = f"logging.googleapis.com/user/{name}"
    described = {"metricKind": "DELTA", "valueType": "INT64", "unit": "1", **(new.get("metricDescriptor") or {})}
    described |= {"name": f"projects/{change.project.id}/metricDescriptors/{kind}", "type": kind}
    if new.get("description"):
        described["description"] = new["description"]
    return {**new, "name": name, "resourceName": change.name, "metricDescriptor": described}


def _name(change: Change) -> str:
    return change.name.partition("/metrics/")[2]


COLLECTION = Collection(
    methods=METRICS,
    new_id=from_body("name"),
    id_rule=NAME,
    check=_check,
    complete=_complete,
    upserts=True,
)
