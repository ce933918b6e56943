"""Holds and retention policies: which versions may not be deleted or replaced yet."""

from __future__ import annotations

from datetime import timedelta

from tests.cloud.errors import CloudError
from tests.cloud.storage.state import Bucket, Version, instant, now


def check_removable(bucket: Bucket, version: Version | None) -> None:
    """Refuse to delete or replace a version that is held or retained.

    Raises CloudError: 403.
    """
    if version is None:
        return
    where = f"Object '{version.bucket}/{version.name}' is"
    for hold in ("temporaryHold", "eventBasedHold"):
        if version.fields.get(hold):
            raise CloudError(403, "forbidden", f"{where} under {hold} and cannot be deleted or overwritten.")
    seconds = int(bucket.fields.get("retentionPolicy", {}).get("retentionPeriod", 0))
    free = version.created + timedelta(seconds=seconds)
    if free > now():
        message = f"{where} subject to the bucket's retention policy and cannot be deleted until {instant(free)}."
        raise CloudError(403, "retentionPolicyNotMet", message)
