"""The lifecycle's verbs as people run them: processes of their own, which can be killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.drill.candidates import MODEL
from tests.drill.endpoint import Endpoint, Release
from tests.server import ROOT

GIVES_UP_SECONDS = 600  # three steps of half a minute wait four times that where there are doubts
EVERY_SECONDS = 1.0


class Done(NamedTuple):
    """How a verb ended: its exit code (negative: the signal), what it said, and how long it took."""

    code: int
    result: Any  # what --json printed
    said: str  # on stderr
    seconds: float


class Verb:
    """A verb at work; leaving `with` kills it where nobody waited for its end."""

    def __init__(self, endpoint: Endpoint, *arguments: str) -> None:
        command = [sys.executable, "-m", "lifecycle", *arguments, "--environment", endpoint.place.name, "--json"]
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=endpoint.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()

    @property
    def running(self) -> bool:
        """Whether it is still at work."""
        return self._process.poll() is None

    def kill(self) -> Done:
        """Kill it outright; it may have ended by itself before."""
        self._process.send_signal(signal.SIGKILL)
        return self.wait()

    def wait(self, seconds: float = GIVES_UP_SECONDS) -> Done:
        """Return how it ended; raises subprocess.TimeoutExpired."""
        printed, said = self._process.communicate(timeout=seconds)
        return Done(self._process.returncode, _read(printed), said, time.monotonic() - self._started)


def rollout(endpoint: Endpoint, release: Release | None, minutes: float, *options: str) -> Verb:
    """Start a release, of what configuration made where none is named."""
    what = [str(release.version), "--image", release.image] if release else []
    pace = ["--minutes", f"{minutes:g}", "--every", f"{EVERY_SECONDS:g}"]
    return Verb(endpoint, "rollout", MODEL, *what, *pace, *options)


def run(endpoint: Endpoint, verb: str) -> Done:
    """Run a verb about the model to its end."""
    with Verb(endpoint, verb, MODEL) as running:
        return running.wait()


def _read(printed: str) -> Any:
    lines = printed.strip().splitlines()
    try:
        return json.loads(lines[-1]) if lines else None
    except ValueError:
        return printed
