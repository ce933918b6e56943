"""What two revisions did since the last look: from Cloud Run's logs, prediction records and metrics to a Look.

Cloud Logging gives an entry two times. `timestamp` is when a request arrived, and its entry is written when it ends:
a request that took a minute is found a minute behind. `receiveTimestamp` is when Cloud Logging got the entry. So a look
reads what was received since the last one, and once more what was received shortly before, because entries can be
found only some seconds after they were received and not in that order; what is known by its insertId is not counted
again. Both times are Google's: this machine's clock does not matter.

A sample is one of chance: `sample(insertId, fraction)`, the same fraction over the same time for both revisions. If one
of them were sampled over other minutes, whatever changes in the course of a day would look like a difference between
the two. And an answer's instance is chosen before it is known what was answered.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from google.cloud import logging
from pydantic import BaseModel, ConfigDict

from function.contract import CHECK_AGENT
from lifecycle.rollout.evidence import Answer, Counts, Look, Seen, Unread
from lifecycle.rollout.reads import PAGE, Codes, NotRead, Reads, one_of, quoted

# How long an entry that was received may not be found yet. Google promises nothing; its own entries.tail waits at most
# that long for late ones (bufferWindow).
OVERLAP = timedelta(seconds=60)
SOURCE_WINDOW, SOURCE_SAMPLE = timedelta(hours=1), 500  # what tells whether the request log is complete
MOST_REQUESTS = 4000  # entries of the request log in a look, the overlap's included
MOST_ANSWERS = 1000  # prediction records, likewise
MOST_ENTRIES = 7000  # of all kinds: seven reads
MOST_OF_ONE = 5  # instances of one request that are replayed, so that no large one speaks for all
# A point of request_count is taken every 60 seconds, and can be read up to 180 seconds later:
# https://cloud.google.com/monitoring/api/metrics_gcp_p_z#gcp-run
METRICS_DELAY = timedelta(seconds=240)
MINUTE = timedelta(minutes=1)
# infra/endpoint/metrics.tf counts the same as `exits`.
EXITS = (
    r"Container called exit.[1-9]|terminated on signal (4|6|7|8|9|11)[^0-9]|[Mm]emory limit of .* exceeded"
    r"|LIVENESS .*probe failed"
)
REQUESTS, SYSTEM, STDOUT = "requests", "varlog%2Fsystem", "stdout"
# Cloud Run and Identity-Aware Proxy refuse so whoever may not call; the function has no such answers.
NEVER_ARRIVED = {401, 403}
TOO_MANY, WENT_AWAY = 429, 499
WITHOUT_INSTANCE = 529  # stands for a 429 of Cloud Run's own: an error, where ours is a refusal


class Watched(NamedTuple):
    """A service, its two revisions by their short names, and what else decides what counts."""

    project: str
    region: str
    service: str
    candidate: str
    stable: str  # empty where there is none yet
    tags: Mapping[str, str]  # the address of each traffic tag: what is asked there is no traffic
    private: frozenset[str] = frozenset()  # features that either version's records leave out or hash


class Position(BaseModel):
    """How far was looked; as JSON it lets another process go on where this one ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: datetime  # requests that arrived before are not counted
    until: datetime  # of the last look, by the clock of who looks
    received: datetime  # of the latest entry that was read
    seen: dict[str, datetime] = {}  # the entries that were received less than the overlap before it
    rate: float = 0.0  # requests a second, as far as known
    log_is_kept: bool | None = None  # whether the project stores request logs; None until something was asked
    counted_until: datetime  # whole minutes, where metrics are counted


class Recorded(NamedTuple):
    """One instance that somebody asked about, as its record has it."""

    features: Mapping[str, Any]
    version: int


class Before(NamedTuple):
    """What the stable revision answered before the release, and what callers of the service asked about."""

    answers: tuple[Answer, ...]
    instances: tuple[Recorded, ...]


