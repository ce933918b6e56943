"""Uploads: media, multipart and resumable.

https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser

from tests.cloud.discovery import Call
from tests.cloud.errors import CloudError, invalid, not_found
from tests.cloud.messages import Headers, Response, json_response
from tests.cloud.schemas import Json
from tests.cloud.storage import checksums, preconditions
from tests.cloud.storage.objects import Draft, check_name, store
from tests.cloud.storage.resources import object_resource
from tests.cloud.storage.state import Session, State, Version

# Of a chunk that is not the last one, only whole pieces of this size are kept.
PIECE_BYTES = 256 * 1024
RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
CANCELLED = 499


def insert(state: State, call: Call) -> Response:
    """Answer storage.objects.insert in the way that `uploadType` names, or go on with a resumable upload."""
    state.bucket(call.path["bucket"])
    if "upload_id" in call.query:
        return _resume(state, call)
    if call.channel != "upload":
        message = "Upload requests must include an uploadType URL parameter and a URL path beginning with /upload/"
        raise CloudError(400, "wrongUrlForUpload", message)
    if call.request.verb != "POST" or call.query.get("uploadType") not in KINDS:
        raise invalid(f"Invalid upload request: {call.request.verb} with uploadType {call.query.get('uploadType')}")
    return KINDS[call.query["uploadType"]](state, call)


def _media(state: State, call: Call) -> Response:
    headers = call.request.headers
    metadata = _metadata(call, {}, headers.get("Content-Type"))
    return _stored(state, call, metadata, call.request.body, headers)


def _multipart(state: State, call: Call) -> Response:
    described, content, headers = _parts(call)
    resource = call.document.accept("Object", described, call.method.id)
    metadata = _metadata(call, resource, headers.get("Content-Type"))
    return _stored(state, call, metadata, content, call.request.headers)


def _start(state: State, call: Call) -> Response:
    headers = call.request.headers
    resource = call.document.accept("Object", call.request.body, call.method.id)
    metadata = _metadata(call, resource, headers.get("X-Upload-Content-Type"))
    check_name(metadata.get("name"))
    declared = headers.get("X-Upload-Content-Length")
    identity = uuid.uuid4().hex
    size = int(declared) if declared else None
    state.sessions[identity] = Session(identity, call.path["bucket"], metadata, dict(call.query), size)
    location = f"{call.request.root}{call.request.path}?uploadType=resumable&upload_id={identity}"
    return Response(200, {"Location": location, "X-GUploader-UploadID": identity})


KINDS: dict[str, Callable[[State, Call], Response]] = {"media": _media, "multipart": _multipart, "resumable": _start}


@dataclass(frozen=True)
class _Piece:
    """What one request of a resumable upload brings: bytes from `start`, of `total` where that is known."""

    content: bytes
    start: int | None
    total: int | None

    @property
    def asks(self) -> bool:
        """Whether it only asks how far the upload has come."""
        return self.start is None


def _resume(state: State, call: Call) -> Response:
    session = state.sessions.get(call.query["upload_id"])
    if session is None or session.bucket != call.path["bucket"]:
        raise not_found("No such upload session.")
    if call.request.verb == "DELETE":
        del state.sessions[session.id]
        return Response(CANCELLED)
    if session.finished is None:
        _take(state, session, call)
    if session.finished is None:
        return _incomplete(session)
    return json_response(object_resource(session.finished, call.request.root))


def _take(state: State, session: Session, call: Call) -> None:
    piece = _piece(call)
    if not piece.asks:
        _append(session, piece)
    if piece.total is not None and len(session.content) == piece.total:
        _finish(state, session, call.request.headers)


def _piece(call: Call) -> _Piece:
    content, header = call.request.body, call.request.headers.get("Content-Range")
    if header is None:
        return _Piece(content, 0, len(content))
    found = RANGE.fullmatch(header)
    if found is None:
        raise invalid(f"Failed to parse Content-Range header: {header}")
    first, last, total = found.groups()
    size = None if total == "*" else int(total)
    if first is None:
        return _Piece(b"", None, size)
    if int(last) - int(first) + 1 != len(content) or (size is not None and int(last) >= size):
        raise invalid(f"Content-Range {header} does not fit a body of {len(content)} bytes.")
    return _Piece(content, int(first), size)


def _append(session: Session, piece: _Piece) -> None:
    kept, start = len(session.content), piece.start or 0
    if start > kept:
        raise invalid(f"Invalid request. Bytes {kept} to {start - 1} were never received.")
    session.content += piece.content[kept - start :]  # what arrived before is not taken twice
    if piece.total != len(session.content):
        whole = max(kept, len(session.content) // PIECE_BYTES * PIECE_BYTES)
        del session.content[whole:]


def _finish(state: State, session: Session, headers: Headers) -> None:
    if session.declared_bytes not in (None, len(session.content)):
        raise invalid(f"Declared {session.declared_bytes} bytes, received {len(session.content)}.")
    session.finished = _store(state, session.bucket, session.query, session.metadata, bytes(session.content), headers)
    session.content.clear()


def _incomplete(session: Session) -> Response:
    known = {"Range": f"bytes=0-{len(session.content) - 1}"} if session.content else {}
    return Response(308, {"X-GUploader-UploadID": session.id, **known})


def _stored(state: State, call: Call, metadata: Json, content: bytes, headers: Headers) -> Response:
    version = _store(state, call.path["bucket"], call.query, metadata, content, headers)
    return json_response(object_resource(version, call.request.root))


def _store(
    state: State, bucket: str, query: Mapping[str, object], metadata: Json, content: bytes, headers: Headers
) -> Version:
    conditions = preconditions.of_query(query)
    declared = checksums.declared(metadata, headers)
    draft = Draft(metadata.get("name") or "", content, metadata, conditions, declared)
    return store(state, state.bucket(bucket), draft)


def _metadata(call: Call, resource: Json, content_type: str | None) -> Json:
    """Return the resource that an upload describes: parameters and headers fill what it leaves open."""
    named, name = resource.get("name"), call.query.get("name")
    if named and name and named != name:
        raise invalid(f"Value '{named}' in content does not agree with value '{name}'.")
    given = {"name": name, "contentEncoding": call.query.get("contentEncoding"), "contentType": content_type}
    return {**{key: value for key, value in given.items() if value}, **resource}


def _parts(call: Call) -> tuple[bytes, bytes, Message]:
    """Return the description, the content and the content's headers of a multipart/related body."""
    kind = Message()
    kind["Content-Type"] = call.request.headers.get("Content-Type", "")
    boundary = (kind.get_boundary() or "").strip("'")  # which gcloud quotes so
    if kind.get_content_type() != "multipart/related" or not boundary:
        raise invalid("A multipart upload needs Content-Type multipart/related with a boundary.")
    # Split by hand: an e-mail parser would translate line ends inside the content. gcloud ends lines with LF alone.
    body, mark = call.request.body, f"--{boundary}".encode()
    end = b"\r\n" if body.startswith(mark + b"\r\n") else b"\n"
    pieces = (end + body).split(end + mark)
    if len(pieces) != 4 or not pieces[3].startswith(b"--"):
        raise invalid("A multipart upload must have exactly two parts.")
    (_, described), (headers, content) = (_part(piece, end) for piece in pieces[1:3])
    return described, content, headers


def _part(piece: bytes, end: bytes) -> tuple[Message, bytes]:
    head, blank, content = piece.removeprefix(end).partition(end + end)
    if not blank:
        raise invalid("A part of the multipart upload has no end of its headers.")
    return BytesHeaderParser().parsebytes(head), content
