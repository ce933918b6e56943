"""The entries of a project: writing and listing them, and who hears of each."""

from __future__ import annotations

import base64
import binascii
import bisect
import itertools
import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from tests.cloud.errors import CloudError, exhausted, invalid, required, unimplemented
from tests.cloud.instants import SECOND, read_instant, write_instant
from tests.cloud.logging.entries import as_struct, check_size
from tests.cloud.logging.language import compile_filter
from tests.cloud.schemas import Json

LOG_NAME = re.compile(r"projects/[^/]+/logs/[A-Za-z0-9_.%-]{1,511}")
# A project, or a view of one of its buckets.
PARENT = re.compile(r"(projects/[^/]+)(/locations/[^/]+/buckets/([^/]+)/views/([^/]+))?")
WHOLE_VIEWS = {("_Default", "_AllLogs"), ("_Default", "_Default")}
INVALID_ARGUMENT = 3  # google.rpc.Code
DEFAULT_PAGE, LARGEST_PAGE = 50, 1000
# Of a project, until somebody asks Google for more: https://cloud.google.com/logging/quotas#api-limits
READS_PER_MINUTE, MINUTE_NS = 60, 60 * SECOND
ORDERS = {"": 1, "timestamp asc": 1, "timestamp desc": -1}
PAST_SECONDS, FUTURE_SECONDS = 24 * 3600, 10 * 60
Key = tuple[int, str]
Listener = Callable[[Json], None]


class Entries:
    """Every log entry, in the order of its time and then of its insertId."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        """Keep time by a clock of nanoseconds since 1970."""
        self._clock = clock
        self._entries: list[tuple[Key, Json]] = []
        self._counter = itertools.count(1)
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._reads: deque[int] = deque()
        self.dropped = 0

    def subscribe(self, listener: Listener) -> None:
        """Call a listener with each entry from now on, in the thread that adds it."""
        self._listeners.append(listener)

    def now(self) -> int:
        """Return the clock's time."""
        return self._clock()

    def new_id(self) -> str:
        """Return an insertId that sorts after every one before it."""
        return f"{next(self._counter):016x}"

    def add(self, entry: Json) -> bool:
        """Keep an entry that the platform made; one above the size limit is dropped and counted."""
        try:
            check_size(entry)
        except CloudError:
            self.dropped += 1
            return False
        self._keep(entry)
        return True

    def write_entries(self, body: Json) -> Json:
        """Answer entries:write.

        Raises CloudError: 400 for an entry that Google would not take; the others are written only where partialSuccess
        asks for that.
        """
        if not body.get("entries"):
            raise required("entries")
        entries = [self._complete(entry, body) for entry in body["entries"]]
        faults = {index: fault for index, entry in enumerate(entries) if (fault := _fault(entry))}
        if faults and (len(faults) == len(entries) or not body.get("partialSuccess")):
            raise next(iter(faults.values()))
        if not body.get("dryRun"):
            for entry in (entry for index, entry in enumerate(entries) if index not in faults):
                self._keep(entry)
        if faults:
            raise _partly_refused(faults)
        return {}

    def list_entries(self, body: Json) -> Json:
        """Answer entries:list.

        Raises CloudError: 400 for a filter, an order or a page that Google would not take, 429 for one read too many.
        """
        self._count_read()
        direction, size = _direction(body), _page_size(body)
        parents = _parents(body)
        takes = compile_filter(body.get("filter", ""))
        after = _read_token(body["pageToken"]) if body.get("pageToken") else None
        chosen = list(itertools.islice(self._following(after, direction, parents, takes), size + 1))
        answer: Json = {"entries": [entry for _, entry in chosen[:size]]} if chosen else {}
        if len(chosen) > size:
            answer["nextPageToken"] = _write_token(chosen[size - 1][0])
        return answer

    def find(self, text: str = "") -> list[Json]:
        """Return the entries that a filter takes, oldest first."""
        takes = compile_filter(text)
        with self._lock:
            return [entry for _, entry in self._entries if takes(entry)]

    def _count_read(self) -> None:
        now = self._clock()
        with self._lock:
            while self._reads and self._reads[0] <= now - MINUTE_NS:
                self._reads.popleft()
            if len(self._reads) >= READS_PER_MINUTE:
                raise exhausted("Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute'.")
            self._reads.append(now)

    def _keep(self, entry: Json) -> None:
        key = (read_instant(entry["timestamp"]), entry["insertId"])
        with self._lock:
            position = bisect.bisect_left(self._entries, key, key=_key)
            if position < len(self._entries) and self._entries[position][0] == key:
                return  # the same time and insertId: a duplicate
            self._entries.insert(position, (key, entry))
        for listener in self._listeners:
            listener(entry)

    def _complete(self, entry: Json, body: Json) -> Json:
        now = write_instant(self._clock())
        defaults = {name: body[name] for name in ("logName", "resource") if body.get(name)}
        labels = {**body.get("labels", {}), **entry.get("labels", {})}
        payload = {"jsonPayload": as_struct(entry["jsonPayload"])} if "jsonPayload" in entry else {}
        complete = {
            "timestamp": now,
            "insertId": self.new_id(),
            **defaults,
            **entry,
            **payload,
            "receiveTimestamp": now,
        }
        return {
            **complete,
            "timestamp": write_instant(read_instant(complete["timestamp"])),
            **_if_any("labels", labels),
        }

    def _following(
        self, after: Key | None, direction: int, parents: tuple[str, ...], takes: Callable[[Json], bool]
    ) -> Iterable[tuple[Key, Json]]:
        with self._lock:
            entries = self._entries[::direction]
        for key, entry in entries:
            is_new = after is None or (key > after if direction > 0 else key < after)
            if is_new and entry["logName"].startswith(parents) and takes(entry):
                yield key, entry


