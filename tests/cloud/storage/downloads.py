"""Downloads: an object's content, whole or one range of it."""

from __future__ import annotations

import re
from email.utils import format_datetime

from tests.cloud.discovery import Call
from tests.cloud.errors import CloudError, unimplemented
from tests.cloud.messages import Response
from tests.cloud.storage import preconditions
from tests.cloud.storage.objects import find
from tests.cloud.storage.state import State, Version

RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def get(state: State, call: Call) -> Response:
    """Answer storage.objects.get where the media is asked for."""
    version = find(state, call)
    preconditions.of(call).check_read(version)
    _check_encoding(version, call)
    headers = _headers(version)
    span = _span(call.request.headers.get("Range", ""), len(version.content))
    if span is None:
        return Response(200, headers, version.content)
    first, last = span
    content_range = {"Content-Range": f"bytes {first}-{last}/{len(version.content)}"}
    return Response(206, {**headers, **content_range}, version.content[first : last + 1])


def _span(header: str, size: int) -> tuple[int, int] | None:
    """Return the first and last byte that a Range header means; None for all, also where it makes no sense."""
    found = RANGE.fullmatch(header.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start > end:
        headers = {"Content-Range": f"bytes */{size}"}
        message = "Request range not satisfiable"
        raise CloudError(416, "requestedRangeNotSatisfiable", message, headers=headers)
    return start, end


def _check_encoding(version: Version, call: Call) -> None:
    stored = version.fields.get("contentEncoding")
    if stored == "gzip" and "gzip" not in call.request.headers.get("Accept-Encoding", ""):
        raise unimplemented("decompressive transcoding")


def _headers(version: Version) -> dict[str, str]:
    fields = version.fields
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": fields.get("cacheControl"),
        "Content-Disposition": fields.get("contentDisposition"),
        "Content-Encoding": fields.get("contentEncoding"),
        "Content-Language": fields.get("contentLanguage"),
        "Content-Type": fields.get("contentType", "application/octet-stream"),
        "ETag": version.etag,
        "Last-Modified": format_datetime(version.updated, usegmt=True),
        "X-Goog-Generation": str(version.generation),
        "X-Goog-Hash": version.checksums.header,
        "X-Goog-Metageneration": str(version.metageneration),
        "X-Goog-Storage-Class": fields["storageClass"],
        "X-Goog-Stored-Content-Encoding": fields.get("contentEncoding", "identity"),
        "X-Goog-Stored-Content-Length": str(len(version.content)),
    }
    return {name: value for name, value in headers.items() if value is not None}
