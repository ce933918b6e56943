"""Listings of a bucket's objects: prefixes, delimiters, older generations and pages."""

from __future__ import annotations

from tests.cloud import pages
from tests.cloud.discovery import Call
from tests.cloud.schemas import Json
from tests.cloud.storage.resources import object_resource
from tests.cloud.storage.state import Bucket, State, Version


def list_objects(state: State, call: Call) -> Json:
    """Answer storage.objects.list: what shares a name up to the delimiter is one prefix instead of items."""
    bucket = state.bucket(call.path["bucket"])
    entries: dict[pages.Key, Version | str] = {}
    for version in _wanted(bucket, call):
        shared = _shared_prefix(version.name, call)
        if shared is not None:
            entries[shared,] = shared
        if shared is None or (shared == version.name and call.query.get("includeTrailingDelimiter")):
            entries[version.name, version.generation] = version
    page = pages.cut(entries, call.query)
    items = [object_resource(value, call.request.root) for value in page.values if isinstance(value, Version)]
    prefixes = [value for value in page.values if isinstance(value, str)]
    return pages.answer("storage#objects", page, items=items, prefixes=prefixes)


def _wanted(bucket: Bucket, call: Call) -> list[Version]:
    return [
        version
        for version in bucket.versions()
        if (version.deleted is None or call.query.get("versions"))
        and version.name.startswith(call.query.get("prefix", ""))
        and _lies_between(version.name.encode(), call)
    ]


def _lies_between(name: bytes, call: Call) -> bool:
    start, end = call.query.get("startOffset", "").encode(), call.query.get("endOffset", "").encode()
    return name >= start and (not end or name < end)


def _shared_prefix(name: str, call: Call) -> str | None:
    prefix, delimiter = call.query.get("prefix", ""), call.query.get("delimiter")
    if not delimiter:
        return None
    head, found, _ = name[len(prefix) :].partition(delimiter)
    return prefix + head + found if found else None
