"""Log entries as Cloud Run and Cloud Logging make them: from a captured line, from a request, from the platform.

The rules for structured lines are those of https://cloud.google.com/logging/docs/structured-logging.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Literal

from tests.cloud.discovery import Document
from tests.cloud.errors import CloudError, invalid
from tests.cloud.instants import SECOND, read_instant, write_instant
from tests.cloud.logging.fields import SEVERITIES
from tests.cloud.parsing import parse
from tests.cloud.schemas import Json

LARGEST_BYTES = 256 * 1024
SPECIAL = "logging.googleapis.com/"
# Names that loggers of many languages give their levels; Google's agents read them so.
SEVERITY_ALIASES = {
    "TRACE": "DEBUG", "FINE": "DEBUG", "FINER": "DEBUG", "FINEST": "DEBUG", "CONFIG": "DEBUG", "D": "DEBUG",
    "INFORMATION": "INFO", "I": "INFO",
    "N": "NOTICE",
    "WARN": "WARNING", "W": "WARNING",
    "ERR": "ERROR", "SEVERE": "ERROR", "E": "ERROR",
    "CRIT": "CRITICAL", "FATAL": "CRITICAL", "C": "CRITICAL", "F": "CRITICAL",
    "A": "ALERT",
    "EMERG": "EMERGENCY",
}  # fmt: skip
# google.rpc.Code of a refusal's status.
RPC_CODES = {400: 3, 403: 7, 404: 5, 409: 6}
UNKNOWN = 2
# Beyond it a double no longer holds every integer.
EXACT = 2**53


@dataclass(frozen=True)
class Origin:
    """The instance of a Cloud Run revision that an entry is of; `instance_id` is empty where none took part."""

    project: str
    location: str
    service: str
    revision: str
    instance_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, compare=False)  # the revision's own


@dataclass(frozen=True)
class RequestFacts:
    """What Cloud Run's front knows of one request; `text` is what it says of one that it could not hand on."""

    timestamp: datetime
    origin: Origin
    http_request: Json  # LogEntry.httpRequest
    trace: str = ""  # its full resource name
    span_id: str = ""
    trace_sampled: bool = False
    text: str = ""

    @property
    def severity(self) -> str:
        """The severity that Cloud Run gives to a status."""
        status = self.http_request["status"]
        return "INFO" if status < 400 else "WARNING" if status < 500 else "ERROR"


def read_line(
    text: str, stream: Literal["stdout", "stderr"], origin: Origin, received_ns: int, insert_id: str
) -> Json | None:
    """Return the entry that a line printed by a container becomes, or None for a blank one."""
    text = text.rstrip("\r\n")
    if not text.strip():
        return None
    entry = _frame(origin, stream, received_ns, insert_id)
    payload = _structured(text)
    with contextlib.suppress(OSError, OverflowError, ValueError):  # a time or a severity beyond what there is
        return {**entry, "textPayload": text} if payload is None else _promote(entry, payload)
    return {**entry, "textPayload": text}


def request_entry(facts: RequestFacts, received_ns: int, insert_id: str) -> Json:
    """Return the entry of Cloud Run's request log for one request."""
    optional = {"trace": facts.trace, "spanId": facts.span_id, "textPayload": facts.text}
    return {
        **_frame(facts.origin, "requests", received_ns, insert_id),
        "timestamp": write_instant(round(facts.timestamp.timestamp() * 10**6) * 1000),
        "severity": facts.severity,
        "httpRequest": dict(facts.http_request),
        **{name: value for name, value in optional.items() if value},
        **({"traceSampled": True} if facts.trace_sampled else {}),
    }


def system_entry(text: str, severity: str, origin: Origin, received_ns: int, insert_id: str) -> Json:
    """Return the entry of something that the platform did to an instance, for example a failed probe."""
    entry = _frame(origin, "varlog/system", received_ns, insert_id)
    return {**entry, **_severity(severity), "textPayload": text}


def trigger_entry(project: str, trigger: Json, fault: CloudError, received_ns: int, insert_id: str) -> Json:
    """Return the audit log's entry of a build trigger that should have made a build and could not."""
    moment = write_instant(received_ns)
    labels = {"build_id": "", "build_trigger_id": trigger["id"], "project_id": project}
    return {
        "insertId": insert_id,
        "logName": f"projects/{project}/logs/cloudaudit.googleapis.com%2Factivity",
        "resource": {"type": "build", "labels": labels},
        "timestamp": moment,
        "receiveTimestamp": moment,
        "severity": "ERROR",
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "serviceName": "cloudbuild.googleapis.com",
            "methodName": "google.devtools.cloudbuild.v1.CloudBuild.RunBuildTrigger",
            "resourceName": trigger["resourceName"],
            "status": {"code": RPC_CODES.get(fault.status, UNKNOWN), "message": "; ".join(fault.messages)},
        },
    }


def resource_of(origin: Origin) -> Json:
    """Return the monitored resource that entries and time series of a revision are of."""
    labels = {
        "project_id": origin.project,
        "service_name": origin.service,
        "revision_name": origin.revision,
        "configuration_name": origin.service,
        "location": origin.location,
    }
    return {"type": "cloud_run_revision", "labels": labels}