class Watch:
    """Looks at two revisions again and again; nothing is lost or counted twice between looks.

    It serves one step: its looks are weighed as being of one split of the traffic.
    """

    def __init__(self, reads: Reads, watched: Watched, position: Position) -> None:
        self._reads = reads
        self._watched = watched
        self.position = position

    def look(self, now: datetime | None = None) -> Look | Unread:
        """Return what happened since the last look, or why that cannot be told; the next one then covers it too.

        Raises CloudFailed where it is no use to look again.
        """
        now = now or datetime.now(UTC)
        try:
            self._find_source(now)
            look, self.position = self._look(now)
        except NotRead as error:
            return Unread(str(error), self.pause(now))
        return look

    def pause(self, now: datetime | None = None) -> float:
        """Return in how many seconds the share of the quota allows another look."""
        plan = _plan(self.position, now or datetime.now(UTC))
        return self._reads.budget.pause(1 + int(plan.entries / PAGE))

    def _find_source(self, now: datetime) -> None:
        """Learn from an hour that metrics know whether the log holds every request, and how many there may be.

        A project can keep request logs, or all but those of errors, out of its storage. Where nobody asked in that
        hour, the log is believed, and asked about again at the next look.
        """
        position, watched = self.position, self._watched
        if position.log_is_kept is not None:
            return
        end = _whole_minute(now - METRICS_DELAY)
        start = end - SOURCE_WINDOW
        counted = _sum(self._reads.request_counts(watched.region, watched.service, start, end))
        if not counted:
            return
        fraction = min(1.0, SOURCE_SAMPLE / counted)
        wanted = [
            _of(watched, REQUESTS),
            "NOT httpRequest.status=(401 OR 403)",  # metrics do not have them
            f"timestamp>={_moment(start)}",
            f"timestamp<{_moment(end)}",
            _sample(fraction),
        ]
        found = len(self._reads.entries(_all(wanted), 2 * SOURCE_SAMPLE))
        known = {
            "log_is_kept": found >= counted * fraction / 2,
            "rate": max(position.rate, counted / SOURCE_WINDOW.total_seconds()),
            "counted_until": _whole_minute(position.until + MINUTE),  # what the log gave so far is not counted again
        }
        self.position = position.model_copy(update=known)

    def _look(self, now: datetime) -> tuple[Look, Position]:
        position, watched = self.position, self._watched
        plan = _plan(position, now)
        entries = self._reads.entries(_wanted(watched, position, plan), MOST_ENTRIES)
        if len(entries) >= MOST_ENTRIES:
            self.position = position.model_copy(update={"rate": 4 * max(position.rate, MOST_ENTRIES / plan.seconds)})
            raise NotRead(f"more than {MOST_ENTRIES} entries came since the last look; the next one takes a sample")
        new = [entry for entry in entries if _key(entry) not in position.seen]
        # What was asked at a tag is no traffic; its records do not say where it was asked, but share its trace.
        aside = {entry.trace for entry in entries if _log(entry) == REQUESTS and _is_aside(entry, watched.tags)}
        counting = [entry for entry in new if _log(entry) != STDOUT or entry.trace not in aside]
        candidate, stable = (_seen(name, counting, watched) for name in (watched.candidate, watched.stable))
        look = Look(position.until, now, candidate, stable, "request log", plan.requests)
        moved = _moved(position, now, entries)
        if position.log_is_kept is False:
            return self._with_metrics(look, moved)
        asked = sum(_log(entry) == REQUESTS for entry in new) / plan.requests
        return look, _with_rate(moved, asked, now - position.until)

    def _with_metrics(self, look: Look, moved: Position) -> tuple[Look, Position]:
        """Return a look with the requests of the whole minutes that metrics know by now, which may be none yet."""
        watched, start, end = self._watched, moved.counted_until, _whole_minute(look.until - METRICS_DELAY)
        if end <= start:
            return look._replace(source="metrics", fraction=1.0), moved
        codes = self._reads.request_counts(watched.region, watched.service, start, end)
        candidate = _with_codes(watched.candidate, look.candidate, codes)
        stable = _with_codes(watched.stable, look.stable, codes)
        moved = _with_rate(moved.model_copy(update={"counted_until": end}), _sum(codes), end - start)
        return Look(look.since, look.until, candidate, stable, "metrics"), moved


def before(reads: Reads, watched: Watched, until: datetime, hours: float = 24) -> Before | Unread:
    """Return what was answered and asked in the hours before a release: a sample over all of them, the newest first.

    Raises CloudFailed where it is no use to ask again.
    """
    start = until - timedelta(hours=hours)
    try:
        counts = reads.request_counts(watched.region, watched.service, _whole_minute(start), _whole_minute(until))
        fraction = min(1.0, MOST_ANSWERS / max(_sum(counts), 1))
        wanted = [_of(watched, STDOUT), 'jsonPayload.kind="prediction"', _sample(fraction)]
        wanted += [f"timestamp>={_moment(start)}", f"timestamp<{_moment(until)}"]
        entries = reads.entries(_all(wanted), 2 * MOST_ANSWERS, order=logging.DESCENDING)
    except NotRead as error:
        return Unread(str(error), reads.budget.pause(2))
    stable = [entry for entry in entries if _revision(entry) == watched.stable]
    return Before(tuple(_answers(stable, watched.private)), tuple(_instances(entries)))


class _Plan(NamedTuple):
    """How much of what is expected is read."""

    seconds: float  # that the look covers, the overlap included
    entries: float  # that are expected
    requests: float  # fraction
    answers: float  # fraction


