"""What Cloud Scheduler does with a job: says when it runs next, runs it, and writes down how that went.

Nothing here runs by itself: run() is asked for one run, and a Ticker runs what is due when it is told the time.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.cloud import oauth, outgoing
from tests.cloud.cloudscheduler import cron
from tests.cloud.errors import CloudError, unimplemented
from tests.cloud.instants import read_duration
from tests.cloud.schemas import Json

Publish = Callable[[str, list[Json]], Any]
DEADLINE_SECONDS = 180.0
AGENT = "Google-Cloud-Scheduler"
# google.rpc.Code of what a target answered, by https://cloud.google.com/scheduler/docs/reference/rest/Shared.Types/Code
CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 10, 429: 8, 499: 1, 500: 13, 501: 12, 503: 14, 504: 4}
UNKNOWN, UNAVAILABLE = 2, 14
RETRY = {"minBackoffDuration": "5s", "maxBackoffDuration": "3600s", "maxDoublings": 5, "retryCount": 0}


def next_time(job: Json, after: datetime) -> datetime | None:
    """Return when a job runs next, or None for one that is paused or whose schedule never comes.

    Raises CloudError: 400 for a schedule that cannot be read, 501 for one in English.
    """
    if job.get("state", "ENABLED") != "ENABLED":
        return None
    return cron.next_run(job["schedule"], job.get("timeZone") or "UTC", after)


def run(job: Json, publish: Publish, now: datetime, send: outgoing.Send = outgoing.send) -> Json:
    """Run a job once and return it with the attempt's time, its status and its next time.

    A status without code is success. Retries are the caller's: see retry_pause().

    Raises CloudError: 501 for a target that is not reached.
    """
    following = next_time(job, now)
    code, message = _attempt(job, publish, now, send)
    updated = {**job, "lastAttemptTime": write_time(now), "status": {"code": code, "message": message} if code else {}}
    return {**updated, "scheduleTime": write_time(following)} if following else updated


def retry_pause(job: Json, failures: int) -> float | None:
    """Return how many seconds a job waits after so many failed attempts of one run, or None when it gives up.

    The pause doubles maxDoublings times, then grows by the same amount each time, up to the longest one:
    https://cloud.google.com/scheduler/docs/configuring/retry-jobs.
    """
    rules = {**RETRY, **(job.get("retryConfig") or {})}
    if failures > int(rules["retryCount"]):
        return None
    first, longest = read_duration(rules["minBackoffDuration"]), read_duration(rules["maxBackoffDuration"])
    doublings = int(rules["maxDoublings"])
    last = first * 2 ** min(failures - 1, doublings)
    return float(min(longest, last * max(1, failures - doublings)))


def write_time(moment: datetime) -> str:
    """Return an instant as the API writes it."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass
class _Due:
    at: datetime
    failures: int


class Ticker:
    """Runs jobs when their time comes, by whatever clock tells it the time."""

    def __init__(
        self, jobs: Callable[[], Iterable[Json]], run_one: Callable[[str, datetime], Json], now: datetime
    ) -> None:
        """Watch jobs from now on; `run_one` runs the job of a name and returns it as run() does."""
        self._jobs = jobs
        self._run = run_one
        self._seen = now
        self._lock = threading.Lock()
        self._retries: dict[str, _Due] = {}

    def tick(self, now: datetime) -> list[str]:
        """Run what came due since the last tick, each job once, and what is to be retried; return the names."""
        with self._lock:
            since, self._seen = self._seen, now
            names = [job["name"] for job in self._jobs() if self._is_due(job, since, now)]
            for name in names:
                self._note(name, self._run(name, now), now)
            return names

    def _is_due(self, job: Json, since: datetime, now: datetime) -> bool:
        if job.get("state", "ENABLED") != "ENABLED":
            return False
        scheduled, retry = next_time(job, since), self._retries.get(job["name"])
        if scheduled and scheduled <= now:
            self._retries.pop(job["name"], None)  # a new run
            return True
        return retry is not None and retry.at <= now

    def _note(self, name: str, job: Json, now: datetime) -> None:
        failures = self._retries.pop(name).failures + 1 if name in self._retries else 1
        pause = retry_pause(job, failures) if job["status"] else None
        if pause is not None:
            self._retries[name] = _Due(now + timedelta(seconds=pause), failures)


def _attempt(job: Json, publish: Publish, now: datetime, send: outgoing.Send) -> tuple[int, str]:
    """Return google.rpc's code and message of one attempt; 0 is success."""
    if job.get("pubsubTarget"):
        return _publish(job["pubsubTarget"], publish)
    if not job.get("httpTarget"):
        raise unimplemented("jobs with an App Engine target")
    target = job["httpTarget"]
    body = base64.b64decode(target.get("body") or "")
    deadline = read_duration(job["attemptDeadline"]) if job.get("attemptDeadline") else DEADLINE_SECONDS
    status = send(target.get("httpMethod") or "POST", target["uri"], _headers(job, target, now), body, deadline)
    if 200 <= status < 300:
        return 0, ""
    return (CODES.get(status, UNKNOWN), f"The target answered {status}.") if status else (UNAVAILABLE, "No answer.")


def _publish(target: Json, publish: Publish) -> tuple[int, str]:
    message = {name: target[name] for name in ("data", "attributes") if target.get(name)}
    try:
        publish(target["topicName"], [message])
    except CloudError as fault:
        if fault.status == 501:
            raise
        return CODES.get(fault.status, UNKNOWN), "; ".join(fault.messages)
    return 0, ""


def _headers(job: Json, target: Json, now: datetime) -> dict[str, str]:
    headers = {
        "User-Agent": AGENT,
        "X-CloudScheduler": "true",
        "X-CloudScheduler-JobName": job["name"].rpartition("/")[2],
        "X-CloudScheduler-ScheduleTime": write_time(now),
    }
    if target.get("body"):
        headers["Content-Type"] = "application/octet-stream"
    return {**headers, **(target.get("headers") or {}), **_authorization(target)}


def _authorization(target: Json) -> dict[str, str]:
    if oidc := target.get("oidcToken"):
        audience = oidc.get("audience") or target["uri"]
        return {"Authorization": f"Bearer {oauth.identity_token(oidc['serviceAccountEmail'], audience)}"}
    if access := target.get("oauthToken"):
        return {"Authorization": f"Bearer {oauth.identity_token(access['serviceAccountEmail'], oauth.ISSUER)}"}
    return {}