def check_size(entry: Json) -> None:
    """Refuse an entry above the limit, as entries:write does.

    Google measures its own encoding, the double the JSON: near the limit the two differ.

    Raises CloudError: 400.
    """
    size = len(json.dumps(entry, ensure_ascii=False).encode())
    if size > LARGEST_BYTES:
        raise invalid(f"Log entry with size: {size / 1024:.1f}K exceeds maximum size of 256.0K")


def as_struct(value: Any) -> Any:
    """Return a JSON value as a protobuf Struct gives it back: every number is a double."""
    if isinstance(value, dict):
        return {key: as_struct(below) for key, below in value.items()}
    if isinstance(value, list):
        return [as_struct(below) for below in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    number = float(value)
    return int(number) if number.is_integer() and abs(number) < EXACT else number


def _frame(origin: Origin, log: str, received_ns: int, insert_id: str) -> Json:
    instance = {"instanceId": origin.instance_id} if origin.instance_id else {}
    labels = {**origin.labels, **instance}
    return {
        "insertId": insert_id,
        "logName": f"projects/{origin.project}/logs/run.googleapis.com%2F{log.replace('/', '%2F')}",
        "resource": resource_of(origin),
        "timestamp": write_instant(received_ns),
        "receiveTimestamp": write_instant(received_ns),
        **({"labels": labels} if labels else {}),
    }


def _structured(text: str) -> Json | None:
    """Return the object that a line is in JSON, if it is one and may be a payload."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = parse(text)
    except ValueError:
        return None
    # An entry with @type has columns of its own in BigQuery, which the double refuses; who prints hears no refusal.
    return as_struct(value) if isinstance(value, dict) and "@type" not in value else None


def _promote(entry: Json, payload: Json) -> Json:
    """Move the special fields of a payload into the entry; what has not the type that it must have stays."""
    for name, read in SPECIAL_FIELDS.items():
        if name in payload:
            promoted = read(payload[name])
            if promoted is not None:
                entry = _joined(entry, promoted)
                del payload[name]
    entry = {**entry, **_take_time(payload)}
    if payload.keys() == {"message"} and isinstance(payload["message"], str):
        return {**entry, "textPayload": payload["message"]}
    return {**entry, "jsonPayload": payload}


def _joined(entry: Json, promoted: Json) -> Json:
    if "labels" in promoted:  # beside the instance's own
        promoted = {"labels": {**entry.get("labels", {}), **promoted["labels"]}}
    return {**entry, **promoted}


def _take_time(payload: Json) -> Json:
    """Take the first of the three spellings of a time out of a payload."""
    for names, read in TIME_FIELDS:
        if all(name in payload for name in names):
            instant = read(*(payload[name] for name in names))
            if instant is not None:
                for name in names:
                    del payload[name]
                return {"timestamp": write_instant(instant)}
    return {}


def _time_of_object(value: Any) -> int | None:
    if not isinstance(value, dict):
        return None
    return _time_of_parts(value.get("seconds"), value.get("nanos", 0))


def _time_of_parts(seconds: Any, nanos: Any) -> int | None:
    try:
        return int(seconds) * SECOND + int(nanos)
    except (TypeError, ValueError):
        return None


def _time_of_text(value: Any) -> int | None:
    try:
        return read_instant(value)
    except (TypeError, ValueError):
        return None


TIME_FIELDS: tuple[tuple[tuple[str, ...], Callable[..., int | None]], ...] = (
    (("timestamp",), _time_of_object),
    (("timestampSeconds", "timestampNanos"), _time_of_parts),
    (("time",), _time_of_text),
)


def _severity(value: Any) -> Json:
    """Return the severity that a level means; one that nobody knows is DEFAULT, which JSON leaves out."""
    name = str(value).strip().upper()
    if name.isdigit():
        known = [level for level, number in SEVERITIES.items() if number <= int(name)]
        name = known[-1]
    name = SEVERITY_ALIASES.get(name, name)
    return {"severity": name} if name in SEVERITIES and name != "DEFAULT" else {}


def _text_field(name: str) -> Callable[[Any], Json | None]:
    return lambda value: {name: value} if isinstance(value, str) else None


def _message_field(name: str, schema: str) -> Callable[[Any], Json | None]:
    """Return the reader of a field that must fit a schema of the API."""

    def read(value: Any) -> Json | None:
        try:
            return {name: _document().schemas.accept(schema, value, "")}
        except CloudError:
            return None

    return read


def _labels(value: Any) -> Json | None:
    if not isinstance(value, dict) or not all(isinstance(label, str) for label in value.values()):
        return None
    return {"labels": value}


SPECIAL_FIELDS: dict[str, Callable[[Any], Json | None]] = {
    "severity": _severity,
    "httpRequest": _message_field("httpRequest", "HttpRequest"),
    f"{SPECIAL}insertId": _text_field("insertId"),
    f"{SPECIAL}labels": _labels,
    f"{SPECIAL}operation": _message_field("operation", "LogEntryOperation"),
    f"{SPECIAL}sourceLocation": _message_field("sourceLocation", "LogEntrySourceLocation"),
    f"{SPECIAL}spanId": _text_field("spanId"),
    f"{SPECIAL}trace": _text_field("trace"),
    f"{SPECIAL}trace_sampled": lambda value: {"traceSampled": value} if isinstance(value, bool) else None,
}


@cache
def _document() -> Document:
    return Document.load("logging", "v2")
