"""How buckets and objects look in answers, and which of their fields a client may write."""

from __future__ import annotations

from urllib.parse import quote

from tests.cloud import masks
from tests.cloud.project import project_number
from tests.cloud.schemas import Json
from tests.cloud.storage.state import Bucket, Version, instant

# Storage's document marks nothing readOnly, so what the service sets itself is listed here.
BUCKET_READ_ONLY = frozenset(
    {
        "etag",
        "generation",
        "hardDeleteTime",
        "id",
        "kind",
        "location",
        "locationType",
        "metageneration",
        "name",
        "owner",
        "projectNumber",
        "satisfiesPZI",
        "satisfiesPZS",
        "selfLink",
        "softDeleteTime",
        "timeCreated",
        "updated",
    }
)
OBJECT_READ_ONLY = frozenset(
    {
        "bucket",
        "componentCount",
        "crc32c",
        "customerEncryption",
        "etag",
        "generation",
        "hardDeleteTime",
        "id",
        "kind",
        "kmsKeyName",
        "md5Hash",
        "mediaLink",
        "metageneration",
        "name",
        "owner",
        "restoreToken",
        "retentionExpirationTime",
        "selfLink",
        "size",
        "softDeleteTime",
        "timeCreated",
        "timeDeleted",
        "timeFinalized",
        "timeStorageClassUpdated",
        "updated",
    }
)


def bucket_resource(bucket: Bucket, root: str) -> Json:
    """Return a bucket as the API answers it."""
    return {
        "kind": "storage#bucket",
        "id": bucket.name,
        "selfLink": f"{root}/storage/v1/b/{bucket.name}",
        "name": bucket.name,
        "projectNumber": project_number(bucket.project),
        "generation": str(bucket.generation),
        "metageneration": str(bucket.metageneration),
        "etag": bucket.etag,
        "timeCreated": instant(bucket.created),
        "updated": instant(bucket.updated),
        **bucket.fields,
    }


def object_resource(version: Version, root: str) -> Json:
    """Return one generation of an object as the API answers it."""
    path = f"storage/v1/b/{version.bucket}/o/{quote(version.name, safe='')}"
    resource = {
        "kind": "storage#object",
        "id": f"{version.bucket}/{version.name}/{version.generation}",
        "selfLink": f"{root}/{path}",
        "mediaLink": f"{root}/download/{path}?generation={version.generation}&alt=media",
        "name": version.name,
        "bucket": version.bucket,
        "generation": str(version.generation),
        "metageneration": str(version.metageneration),
        "size": str(len(version.content)),
        "crc32c": version.checksums.crc32c,
        "md5Hash": version.checksums.md5,
        "componentCount": version.components,
        "etag": version.etag,
        "timeCreated": instant(version.created),
        "updated": instant(version.updated),
        "timeFinalized": instant(version.created),
        "timeStorageClassUpdated": instant(version.created),
        "timeDeleted": instant(version.deleted) if version.deleted else None,
        **version.fields,
    }
    return {name: value for name, value in resource.items() if value is not None}


def writable(fields: Json, read_only: frozenset[str]) -> Json:
    """Return the fields that a client may set and did set; the others are ignored, as the service does."""
    return {name: value for name, value in fields.items() if name not in read_only and value is not None}


def patched(fields: Json, patch: Json, read_only: frozenset[str]) -> Json:
    """Return fields after a patch: null removes, objects are merged, everything else replaces."""
    changed: Json = masks.merged(fields, {name: value for name, value in patch.items() if name not in read_only})
    return changed
