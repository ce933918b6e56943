"""Buckets: insert, get, list, patch, update and delete, with the defaults that the service fills in."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from tests.cloud import access, pages
from tests.cloud.discovery import Call
from tests.cloud.errors import conflict, denied, invalid
from tests.cloud.schemas import Json
from tests.cloud.storage import policies, preconditions
from tests.cloud.storage.resources import BUCKET_READ_ONLY, bucket_resource, patched, writable
from tests.cloud.storage.state import Bucket, State, instant, now

NAME = re.compile(r"(?=.{3,222}$)[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?)*")
# https://cloud.google.com/storage/docs/buckets#naming
RESERVED, ADDRESS = re.compile(r"g[o0]{2}gle"), re.compile(r"\d{1,3}(\.\d{1,3}){3}")
MULTI_REGIONS = {"ASIA", "EU", "US"}
DUAL_REGIONS = {"ASIA1", "EUR4", "EUR5", "EUR7", "EUR8", "NAM4"}
STORAGE_CLASSES = {"STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE", "MULTI_REGIONAL", "REGIONAL"}
STORAGE_CLASSES |= {"DURABLE_REDUCED_AVAILABILITY"}
WEEK_SECONDS = "604800"
# https://cloud.google.com/storage/docs/soft-delete
DAY_SECONDS, SOFT_DELETE_DAYS = 86400, (7, 90)
# Uniform access can be switched off again for this long.
UNIFORM_ACCESS_REVERSIBLE = timedelta(days=90)


def insert(state: State, call: Call) -> Json:
    """Answer storage.buckets.insert."""
    bucket = create(state, call.query["project"], call.body)
    if call.query.get("enableObjectRetention"):
        bucket.fields["objectRetention"] = {"mode": "Enabled"}
    return bucket_resource(bucket, call.request.root)


def create(state: State, project: str, body: Json) -> Bucket:
    """Make a bucket from a resource as a client sends it.

    Raises CloudError: 400 for a name that no bucket can have, 409 for one that a bucket has, 403 for a key that Cloud
    Storage may not use.
    """
    name = body["name"]
    if not NAME.fullmatch(name) or name.startswith("goog") or RESERVED.search(name) or ADDRESS.fullmatch(name):
        raise invalid(f"Invalid bucket name: '{name}'")
    if name in state.taken:
        raise conflict(
            "The requested bucket name is not available. The bucket namespace is shared by all users of the system. "
            "Please select a different name and try again."
        )
    if name in state.buckets:
        raise conflict("Your previous request to create the named bucket succeeded and you already own it.")
    moment = now()
    fields = _completed(_located(body), {}, moment)
    _check_key(state, fields)
    uniform = fields["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"]
    bucket = Bucket(name, project, state.next_generation(), fields, moment, moment)
    state.buckets[name] = bucket
    state.project.policies[bucket.resource] = policies.initial(project, uniform)
    return bucket


def get(state: State, call: Call) -> Json:
    """Answer storage.buckets.get."""
    bucket = state.bucket(call.path["bucket"])
    preconditions.of(call).check_read(bucket)
    return bucket_resource(bucket, call.request.root)


def list_buckets(state: State, call: Call) -> Json:
    """Answer storage.buckets.list: the buckets of one project, by name."""
    prefix = call.query.get("prefix", "")
    names = (name for name in state.buckets if name.startswith(prefix))
    named: dict[pages.Key, Bucket] = {
        (name,): state.buckets[name] for name in names if state.buckets[name].project == call.query["project"]
    }
    page = pages.cut(named, call.query)
    items = [bucket_resource(bucket, call.request.root) for bucket in page.values]
    return pages.answer("storage#buckets", page, items=items)


def patch(state: State, call: Call) -> Json:
    """Answer storage.buckets.patch."""
    return _change(state, call, lambda bucket: patched(bucket.fields, call.body, BUCKET_READ_ONLY))


def update(state: State, call: Call) -> Json:
    """Answer storage.buckets.update: what is not sent falls back to its default."""
    return _change(state, call, lambda bucket: writable(call.body, BUCKET_READ_ONLY))


def delete(state: State, call: Call) -> None:
    """Answer storage.buckets.delete: older generations count as content too."""
    bucket = state.bucket(call.path["bucket"])
    preconditions.of(call).check_write(bucket)
    if any(bucket.versions()):
        raise conflict("The bucket you tried to delete is not empty.")
    del state.buckets[bucket.name]
    del state.project.policies[bucket.resource]


def _change(state: State, call: Call, changed: Any) -> Json:
    bucket = state.bucket(call.path["bucket"])
    preconditions.of(call).check_write(bucket)
    moment = now()
    fixed = {name: bucket.fields[name] for name in ("location", "locationType")}
    fields = _completed({**changed(bucket), **fixed}, bucket.fields, moment)
    _check_key(state, fields)
    bucket.fields = fields
    bucket.metageneration += 1
    bucket.updated = moment
    return bucket_resource(bucket, call.request.root)


def _check_key(state: State, fields: Json) -> None:
    """Refuse a default key that the project's own Cloud Storage agent may not use."""
    key = fields.get("encryption", {}).get("defaultKmsKeyName")
    agent = state.project.agent("gs-project-accounts")
    use = "cloudkms.cryptoKeyVersions.useToEncrypt"
    if key and not access.holds(state.project, agent, use, f"//cloudkms.googleapis.com/{key}"):
        raise denied(
            "Permission denied on Cloud KMS key. Please ensure that your Cloud Storage service account has been "
            f"authorized to use this key: {key}, {agent}"
        )


