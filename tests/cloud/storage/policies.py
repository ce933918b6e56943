"""The IAM policy of a bucket: read, compare-and-set, and which permissions the caller has (all)."""

from __future__ import annotations

import base64
import re

from tests.cloud.discovery import Call
from tests.cloud.errors import CloudError, condition_not_met, invalid
from tests.cloud.schemas import Json
from tests.cloud.storage.state import Bucket, State

ROLE = re.compile(r"(roles|projects/[^/]+/roles|organizations/[^/]+/roles)/[A-Za-z0-9_.]+")
PRINCIPAL = re.compile(
    r"allUsers|allAuthenticatedUsers"
    r"|(deleted:)?(user|serviceAccount|group):[^@\s]+@[^@\s]+|domain:[^@\s]+"
    r"|project(Owner|Editor|Viewer):[^\s]+|principal(Set)?://[^\s]+"
)
PUBLIC = {"allUsers", "allAuthenticatedUsers"}


def initial(project: str, uniform: bool) -> Json:
    """Return the bindings that a new bucket has."""
    owners = [f"projectEditor:{project}", f"projectOwner:{project}"]
    kinds = ("Bucket", "Object") if uniform else ("Bucket",)
    owner = [{"role": f"roles/storage.legacy{kind}Owner", "members": owners} for kind in kinds]
    readers = [f"projectViewer:{project}"]
    reader = [{"role": f"roles/storage.legacy{kind}Reader", "members": readers} for kind in kinds]
    return {"version": 1, "bindings": owner + reader}


def get(state: State, call: Call) -> Json:
    """Answer storage.buckets.getIamPolicy."""
    return _resource(state.bucket(call.path["bucket"]))


def set_policy(state: State, call: Call) -> Json:
    """Answer storage.buckets.setIamPolicy; an etag that is given must be the present one."""
    bucket = state.bucket(call.path["bucket"])
    if call.body.get("etag") not in (None, _etag(bucket)):
        raise condition_not_met()
    bindings = [binding for binding in call.body.get("bindings") or [] if binding.get("members")]
    version = call.body.get("version") or 1
    for binding in bindings:
        _check(binding, version, bucket)
    bucket.policy = {"version": version, "bindings": bindings}
    bucket.policy_changes += 1
    return _resource(bucket)


def test_permissions(state: State, call: Call) -> Json:
    """Answer storage.buckets.testIamPermissions: every caller may do everything here."""
    state.bucket(call.path["bucket"])
    for permission in call.query["permissions"]:
        if not permission.startswith("storage."):
            raise invalid(f"Permission {permission} is not valid for this resource.")
    return {"kind": "storage#testIamPermissionsResponse", "permissions": call.query["permissions"]}


def _check(binding: Json, version: int, bucket: Bucket) -> None:
    if not ROLE.fullmatch(binding.get("role") or ""):
        raise invalid(f"Role {binding.get('role')} is not supported for this resource.")
    for member in binding["members"]:
        if not PRINCIPAL.fullmatch(member):
            raise invalid(f"Invalid member {member}.")
    if binding.get("condition") and version != 3:
        raise invalid("A policy with conditional role bindings must specify version 3.")
    prevention = bucket.fields["iamConfiguration"]["publicAccessPrevention"]
    if prevention == "enforced" and PUBLIC.intersection(binding["members"]):
        message = "The member bindings allUsers and allAuthenticatedUsers are not allowed"
        raise CloudError(412, "conditionNotMet", f"{message} since public access prevention is enforced.")


def _resource(bucket: Bucket) -> Json:
    head = {"kind": "storage#policy", "resourceId": f"projects/_/buckets/{bucket.name}", "etag": _etag(bucket)}
    return {**head, **bucket.policy}


def _etag(bucket: Bucket) -> str:
    return base64.b64encode(f"policy {bucket.policy_changes}".encode()).decode()
