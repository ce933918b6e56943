"""Reads of Cloud Logging and Cloud Monitoring: within a share of their quota, and no faster than they ask for."""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import datetime
from http.client import HTTPException
from types import TracebackType
from typing import Any, Self

from google.api_core.exceptions import GoogleAPICallError
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from google.cloud import logging
from googleapiclient.errors import HttpError
from httplib2 import HttpLib2Error
from requests.exceptions import RequestException

from lifecycle.errors import CloudFailed
from lifecycle.google_apis import client, client_options

# entries.list of a project: https://cloud.google.com/logging/quotas#api-limits. People look at logs meanwhile.
READS_PER_MINUTE = 60
SHARE = 0.5
PAGE = 1000  # entries, as many as one read gives
TIMEOUT_SECONDS = 20
LONGEST_PAUSE_SECONDS = 60.0
MINUTE_SECONDS = 60.0
REQUEST_COUNT = "run.googleapis.com/request_count"
NOT_ALLOWED = {401, 403}
PASSING = {408, 429, 500, 502, 503, 504}  # statuses that another attempt may not get

Codes = dict[str, Counter[int]]  # requests by revision and status


class NotRead(Exception):
    """What was asked for could not be read now, and may be a little later."""


class Budget:
    """Allows so many reads in any minute; after a failure none for a while, longer each time."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._taken: deque[float] = deque()
        self._failures = 0
        self._resting_until = 0.0

    def take(self) -> None:
        """Count one read; raises NotRead where none is allowed now."""
        if (seconds := self.pause(1)) > 0:
            raise NotRead(f"{math.ceil(seconds)} s more, to stay within a share of Cloud Logging's 60 reads a minute")
        self._taken.append(self._clock())

    def pause(self, reads: int) -> float:
        """Return in how many seconds so many reads are allowed; all that a minute has, where more are asked for."""
        now = self._clock()
        while self._taken and self._taken[0] <= now - MINUTE_SECONDS:
            self._taken.popleft()
        excess = len(self._taken) + min(reads, self._per_minute) - self._per_minute
        free_at = self._taken[excess - 1] + MINUTE_SECONDS if excess > 0 else now
        return max(free_at, self._resting_until) - now

    def failed(self) -> None:
        """Rest: two seconds after the first failure in a row, then twice as long each time, up to a minute."""
        self._failures += 1
        self._resting_until = self._clock() + min(2.0**self._failures, LONGEST_PAUSE_SECONDS)

    def succeeded(self) -> None:
        """End a row of failures."""
        self._failures = 0


class Reads:
    """Cloud Logging and Cloud Monitoring of a project; use it as a context, which ends its connections."""

    def __init__(self, project: str, credentials: Credentials, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = Budget(int(READS_PER_MINUTE * SHARE), clock)
        self._project = project
        self._session = _Session(self.budget, credentials)
        self._logging = logging.Client(
            project=project,
            credentials=credentials,
            client_options=client_options("logging"),
            _use_grpc=False,
            _http=self._session,
        )
        self._monitoring = client("monitoring", credentials)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every connection."""
        self._session.close()  # type: ignore[no-untyped-call]
        self._monitoring.close()

    def entries(self, wanted: str, most: int, *, order: str = logging.ASCENDING) -> list[logging.LogEntry]:
        """Return at most so many log entries that a filter takes, by their time.

        Raises NotRead, or CloudFailed where it is no use to ask again.
        """
        try:
            found = list(
                self._logging.list_entries(filter_=wanted, order_by=order, page_size=min(most, PAGE), max_results=most)
            )
        except GoogleAPICallError as error:
            raise self._failure("Cloud Logging", error.code, error.message) from error
        except RequestException as error:
            raise self._failure("Cloud Logging", None, f"the connection failed ({type(error).__name__})") from error
        except GoogleAuthError as error:
            raise self._failure("the sign-in for Cloud Logging", None if error.retryable else 401, error) from error
        except (LookupError, TypeError, ValueError, AttributeError) as error:  # the library expects whole answers
            raise self._failure("Cloud Logging", None, f"its answer cannot be read ({error!r})") from error
        self.budget.succeeded()
        return found

    def request_counts(self, region: str, service: str, start: datetime, end: datetime) -> Codes:
        """Return what Cloud Run counted at a service's revisions, by status, in whole minutes from `start` to `end`.

        Nothing is counted in less than a minute. Raises NotRead, or CloudFailed where it is no use to ask again.
        """
        if end <= start:
            return {}
        asked = self._monitoring.projects().timeSeries()
        request = asked.list(
            name=f"projects/{self._project}",
            filter=f'metric.type="{REQUEST_COUNT}" AND resource.type="cloud_run_revision"'
            f' AND resource.labels.service_name="{service}" AND resource.labels.location="{region}"',
            interval_startTime=_written(start),
            interval_endTime=_written(end),
            aggregation_alignmentPeriod=f"{round((end - start).total_seconds())}s",
            aggregation_perSeriesAligner="ALIGN_DELTA",
            aggregation_crossSeriesReducer="REDUCE_SUM",
            aggregation_groupByFields=["resource.labels.revision_name", "metric.labels.response_code"],
        )
        counts: Codes = {}
        while request is not None:
            answer = self._execute(request)
            for series in answer.get("timeSeries", ()):
                _add(series, counts)
            request = asked.list_next(request, answer)
        return counts

    def _execute(self, request: Any) -> Any:
        try:
            return request.execute()
        except HttpError as error:
            raise self._failure("Cloud Monitoring", error.status_code, error.reason) from error
        except (OSError, HttpLib2Error, HTTPException, ValueError) as error:  # ValueError: half an answer is no JSON
            raise self._failure("Cloud Monitoring", None, f"the connection failed ({type(error).__name__})") from error
        except GoogleAuthError as error:
            raise self._failure("the sign-in for Cloud Monitoring", None if error.retryable else 401, error) from error

    def _failure(self, where: str, status: int | None, text: object) -> Exception:
        """Return the error of a read that failed; only what may pass is worth another one."""
        said = " ".join(str(text).split()).rstrip(".")
        if status is not None and status not in PASSING:
            need = "; the release identity needs roles/viewer, as infra/delivery.tf gives it"
            return CloudFailed(f"{where} refuses to be read ({status}): {said}{need if status in NOT_ALLOWED else ''}.")
        self.budget.failed()
        return NotRead(f"{where}: {said}" if status is None else f"{where} answered {status}: {said}")


class _Session(AuthorizedSession):
    """Counts each call: the client library reads page after page without being asked."""

    def __init__(self, budget: Budget, credentials: Credentials) -> None:
        super().__init__(credentials)  # type: ignore[no-untyped-call]
        self._budget = budget

    def request(self, *args: Any, **kwargs: Any) -> Any:
        self._budget.take()
        kwargs["timeout"] = TIMEOUT_SECONDS
        return super().request(*args, **kwargs)  # type: ignore[no-untyped-call]


def _add(series: Any, counts: Codes) -> None:
    revision = series["resource"]["labels"].get("revision_name", "")
    code = int(series["metric"]["labels"].get("response_code") or 0)
    total = sum(int(point["value"]["int64Value"]) for point in series["points"])
    counts.setdefault(revision, Counter())[code] += total


def _written(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def one_of(values: Sequence[str]) -> str:
    """Return the right side of a comparison with any of some texts."""
    return "(" + " OR ".join(quoted(value) for value in values) + ")"


def quoted(text: str) -> str:
    """Return a text as filters of Cloud Logging write it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
