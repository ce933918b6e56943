"""Objects made from objects: copy, rewrite and compose, each in one step since everything is in memory."""

from __future__ import annotations

from typing import Any

from tests.cloud.discovery import Call
from tests.cloud.errors import condition_not_met, invalid, unimplemented
from tests.cloud.schemas import Json
from tests.cloud.storage import checksums, preconditions
from tests.cloud.storage.objects import Draft, store
from tests.cloud.storage.resources import OBJECT_READ_ONLY, object_resource, writable
from tests.cloud.storage.state import Bucket, State, Version

MOST_SOURCES = 32


def copy(state: State, call: Call) -> Json:
    """Answer storage.objects.copy."""
    return object_resource(_copy(state, call), call.request.root)


def rewrite(state: State, call: Call) -> Json:
    """Answer storage.objects.rewrite, done at the first call."""
    version = _copy(state, call)
    size = str(len(version.content))
    return {
        "kind": "storage#rewriteResponse",
        "totalBytesRewritten": size,
        "objectSize": size,
        "done": True,
        "resource": object_resource(version, call.request.root),
    }


def compose(state: State, call: Call) -> Json:
    """Answer storage.objects.compose: the contents of up to 32 objects in one."""
    bucket = state.bucket(call.path["destinationBucket"])
    sources = call.body["sourceObjects"]
    if not 1 <= len(sources) <= MOST_SOURCES:
        raise invalid(f"The number of source components provided ({len(sources)}) is not from 1 to {MOST_SOURCES}.")
    if call.body.get("deleteSourceObjects"):
        raise unimplemented("composition that deletes its sources")
    found = [_source(bucket, source) for source in sources]
    fields = call.body.get("destination") or {}
    draft = Draft(
        name=call.path["destinationObject"],
        content=b"".join(version.content for version in found),
        fields=fields,
        conditions=preconditions.of(call),
        declared=checksums.declared(fields, {}),
        components=sum(version.components or 1 for version in found),
    )
    return object_resource(store(state, bucket, draft), call.request.root)


def _copy(state: State, call: Call) -> Version:
    path, query = call.path, call.query
    source = state.bucket(path["sourceBucket"]).find(path["sourceObject"], query.get("sourceGeneration"))
    preconditions.of_query(query, "ifSource").check_write(source)
    draft = Draft(
        name=path["destinationObject"],
        content=source.content,
        fields=_fields(source, call.body),
        conditions=preconditions.of(call),
        components=source.components,
    )
    return store(state, state.bucket(path["destinationBucket"]), draft)


def _fields(source: Version, asked: Json) -> Json:
    """Return the copy's metadata: the source's, unless the request describes its own."""
    described: dict[str, Any] = writable(asked, OBJECT_READ_ONLY)
    inherited = {name: value for name, value in source.fields.items() if name != "storageClass"}
    return described if set(described) - {"storageClass"} else {**inherited, **described}


def _source(bucket: Bucket, source: Json) -> Version:
    generation = source.get("generation")
    version = bucket.find(source["name"], int(generation) if generation else None)
    wanted = (source.get("objectPreconditions") or {}).get("ifGenerationMatch")
    if wanted is not None and int(wanted) != version.generation:
        raise condition_not_met()
    return version
