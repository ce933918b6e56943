"""Datasets: access entries are their policy, and they are deleted only when empty."""

from __future__ import annotations

import re
import time

from tests.cloud import masks, roles
from tests.cloud.collection import Change, Collection, from_body
from tests.cloud.errors import CloudError, invalid
from tests.cloud.schemas import Json

DATASETS = "bigquery.datasets"
TABLES = "bigquery.tables"
ID = re.compile(r"[A-Za-z0-9_]{1,1024}")
# Basic roles have these names in answers: https://cloud.google.com/bigquery/docs/access-control-basic-roles
BASIC_ROLES = {
    "roles/bigquery.dataEditor": "WRITER",
    "roles/bigquery.dataOwner": "OWNER",
    "roles/bigquery.dataViewer": "READER",
}
DEFAULT_ACCESS = (
    {"role": "WRITER", "specialGroup": "projectWriters"},
    {"role": "OWNER", "specialGroup": "projectOwners"},
    {"role": "OWNER", "userByEmail": "owner@example.com"},
    {"role": "READER", "specialGroup": "projectReaders"},
)
GRANTEES = ("userByEmail", "groupByEmail", "domain", "specialGroup", "iamMember", "view", "routine", "dataset")
WRITERS = ("userByEmail", "iamMember")


def milliseconds() -> str:
    """Return the present as BigQuery writes it."""
    return str(time.time_ns() // 1_000_000)


def _check(new: Json, change: Change) -> None:
    for entry in new.get("access") or []:
        if sum(name in entry for name in GRANTEES) != 1:
            raise invalid("An access entry needs exactly one grantee.")
        if not entry.get("role") and not {"view", "routine", "dataset"} & set(entry):
            raise invalid("An access entry needs a role.")
        if (entry.get("role") or "").startswith("roles/"):
            roles.check(entry["role"])
    hours = int(new.get("maxTimeTravelHours") or 168)
    if not 48 <= hours <= 168:
        raise invalid(f"maxTimeTravelHours must be from 48 to 168, not {hours}.")


def _check_delete(change: Change) -> None:
    below = [kind for kind, _ in change.project.below(change.name)]
    if TABLES in below and not change.call.query.get("deleteContents"):
        message = f"Dataset {change.project.id}:{change.id} is still in use"
        raise CloudError(400, "resourceInUse", message, rpc="INVALID_ARGUMENT")


def _complete(new: Json, change: Change) -> Json:
    old, moment = change.old or {}, milliseconds()
    reference = {"projectId": change.project.id, "datasetId": change.id}
    return {
        "location": "US",
        "maxTimeTravelHours": "168",
        **new,
        "kind": "bigquery#dataset",
        "id": f"{change.project.id}:{change.id}",
        "selfLink": f"{change.call.request.root}/bigquery/bigquery/v2/{change.name}",
        "datasetReference": reference,
        "creationTime": old.get("creationTime", moment),
        "lastModifiedTime": moment,
        "type": "DEFAULT",
        # An update that says nothing of access leaves it as it is: grants are made one by one, by others.
        "access": [_entry(entry) for entry in new.get("access") or old.get("access") or DEFAULT_ACCESS],
    }


def _entry(entry: Json) -> Json:
    return {**entry, "role": BASIC_ROLES.get(entry["role"], entry["role"])} if entry.get("role") else entry


COLLECTION = Collection(
    methods=DATASETS,
    new_id=from_body("datasetReference", "datasetId"),
    id_rule=ID,
    check=_check,
    check_delete=_check_delete,
    complete=_complete,
    unmasked=masks.merged,
    schema="Dataset",
    fixed=frozenset({"location"}),
)