def _plan(position: Position, now: datetime) -> _Plan:
    seconds = max((now - position.until).total_seconds(), 0.0) + OVERLAP.total_seconds()
    expected = position.rate * seconds
    requests, answers = (min(1.0, most / max(expected, 1.0)) for most in (MOST_REQUESTS, MOST_ANSWERS))
    return _Plan(seconds, expected * (requests + answers), requests, answers)


def starting(since: datetime, known: Position | None = None) -> Position:
    """Return where a watch begins when the traffic is split anew, by Google's clock, `known` being the step before's.

    What arrived before and was not counted yet never will be: seconds of the request log, minutes of metrics.
    """
    first = Position(since=since, until=since, received=since, counted_until=_whole_minute(since + MINUTE))
    return first.model_copy(update={"rate": known.rate, "log_is_kept": known.log_is_kept}) if known else first


def _moved(position: Position, now: datetime, entries: Sequence[logging.LogEntry]) -> Position:
    """Return the position after entries were read, with those that the next look will meet again."""
    received = {_key(entry): entry.received_timestamp for entry in entries}
    latest = max([position.received, *received.values()])
    met = {key: at for key, at in (position.seen | received).items() if at >= latest - OVERLAP}
    return position.model_copy(update={"until": now, "received": latest, "seen": met})


def _with_rate(position: Position, asked: float, time: timedelta) -> Position:
    """Return a position that expects as many requests as there were, or half of what it expected."""
    return position.model_copy(update={"rate": max(asked / max(time.total_seconds(), 1.0), position.rate / 2)})


# Filters: https://cloud.google.com/logging/docs/view/logging-query-language


def _wanted(watched: Watched, position: Position, plan: _Plan) -> str:
    """Return the filter of one look: requests, answers, and what ended instances."""
    kinds = [
        f"({_of_log(watched, SYSTEM)} AND textPayload=~{quoted(EXITS)})",
        f'({_of_log(watched, STDOUT)} AND jsonPayload.kind="load_failure")',
        f'({_of_log(watched, STDOUT)} AND jsonPayload.kind="prediction" AND {_sample(plan.answers)})',
    ]
    if position.log_is_kept is not False:
        at_tags = " OR ".join(f"httpRequest.requestUrl:{quoted(part)}" for part in _parts_of_tags(watched.tags))
        wanted = f"({_sample(plan.requests)} OR {at_tags})" if at_tags else _sample(plan.requests)
        kinds.append(f"({_of_log(watched, REQUESTS)} AND {wanted})")
    revisions = one_of([name for name in (watched.candidate, watched.stable) if name])
    return _all(
        [
            _of_service(watched),
            f"resource.labels.revision_name={revisions}",
            f"timestamp>={_moment(position.since)}",
            f"receiveTimestamp>={_moment(position.received - OVERLAP)}",
            f"({' OR '.join(kinds)})",
        ]
    )


def _of(watched: Watched, log: str) -> str:
    return f"{_of_service(watched)} AND {_of_log(watched, log)}"


def _of_service(watched: Watched) -> str:
    service, region = quoted(watched.service), quoted(watched.region)
    labels = f"resource.labels.service_name={service} AND resource.labels.location={region}"
    return f'resource.type="cloud_run_revision" AND {labels}'


def _of_log(watched: Watched, log: str) -> str:
    return f'logName="projects/{watched.project}/logs/run.googleapis.com%2F{log}"'


def _sample(fraction: float) -> str:
    return f"sample(insertId, {fraction:.6f})"


def _moment(moment: datetime) -> str:
    return quoted(moment.astimezone(UTC).isoformat().replace("+00:00", "Z"))


def _all(terms: Iterable[str]) -> str:
    return " AND ".join(terms)


def _whole_minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


# Entries


def _key(entry: logging.LogEntry) -> str:
    """Return what tells entries apart: Cloud Logging takes those for one that share insertId and timestamp."""
    return f"{entry.insert_id} {entry.timestamp.isoformat()}"


def _log(entry: logging.LogEntry) -> str:
    return str(entry.log_name).partition("/logs/run.googleapis.com%2F")[2]


def _revision(entry: logging.LogEntry) -> str:
    return str(entry.resource.labels.get("revision_name", ""))


def _seen(revision: str, entries: Iterable[logging.LogEntry], watched: Watched) -> Seen:
    """Return what one revision did, from new entries of any."""
    own = [entry for entry in entries if _revision(entry) == revision]
    statuses = Counter(status for entry in own if (status := _counted_status(entry, watched.tags)) is not None)
    records = [entry for entry in own if _log(entry) == STDOUT]
    exits = sum(_log(entry) == SYSTEM for entry in own)
    exits += sum(_payload(entry).get("kind") == "load_failure" for entry in records)
    return Seen(_counts(statuses)._replace(exits=exits), tuple(_answers(records, watched.private)))


