"""One structured line per request and per load, in the shape that Cloud Logging reads from stdout; it never blocks."""

import hashlib
import os
import random
import re
import select
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from function.call import Answered, Totals
from function.contract import CHECK_AGENT, FeedbackRecord, LoadRecord, Manifest, RecordHead, RequestRecord, Trace
from function.errors import InvalidInstances, NotRecorded, PilotlightError, RequestError
from function.settings import Settings

if TYPE_CHECKING:
    from function.feedback import Outcome

PENDING_BYTES = 1 << 20  # what a reader that lags may leave behind
TOGETHER = 50  # instances that are made one text at once, before it is known whether they fit
HEAD_BYTES = 2048  # room for everything in a record but instances and predictions
# At most this much goes into one write: a pipe that poll() calls writable takes it without blocking.
PIECE_BYTES = select.PIPE_BUF
CHECKS = CHECK_AGENT.encode()

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_CLOUD_TRACE = re.compile(r"([0-9a-fA-F]{32})(?:/(\d{1,20}))?(?:;o=([01]))?")


@dataclass(slots=True)
class Facts:
    """What is known of a request while it is being answered."""

    request_id: str
    started: float  # of time.perf_counter, in seconds
    headers: Sequence[tuple[bytes, bytes]] = ()  # as in an ASGI scope
    dialect: str = "native"
    trace: Trace = field(default_factory=dict)  # type: ignore[assignment]
    instances: int = 0
    invalid_instances: int = 0
    body_bytes: int = 0
    read_ms: float = 0.0
    validate_ms: float = 0.0
    predict_ms: float = 0.0
    total_ms: float = 0.0


