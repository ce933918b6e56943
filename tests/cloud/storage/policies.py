"""The IAM policy of a bucket; what is the same for every policy is in tests.cloud.policies."""

from __future__ import annotations

from tests.cloud import access, policies
from tests.cloud.discovery import Call
from tests.cloud.errors import CloudError, condition_not_met, invalid
from tests.cloud.schemas import Json
from tests.cloud.storage.state import Bucket, State


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
    bucket = state.bucket(call.path["bucket"])
    return _resource(state, bucket, int(call.query.get("optionsRequestedPolicyVersion") or 1))


def set_policy(state: State, call: Call) -> Json:
    """Answer storage.buckets.setIamPolicy; an etag that is given must be the present one."""
    bucket = state.bucket(call.path["bucket"])
    if call.body.get("etag") not in (None, policies.etag(state.project.policies[bucket.resource])):
        raise condition_not_met()
    policy = policies.checked(state.project, call.body)
    _check_public(policy, bucket)
    state.project.policies[bucket.resource] = policy
    return _resource(state, bucket, 3)


def test_permissions(state: State, call: Call) -> Json:
    """Answer storage.buckets.testIamPermissions."""
    bucket = state.bucket(call.path["bucket"])
    for permission in call.query["permissions"]:
        if not permission.startswith("storage."):
            raise invalid(f"Permission {permission} is not valid for this resource.")
    caller = call.request.principal
    held = policies.test(call, lambda asked: access.holds(state.project, caller, asked, bucket.resource))
    return {"kind": "storage#testIamPermissionsResponse", **held}


def _check_public(policy: Json, bucket: Bucket) -> None:
    members = {member for binding in policy["bindings"] for member in binding["members"]}
    prevention = bucket.fields["iamConfiguration"]["publicAccessPrevention"]
    if prevention == "enforced" and policies.PUBLIC.intersection(members):
        message = "The member bindings allUsers and allAuthenticatedUsers are not allowed"
        raise CloudError(412, "conditionNotMet", f"{message} since public access prevention is enforced.")


def _resource(state: State, bucket: Bucket, version: int) -> Json:
    head = {"kind": "storage#policy", "resourceId": f"projects/_/buckets/{bucket.name}"}
    return {**head, **policies.shown(state.project.policies[bucket.resource], version)}