def _located(body: Json) -> Json:
    location = (body.get("location") or "US").upper()
    fields = writable(body, BUCKET_READ_ONLY)
    return {**fields, "location": location, "locationType": _location_type(location, fields)}


def _location_type(location: str, fields: Json) -> str:
    if location in DUAL_REGIONS or fields.get("customPlacementConfig"):
        return "dual-region"
    return "multi-region" if location in MULTI_REGIONS else "region"


def _completed(fields: Json, before: Json, moment: datetime) -> Json:
    """Return a bucket's fields with what the service adds; times stay where nothing changed."""
    storage_class = fields.get("storageClass", "STANDARD").upper()
    if storage_class not in STORAGE_CLASSES:
        raise invalid(f"Invalid storage class: {storage_class}")
    completed = {**fields, "storageClass": storage_class}
    if completed["locationType"] != "region":
        completed.setdefault("rpo", "DEFAULT")
    completed["iamConfiguration"] = _access(fields, before, moment)
    retention = {"retentionDurationSeconds": WEEK_SECONDS, **fields.get("softDeletePolicy", {})}
    if not _is_kept_long_enough(int(retention["retentionDurationSeconds"] or 0)):
        raise invalid("Soft delete policy retention duration must be 0, or from 7 to 90 days.")
    completed["softDeletePolicy"] = _dated(retention, before.get("softDeletePolicy"), moment)
    if "retentionPolicy" in fields:
        completed["retentionPolicy"] = _dated(fields["retentionPolicy"], before.get("retentionPolicy"), moment)
    return completed


def _is_kept_long_enough(seconds: int) -> bool:
    return seconds == 0 or SOFT_DELETE_DAYS[0] <= seconds / DAY_SECONDS <= SOFT_DELETE_DAYS[1]


def _access(fields: Json, before: Json, moment: datetime) -> Json:
    asked = fields.get("iamConfiguration", {})
    uniform = asked.get("uniformBucketLevelAccess") or asked.get("bucketPolicyOnly") or {}
    known = before.get("iamConfiguration", {}).get("uniformBucketLevelAccess", {})
    access: Json = {"enabled": bool(uniform.get("enabled"))}
    if access["enabled"]:
        access["lockedTime"] = known.get("lockedTime") or instant(moment + UNIFORM_ACCESS_REVERSIBLE)
    return {
        "bucketPolicyOnly": access,
        "uniformBucketLevelAccess": dict(access),
        "publicAccessPrevention": asked.get("publicAccessPrevention", "inherited"),
    }


def _dated(policy: Json, before: Json | None, moment: datetime) -> Json:
    """Return a policy with the time since which it is in force."""
    rule = {name: value for name, value in policy.items() if name != "effectiveTime"}
    known = before or {}
    same = rule == {name: value for name, value in known.items() if name != "effectiveTime"}
    return {**rule, "effectiveTime": known["effectiveTime"] if same and known else instant(moment)}
