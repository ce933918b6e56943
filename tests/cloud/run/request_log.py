"""Cloud Run's own log of requests, run.googleapis.com/requests: what an entry holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tests.cloud.run.instances import Origin
from tests.cloud.run.tracing import Trace
from tests.cloud.schemas import Json


@dataclass(frozen=True)
class RequestEntry:
    """One request: where it went, what it was in the shape of LogEntry.httpRequest, and why it failed if it did."""

    timestamp: datetime
    origin: Origin
    http_request: Json
    trace: str
    span_id: str
    trace_sampled: bool
    text: str

    @property
    def severity(self) -> str:
        """The severity that Cloud Run gives to a status."""
        status = self.http_request["status"]
        return "INFO" if status < 400 else "WARNING" if status < 500 else "ERROR"


Requested = Callable[[RequestEntry], None]


def request_entry(
    timestamp: datetime, origin: Origin, http_request: Json, trace: Trace, latency_seconds: float, text: str
) -> RequestEntry:
    """Return the entry of a request that is done."""
    http_request = {**http_request, "latency": f"{latency_seconds:.9f}s"}
    name = f"projects/{origin.project}/traces/{trace.trace_id}"
    return RequestEntry(timestamp, origin, http_request, name, trace.span_id, trace.sampled, text)
