"""Trace headers as Cloud Run hands them on: the caller's trace where there is one, a span of its own in any case."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from tests.cloud.messages import Headers

TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})")
CLOUD_TRACE = re.compile(r"([0-9a-fA-F]{32})(?:/\d{1,20})?(?:;o=(\d))?")


@dataclass(frozen=True)
class Trace:
    """The trace that a request belongs to and the span that Cloud Run itself adds to it."""

    trace_id: str
    span_id: str
    sampled: bool

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The two headers that the container gets."""
        option = int(self.sampled)
        return [
            ("traceparent", f"00-{self.trace_id}-{self.span_id}-{option:02x}"),
            ("X-Cloud-Trace-Context", f"{self.trace_id}/{int(self.span_id, 16)};o={option}"),
        ]


def trace_of(headers: Headers) -> Trace:
    """Return the trace of a request's headers, W3C's first, or a new one that nobody samples."""
    span = secrets.token_hex(8)
    if found := TRACEPARENT.fullmatch(headers.get("traceparent") or ""):
        return Trace(found[1], span, bool(int(found[2], 16) & 1))
    if found := CLOUD_TRACE.fullmatch(headers.get("X-Cloud-Trace-Context") or ""):
        return Trace(found[1].lower(), span, found[2] == "1")
    return Trace(secrets.token_hex(16), span, False)