class LineWriter:
    """Writes whole lines to a file descriptor without ever waiting for its reader.

    What a slow reader leaves behind is kept, up to a bound, and goes out before the next line; lines beyond the bound
    are dropped and counted.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending = bytearray()
        self._lock = threading.Lock()  # large requests record themselves from their thread
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def __call__(self, line: bytes) -> bool:
        """Take a line, or drop it and return False."""
        with self._lock:
            if self._pending:
                self._write_pending()
            if len(self._pending) + len(line) > PENDING_BYTES:
                return False
            self._pending += line
            self._write_pending()
            return True

    def flush(self) -> bool:
        """Write as much as goes without waiting; return whether nothing is left."""
        if self._pending:
            with self._lock:
                self._write_pending()
        return not self._pending

    def _write_pending(self) -> None:
        try:
            while self._pending and self._poll.poll(0):
                del self._pending[: os.write(self._descriptor, self._pending[:PIECE_BYTES])]
        except OSError:  # nobody reads any more
            self._pending.clear()


class Recorder:
    """Makes records of what happens and hands them to a writer; a record that cannot be written is only counted."""

    def __init__(self, write: Callable[[bytes], bool], settings: Settings) -> None:
        self._write = write
        self._service = settings.k_service
        self._revision = settings.k_revision
        self._limit_bytes = int(settings.record_kb * 1024)
        self._hash_key = settings.record_hash_key.encode()[:64]
        self._dropped = 0
        self.totals = Totals()

    def answered(self, facts: Facts, manifest: Manifest, answered: Answered) -> None:
        """Record an answered request, with as many of its instances as fit."""
        self._count(facts)
        plural = "" if answered.rows == 1 else "s"
        message = f"{manifest.model} {manifest.version} answered {answered.rows} instance{plural}"
        head = self._head(_kind(facts, "prediction"), "INFO", message, manifest)
        record = _request(head, facts, "answered", 200, marked=answered.marks.total)
        self._send(record, lambda: self._instances(facts.request_id, manifest, answered))

    def told(self, facts: Facts, manifest: Manifest, outcomes: "Sequence[Outcome]") -> None:
        """Record true outcomes, all or none; raises NotRecorded."""
        lines = [orjson.dumps(self._outcome(facts, manifest, outcome)) + b"\n" for outcome in outcomes]
        if not self._write(b"".join(lines)):
            text = "The outcomes could not be written down just now; send them again."
            raise NotRecorded(text, retry_after_seconds=1)

    def _outcome(self, facts: Facts, manifest: Manifest, outcome: "Outcome") -> FeedbackRecord:
        message = f"{manifest.model} {manifest.version} was told an outcome"
        record: FeedbackRecord = {
            **self._head("feedback", "INFO", message, manifest),
            **facts.trace,  # type: ignore[typeddict-item]
            "request_id": facts.request_id,
            "prediction_id": outcome.prediction_id,
            "outcome_json": orjson.dumps(outcome.value).decode(),
        }
        if outcome.observed_at is not None:
            record["observed_at"] = outcome.observed_at
        return record

    def refused(self, facts: Facts, manifest: Manifest | None, error: RequestError) -> None:
        """Record a request that was refused, without any of its values."""
        head = self._head(_kind(facts, "rejection"), "WARNING", f"refused: {error.code}", manifest)
        self._count(facts, failed=True)
        if isinstance(error, InvalidInstances):
            facts.invalid_instances = error.invalid
        self._send(_request(head, facts, error.code, error.status))

    def failed(self, facts: Facts, manifest: Manifest | None, error: PilotlightError, stack_trace: str) -> None:
        """Record a request that could not be answered through no fault of the caller."""
        self._count(facts, failed=True)
        head = self._head(_kind(facts, "failure"), "ERROR", f"failed: {error.code}", manifest)
        self._send(_request(head, facts, error.code, error.status), lambda: {"stack_trace": stack_trace})

    def loaded(self, manifest: Manifest, source: str, parts: Mapping[str, float]) -> None:
        """Record a load; `parts` in milliseconds."""
        head = self._head("load", "INFO", f"{manifest.model} {manifest.version} loaded from the {source}", manifest)
        self._send(_load(head, "loaded", source, parts))

    def load_failed(self, reason: str, source: str, parts: Mapping[str, float], stack_trace: str) -> None:
        """Record a load that failed, with the reason that callers see and the stack that they do not."""
        head = self._head("load_failure", "ERROR", reason, None)
        self._send(_load(head, "load_failed", source, parts), lambda: {"stack_trace": stack_trace})

    def _count(self, facts: Facts, *, failed: bool = False) -> None:
        """Add a request to the totals; large ones do so from their threads, where a count may get lost: no matter."""
        totals = self.totals
        if failed:
            totals.failed += 1
            totals.failed_ms += facts.total_ms
            return
        totals.answered += 1
        totals.instances += facts.instances
        totals.validate_ms += facts.validate_ms
        totals.predict_ms += facts.predict_ms
        totals.total_ms += facts.total_ms
        totals.last_answer = time.time()

    def _head(self, kind: str, severity: str, message: str, manifest: Manifest | None) -> RecordHead:
        """Return the start of a record; before a version is loaded, what the pin names is not known to be true."""
        return {
            "severity": severity,
            "time": datetime.now(UTC),
            "message": message,
            "kind": kind,
            "service": self._service,
            "revision": self._revision,
            "model": manifest.model if manifest else "",
            "version": manifest.version if manifest else 0,
            "engine": manifest.engine if manifest else "",
        }

    def _instances(self, request_id: str, manifest: Manifest, answered: Answered) -> dict[str, Any]:
        """Return the fields that hold instances and predictions: all of them, or a sample that fits."""
        lines = _Lines(manifest, answered, self._hash)
        room = self._limit_bytes - HEAD_BYTES
        logged = list(range(answered.rows))
        features, predictions = lines.arrays(logged[:TOGETHER])
        if answered.rows > TOGETHER or _escaped_size(features) + _escaped_size(predictions) > room:
            if len(lines.fitting(logged, room)) < answered.rows:
                logged = sorted(lines.fitting(sampling_order(request_id, answered.rows), room))
            features, predictions = lines.arrays(logged)
        return {
            "features_json": features.decode(),
            "predictions_json": predictions.decode(),
            "logged_json": orjson.dumps(logged).decode(),
            "instances_logged": len(logged),
            "cut": len(logged) < answered.rows,
        }

    def _hash(self, value: Any) -> str:
        content = orjson.dumps(value, default=str)
        return hashlib.blake2b(content, digest_size=16, key=self._hash_key).hexdigest()

    def _send(self, record: LoadRecord | RequestRecord, extras: Callable[[], Mapping[str, Any]] = dict) -> None:
        """Write a record; whatever goes wrong with it, the answer that it tells of is not affected."""
        try:
            line = {**record, **extras()}
            if self._dropped:
                line["records_dropped"] = self._dropped
            taken = self._write(orjson.dumps(line, default=str) + b"\n")
        except (TypeError, ValueError, OSError):
            taken = False
        self._dropped = 0 if taken else self._dropped + 1


def _kind(facts: Facts, otherwise: str) -> str:
    """Return the kind of a request's record: a check where its caller says so.

    Looked for here and not where headers are read: that may be what fails, and the way to the agent is short.
    """
    for name, value in facts.headers:
        if name == b"user-agent":
            return "check" if value.startswith(CHECKS) else otherwise
    return otherwise


def _request(head: RecordHead, facts: Facts, outcome: str, status: int, *, marked: int = 0) -> RequestRecord:
    return {
        **head,
        **facts.trace,  # type: ignore[typeddict-item]
        "request_id": facts.request_id,
        "dialect": facts.dialect,
        "outcome": outcome,
        "status": status,
        "instances": facts.instances,
        "invalid_instances": facts.invalid_instances,
        "marked": marked,
        "body_bytes": facts.body_bytes,
        "read_ms": facts.read_ms,
        "validate_ms": facts.validate_ms,
        "predict_ms": facts.predict_ms,
        "total_ms": facts.total_ms,
    }


def _load(head: RecordHead, outcome: str, source: str, parts: Mapping[str, float]) -> LoadRecord:
    return {
        **head,
        "outcome": outcome,
        "source": source,
        "import_ms": parts["import"],
        "fetch_ms": parts["fetch"],
        "verify_ms": parts["verify"],
        "load_ms": parts["load"],
        "replay_ms": parts["replay"],
        "total_ms": sum(parts.values()),
    }


class _Lines:
    """Instances and predictions as JSON texts, without what privacy keeps out."""

    def __init__(self, manifest: Manifest, answered: Answered, hashed: Callable[[Any], str]) -> None:
        omitted, keyed = manifest.privacy.omit, manifest.privacy.hash
        columns = answered.columns
        self._columns = {name: columns[name] for name in columns if name not in omitted} if omitted else columns
        self._keyed = [name for name in keyed if name in self._columns]
        self._hashed = hashed
        self._outputs = {}
        if "predict" in answered.outputs:
            self._outputs["prediction"] = answered.outputs["predict"]
        if answered.chances is not None:
            self._outputs["probabilities"] = answered.chances

    def arrays(self, indexes: list[int]) -> tuple[bytes, bytes]:
        """Return instances and predictions of some indexes as two JSON arrays."""
        return orjson.dumps([self._instance(index) for index in indexes]), orjson.dumps(
            [self._prediction(index) for index in indexes]
        )

    def fitting(self, indexes: Iterable[int], room: int) -> list[int]:
        """Return as many of these indexes, in this order, as fit into the room (bytes), instance and prediction."""
        logged = []
        for index in indexes:
            room -= _escaped_size(orjson.dumps(self._instance(index))) + len(str(index)) + len(",,,")
            room -= _escaped_size(orjson.dumps(self._prediction(index)))
            if room < 0:
                break
            logged.append(index)
        return logged

    def _instance(self, index: int) -> dict[str, Any]:
        instance: dict[str, Any] = {name: values[index] for name, values in self._columns.items()}
        for name in self._keyed:
            if instance[name] is not None:
                instance[name] = self._hashed(instance[name])
        return instance

    def _prediction(self, index: int) -> dict[str, Any]:
        return {name: rows[index] for name, rows in self._outputs.items()}


def _escaped_size(text: bytes) -> int:
    """Return how many bytes a JSON text takes inside of a JSON text."""
    return len(text) + text.count(b'"') + text.count(b"\\")


def sampling_order(request_id: str, count: int) -> list[int]:
    """Return all indexes in the order in which they are logged when not all fit: the same for the same request id."""
    return random.Random(request_id).sample(range(count), count)  # noqa: S311 - a sample, no secret


def trace_fields(headers: Mapping[bytes, bytes], project: str) -> Trace:
    """Return the trace fields of a request's headers: W3C traceparent first, else X-Cloud-Trace-Context."""
    traceparent, cloud_trace = headers.get(b"traceparent"), headers.get(b"x-cloud-trace-context")
    if traceparent and (match := _TRACEPARENT.fullmatch(traceparent.decode("latin-1"))):
        return _trace(match[1], match[2], int(match[3], 16) & 1 == 1, project)
    if cloud_trace and (match := _CLOUD_TRACE.fullmatch(cloud_trace.decode("latin-1"))):
        return _trace(match[1].lower(), f"{int(match[2] or 0):016x}"[-16:], match[3] == "1", project)
    return {}


def _trace(trace: str, span: str, sampled: bool, project: str) -> Trace:
    fields: Trace = {"logging.googleapis.com/trace_sampled": sampled}
    fields["logging.googleapis.com/trace"] = f"projects/{project}/traces/{trace}" if project else trace
    if span.strip("0"):
        fields["logging.googleapis.com/spanId"] = span
    return fields
