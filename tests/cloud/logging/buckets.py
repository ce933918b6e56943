"""Log buckets: two exist from the start, and a deleted one is gone only after a week."""

from __future__ import annotations

import re

from tests.cloud import resources
from tests.cloud.collection import Change, Collection, from_query, populated
from tests.cloud.discovery import Call
from tests.cloud.errors import failed_precondition, invalid
from tests.cloud.project import Project, now
from tests.cloud.schemas import Json

BUCKETS = "logging.projects.locations.buckets"
ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")
DEFAULT_DAYS, MOST_DAYS, REQUIRED_DAYS = 30, 3650, 400
LOCKED = "_Required"


def seed(project: Project) -> None:
    """Make the buckets that every project has."""
    for identity, days in (("_Default", DEFAULT_DAYS), (LOCKED, REQUIRED_DAYS)):
        name = f"projects/{project.id}/locations/global/buckets/{identity}"
        fields = {"name": name, "retentionDays": days, "lifecycleState": "ACTIVE"}
        project.resources(BUCKETS)[name] = fields | ({"locked": True} if identity == LOCKED else {})


def delete(project: Project, call: Call) -> Json:
    """Answer delete: the bucket waits for a week, and its name stays taken."""
    name = resources.name_of(COLLECTION, project, call)
    with project.lock:
        bucket = resources.found(COLLECTION, project, name)
        if name.rpartition("/")[2] in ("_Default", LOCKED) or bucket.get("locked"):
            raise invalid(f"The bucket {name} cannot be deleted.")
        if bucket["lifecycleState"] != "ACTIVE":
            raise failed_precondition(f"The bucket {name} is not active.")
        project.resources(BUCKETS)[name] = {**bucket, "lifecycleState": "DELETE_REQUESTED", "updateTime": now()}
    return {}


def undelete(project: Project, call: Call) -> Json:
    """Answer undelete."""
    name = resources.name_of(COLLECTION, project, call)
    with project.lock:
        bucket = resources.found(COLLECTION, project, name)
        project.resources(BUCKETS)[name] = {**bucket, "lifecycleState": "ACTIVE", "updateTime": now()}
    return {}


def _check(new: Json, change: Change) -> None:
    days = new.get("retentionDays")
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise invalid(f"The retention must be from 1 to {MOST_DAYS} days, not {days}.")
    if (change.old or {}).get("locked"):
        raise failed_precondition(f"The bucket {change.name} is locked.")
    if (change.old or {}).get("analyticsEnabled") and not new.get("analyticsEnabled"):
        raise invalid("Log analytics cannot be switched off again.")


def _complete(new: Json, change: Change) -> Json:
    return {"retentionDays": DEFAULT_DAYS, "lifecycleState": "ACTIVE", **new}


COLLECTION = Collection(
    methods=BUCKETS,
    new_id=from_query("bucketId"),
    id_rule=ID,
    check=_check,
    complete=_complete,
    unmasked=populated,
    proto="google.logging.v2.LogBucket",
)
BEHAVIOUR = {
    f"{BUCKETS}.createAsync": lambda project, call: resources.create(COLLECTION, project, call),
    f"{BUCKETS}.delete": delete,
    f"{BUCKETS}.undelete": undelete,
    f"{BUCKETS}.updateAsync": lambda project, call: resources.patch(COLLECTION, project, call),
}
