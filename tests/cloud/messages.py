"""HTTP requests and responses as values; nothing here touches a socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.message import Message
from email.utils import formatdate
from functools import cached_property
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.cloud.errors import CloudError

# http.server gives a Message, whose get() ignores case; tests may give a dict.
Headers = Mapping[str, str] | Message
JSON_TYPE = "application/json; charset=UTF-8"
BODILESS = {204, 304}
# A path that starts so is asked by the service account that follows; others by the project's owner.
AS = "/_as/"


@dataclass(frozen=True)
class Request:
    """One request as it came in, its target still percent-encoded."""

    verb: str
    target: str
    headers: Headers
    body: bytes = b""
    principal: str | None = None
    client: str = ""  # the address that it came from

    @cached_property
    def path(self) -> str:
        """The path, still percent-encoded: a slash inside a name is %2F."""
        return urlsplit(self.target).path

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """The query parameters in their order, decoded."""
        return parse_qsl(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def root(self) -> str:
        """The address under which the client reached the double, so that links in answers lead back to it."""
        prefix = f"{AS}{self.principal}" if self.principal else ""
        return f"http://{self.headers.get('Host', '127.0.0.1')}{prefix}"

    def identified(self) -> Request:
        """Return the request with the principal that its path starts with, if any: /_as/EMAIL/run/v2/..."""
        if not self.target.startswith(AS):
            return self
        principal, _, rest = self.target.removeprefix(AS).partition("/")
        return replace(self, target=f"/{rest}", principal=unquote(principal))


@dataclass(frozen=True)
class Response:
    """One answer; Content-Length and Date are added when it is sent."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def head(self) -> bytes:
        """The status line and headers, as they go over the wire."""
        fields = {"Date": formatdate(usegmt=True), **self.headers}
        if self.status not in BODILESS:
            fields["Content-Length"] = str(len(self.body))
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}", *(f"{name}: {fields[name]}" for name in fields)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a value as a JSON answer."""
    return Response(status, {"Content-Type": JSON_TYPE, **(headers or {})}, json.dumps(value).encode())


def error_response(error: CloudError, older: bool = True) -> Response:
    """Return a refusal as the JSON answer that Google gives, in the form of its older or of its newer APIs."""
    if error.status in BODILESS:
        return Response(error.status, error.headers)
    return json_response(error.body() if older else error.rpc_body(), error.status, error.headers)


def text_response(error: CloudError) -> Response:
    """Return a refusal as the plain text that Google gives where media was asked for."""
    if error.status in BODILESS:
        return Response(error.status, error.headers)
    headers = {"Content-Type": "text/html; charset=UTF-8", **error.headers}
    return Response(error.status, headers, "\n".join(error.messages).encode())


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
