"""Objects: create a generation, read its resource, patch, update and delete."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.cloud.discovery import Call
from tests.cloud.errors import invalid, required, unimplemented
from tests.cloud.schemas import Json
from tests.cloud.storage import checksums, preconditions
from tests.cloud.storage.checksums import Checksums, Declared
from tests.cloud.storage.preconditions import Preconditions
from tests.cloud.storage.resources import OBJECT_READ_ONLY, object_resource, patched, writable
from tests.cloud.storage.retention import check_removable
from tests.cloud.storage.state import Bucket, State, Version, now

LONGEST_NAME_BYTES = 1024


@dataclass(frozen=True)
class Draft:
    """A generation to be: everything but its number and its times."""

    name: str
    content: bytes
    fields: Json
    conditions: Preconditions = field(default_factory=Preconditions)
    declared: Declared = field(default_factory=Declared)
    components: int | None = None


def store(state: State, bucket: Bucket, draft: Draft) -> Version:
    """Make a draft the live generation, or refuse it and store nothing.

    Raises CloudError: 400 for a name or checksum, 403 for a held predecessor, 412 for a precondition.
    """
    check_name(draft.name)
    if "retention" in draft.fields:
        raise unimplemented("object retention")
    found = checksums.compute(draft.content)
    draft.declared.check(found)
    live = bucket.live(draft.name)
    draft.conditions.check_write(live)
    check_removable(bucket, live)
    version = _version(state, bucket, draft, found)
    bucket.put(version)
    return version


def check_name(name: str | None) -> None:
    """Refuse a name that no object can have.

    Raises CloudError: 400.
    """
    if not name:
        raise required("name")
    if name in (".", "..") or len(name.encode()) > LONGEST_NAME_BYTES or "\r" in name or "\n" in name:
        raise invalid(f"Invalid object name: {name!r}")


def get(state: State, call: Call) -> Json:
    """Answer storage.objects.get where the resource is asked for."""
    version = find(state, call)
    preconditions.of(call).check_read(version)
    return object_resource(version, call.request.root)


def patch(state: State, call: Call) -> Json:
    """Answer storage.objects.patch."""
    version = find(state, call)
    return _change(state, call, version, patched(version.fields, call.body, OBJECT_READ_ONLY | {"storageClass"}))


def update(state: State, call: Call) -> Json:
    """Answer storage.objects.update: what is not sent is gone, except the storage class."""
    version = find(state, call)
    kept = {"storageClass": version.fields["storageClass"]}
    return _change(state, call, version, {**writable(call.body, OBJECT_READ_ONLY), **kept})


def delete(state: State, call: Call) -> None:
    """Answer storage.objects.delete: the live generation is retired, one that is named is gone for good."""
    bucket = state.bucket(call.path["bucket"])
    version = find(state, call)
    preconditions.of(call).check_write(version)
    check_removable(bucket, version)
    if "generation" in call.query:
        bucket.drop(version)
    else:
        bucket.retire(version.name, now())


def find(state: State, call: Call) -> Version:
    """Return the version that a call's path and `generation` name.

    Raises CloudError: 404.
    """
    return state.bucket(call.path["bucket"]).find(call.path["object"], call.query.get("generation"))


def _change(state: State, call: Call, version: Version, fields: Json) -> Json:
    preconditions.of(call).check_write(version)
    if "retention" in fields:
        raise unimplemented("object retention")
    changed = replace(version, fields=fields, metageneration=version.metageneration + 1, updated=now())
    state.bucket(version.bucket).replace(version, changed)
    return object_resource(changed, call.request.root)


def _version(state: State, bucket: Bucket, draft: Draft, found: Checksums) -> Version:
    moment = now()
    return Version(
        bucket=bucket.name,
        name=draft.name,
        generation=state.next_generation(),
        content=draft.content,
        checksums=replace(found, md5=None) if draft.components else found,
        fields={"storageClass": bucket.fields["storageClass"], **writable(draft.fields, OBJECT_READ_ONLY)},
        created=moment,
        updated=moment,
        components=draft.components,
    )
