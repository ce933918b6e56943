"""Startup and liveness probes: how they ask, and in which words Cloud Run logs what came of it."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

HOST = "127.0.0.1"
LONGEST_START_SECONDS = 240.0
POLL_SECONDS = 0.02
REFUSED = " Connection failed with status ERROR_CONNECTION_FAILED."
TIMED_OUT = " Connection failed with status DEADLINE_EXCEEDED."
CANCELLED = " Connection failed with status CANCELLED."


@dataclass(frozen=True)
class Probe:
    """A probe; `path` None means that a TCP connection is enough, `default` that the container declares none."""

    path: str | None
    headers: Mapping[str, str]
    initial_delay_seconds: float
    period_seconds: float
    timeout_seconds: float
    failure_threshold: int
    port: int  # as declared: the words of a log line
    default: bool = False

    def described(self, kind: str, container: str) -> tuple[str, str]:
        """Return how a log line about it begins, and how it goes on after the number of attempts."""
        of = "TCP" if self.path is None else "HTTP"
        at = "" if self.path is None else f' path "{self.path}"'
        return f"{'Default ' * self.default}{kind} {of} probe", f'for container "{container}" on port {self.port}{at}.'


@dataclass(frozen=True)
class Verdict:
    """What came of a startup probe: whether requests may come, whether the process ended, and the log line."""

    passed: bool
    exited: bool
    line: str


def await_start(probe: Probe, port: int, container: str, ended: threading.Event) -> Verdict:
    """Ask until the probe passes, has failed as often as it may, or the process ended."""
    begins, goes_on = probe.described("STARTUP", container)
    deadline = time.monotonic() + LONGEST_START_SECONDS
    count, failure = 0, ""
    for outcome in _attempts(probe, port, ended):
        count += 1
        if outcome is None:
            return Verdict(True, False, f"{begins} succeeded after {_times(count, 'attempt')} {goes_on}")
        failure = outcome
        if count == probe.failure_threshold or time.monotonic() > deadline:
            break
    exited = ended.is_set()
    times = _times(max(1, count), "time")
    why = CANCELLED if exited else failure
    return Verdict(False, exited, f"{begins} failed {times} consecutively {goes_on} The instance was not started.{why}")


def watch_liveness(probe: Probe, port: int, container: str, ended: threading.Event) -> str | None:
    """Ask for as long as the process lives; return the log line of the failure, or None where it ended by itself."""
    begins, goes_on = probe.described("LIVENESS", container)
    failures = 0
    for outcome in _attempts(probe, port, ended):
        failures = 0 if outcome is None else failures + 1
        if failures >= probe.failure_threshold and not ended.is_set():
            times = _times(failures, "time")
            return f"{begins} failed {times} consecutively {goes_on} The instance has been shut down.{outcome}"
    return None


def _attempts(probe: Probe, port: int, ended: threading.Event) -> Iterator[str | None]:
    """Yield what came of each attempt, one a period, until the process ends: None, or how its log line ends."""
    ended.wait(probe.initial_delay_seconds)
    while not ended.is_set():
        asked = time.monotonic()
        yield _connect(probe, port, ended) if probe.path is None else _get(probe, port)
        ended.wait(max(0, asked + probe.period_seconds - time.monotonic()))


def _connect(probe: Probe, port: int, ended: threading.Event) -> str | None:
    # A TCP probe waits for its whole timeout for the port to open: with the default one, that is all the waiting.
    deadline = time.monotonic() + probe.timeout_seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, port), timeout=max(0.001, deadline - time.monotonic())).close()
        except OSError:
            if ended.wait(POLL_SECONDS):
                return CANCELLED
        else:
            return None
    return TIMED_OUT


def _get(probe: Probe, port: int) -> str | None:
    connection = http.client.HTTPConnection(HOST, port, timeout=probe.timeout_seconds)
    try:
        connection.request("GET", probe.path or "/", headers=dict(probe.headers))
        status = connection.getresponse().status
    except TimeoutError:
        return TIMED_OUT
    except (OSError, http.client.HTTPException):
        return REFUSED
    finally:
        connection.close()
    return None if 200 <= status < 400 else ""


def _times(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