def taking_sinks(sinks: Iterable[Json], entry: Json) -> list[Json]:
    """Return the LogSinks that an entry goes to: enabled, filter met, no exclusion met."""
    return [sink for sink in sinks if not sink.get("disabled") and _takes(sink, entry)]


def is_countable(entry: Json) -> bool:
    """Tell whether log-based metrics count an entry: not when its time is too far from its arrival."""
    late = (read_instant(entry["receiveTimestamp"]) - read_instant(entry["timestamp"])) / SECOND
    return -FUTURE_SECONDS <= late <= PAST_SECONDS


def _takes(sink: Json, entry: Json) -> bool:
    exclusions = [one for one in sink.get("exclusions", ()) if not one.get("disabled")]
    excluded = any(compile_filter(one["filter"])(entry) for one in exclusions)
    return not excluded and compile_filter(sink.get("filter", ""))(entry)


def _check(entry: Json) -> None:
    if not entry.get("logName"):
        raise required("logName")
    if not LOG_NAME.fullmatch(entry["logName"]):
        raise invalid(f"Invalid log name: {entry['logName']}. It must be projects/PROJECT/logs/LOG_ID, URL-encoded.")
    if not entry.get("resource", {}).get("type"):
        raise required("resource.type")
    if sum(name in entry for name in ("textPayload", "jsonPayload", "protoPayload")) > 1:
        raise invalid("An entry has at most one payload.")
    check_size(entry)


def _fault(entry: Json) -> CloudError | None:
    try:
        _check(entry)
    except CloudError as fault:
        return fault
    return None


def _partly_refused(faults: dict[int, CloudError]) -> CloudError:
    """Return the refusal of some of several entries: one of their errors, with all of them as its detail."""
    kind = "type.googleapis.com/google.logging.v2.WriteLogEntriesPartialErrors"
    errors = {str(index): {"code": INVALID_ARGUMENT, "message": str(fault)} for index, fault in faults.items()}
    first = next(iter(faults.values()))
    return CloudError(400, first.reason, *first.messages, details=[{"@type": kind, "logEntryErrors": errors}])


def _if_any(name: str, value: Json) -> Json:
    return {name: value} if value else {}


def _direction(body: Json) -> int:
    if body.get("orderBy", "") not in ORDERS:
        raise invalid("Invalid orderBy: the only permitted values are 'timestamp asc' and 'timestamp desc'.")
    return ORDERS[body.get("orderBy", "")]


def _page_size(body: Json) -> int:
    size = body.get("pageSize") or DEFAULT_PAGE
    if size < 0:
        raise invalid("page_size must not be negative.")
    return min(size, LARGEST_PAGE)


def _parents(body: Json) -> tuple[str, ...]:
    """Return what the names of the logs that are asked for start with."""
    names = [*body.get("resourceNames", []), *(f"projects/{name}" for name in body.get("projectIds", []))]
    if not names:
        raise required("resource_names")
    return tuple(f"{_parent(name)}/logs/" for name in names)


def _parent(name: str) -> str:
    found = PARENT.fullmatch(name)
    if found is None:
        raise invalid(f"Invalid resource name: {name}")
    if found[2] and (found[3], found[4]) not in WHOLE_VIEWS:
        raise unimplemented(f"the log view {name}")
    return found[1]


def _key(kept: tuple[Key, Json]) -> Key:
    return kept[0]


def _write_token(key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _read_token(token: str) -> Key:
    try:
        instant, insert_id = json.loads(base64.urlsafe_b64decode(token.encode()))
        return int(instant), str(insert_id)
    except (binascii.Error, ValueError, TypeError):
        raise invalid("page_token is invalid.") from None