def _counted_status(entry: logging.LogEntry, tags: Mapping[str, str]) -> int | None:
    """Return the status of an entry that is a request of the service's traffic; None for anything else."""
    if _log(entry) != REQUESTS:
        return None
    status = (entry.http_request or {}).get("status", 0)
    if status in NEVER_ARRIVED or _is_aside(entry, tags):
        return None
    return WITHOUT_INSTANCE if status == TOO_MANY and isinstance(entry.payload, str) else int(status)


def _is_aside(entry: logging.LogEntry, tags: Mapping[str, str]) -> bool:
    """Tell whether an entry of the request log is a check, a probe, or was asked at a tag's address."""
    request = entry.http_request or {}
    url, agent = request.get("requestUrl", ""), request.get("userAgent", "")
    return agent.startswith(CHECK_AGENT) or urlsplit(url).path.startswith("/health/") or _is_tagged(url, tags)


def _is_tagged(url: str, tags: Mapping[str, str]) -> bool:
    """Tell whether a URL is one of a tag's: what its traffic target says, or Cloud Run's other form of it.

    A service can be asked at addresses of its owner's too, so that its own are no list of what counts.
    """
    host = urlsplit(url).hostname or ""
    return url.startswith(tuple(f"{address}/" for address in tags.values())) or host.startswith(
        tuple(f"{tag}---" for tag in tags)
    )


def _parts_of_tags(tags: Mapping[str, str]) -> list[str]:
    """Return what the URLs of tags have in them."""
    return [part for tag, address in tags.items() for part in (f"{address}/", f"//{tag}---")]


def _counts(statuses: Mapping[int, int]) -> Counts:
    """Return requests by what their status means; the caller's own mistakes are rejections."""
    errors = sum(count for status, count in statuses.items() if status >= 500 or status == WENT_AWAY)
    rejections = sum(count for status, count in statuses.items() if 400 <= status < 500 and status != WENT_AWAY)
    return Counts(sum(statuses.values()), errors, rejections)


def _with_codes(name: str, seen: Seen, codes: Codes) -> Seen:
    """Return what a revision did, its requests as metrics have them.

    They hold no refusals of Cloud Run's own, and cannot tell checks, calls at a tag and probes from traffic. That does
    no harm while nobody asks at tags: a release sends no checks while it judges traffic, and probes of the service's
    address fall on either revision by its share. In shadow mode, where checks go on, they are no measure.
    """
    arrived = {status: count for status, count in codes.get(name, {}).items() if status not in NEVER_ARRIVED}
    return seen._replace(counts=_counts(arrived)._replace(exits=seen.counts.exits))


def _sum(codes: Codes) -> int:
    return sum(sum(counts.values()) for counts in codes.values())


# Prediction records


def _payload(entry: logging.LogEntry) -> Mapping[str, Any]:
    return entry.payload if isinstance(entry.payload, dict) else {}


def _answers(entries: Iterable[logging.LogEntry], private: frozenset[str]) -> Iterator[Answer]:
    for entry in entries:
        payload = _payload(entry)
        rows = _rows(payload) if payload.get("kind") == "prediction" else []
        if rows and (answer := _answer(payload.get("total_ms"), *rows[0], private)):
            yield answer


def _answer(
    latency_ms: Any, features: Mapping[str, Any], prediction: Mapping[str, Any], private: frozenset[str]
) -> Answer | None:
    if "prediction" not in prediction or not isinstance(latency_ms, float | int):
        return None
    value = prediction["prediction"]
    values = value if isinstance(value, list) else [value]
    shown = {name: feature for name, feature in features.items() if name not in private}
    # JSON has no NaN, which is an answer all the same.
    return Answer(float(latency_ms), tuple(math.nan if one is None else one for one in values), shown)


def _instances(entries: Iterable[logging.LogEntry]) -> list[Recorded]:
    """Return the instances of records, one of each before any second one."""
    found: list[tuple[int, Recorded]] = []
    for entry in entries:
        payload = _payload(entry)
        version = int(payload.get("version") or 0)
        rows = _rows(payload)[:MOST_OF_ONE] if payload.get("kind") == "prediction" else []
        found += [(rank, Recorded(features, version)) for rank, (features, _) in enumerate(rows)]
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def _rows(payload: Mapping[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return a record's instances and predictions in an order of chance that is always the same; none if unreadable."""
    try:
        features, predictions = json.loads(payload["features_json"]), json.loads(payload["predictions_json"])
        rows = [(dict(given), dict(answered)) for given, answered in zip(features, predictions, strict=True)]
        return random.Random(payload["request_id"]).sample(rows, len(rows))  # noqa: S311 - a sample, no secret
    except (KeyError, TypeError, ValueError):
        return []
