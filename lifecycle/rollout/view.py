"""What people see of a release: a picture that moves on a terminal, plain lines elsewhere. Both go to stderr."""

import math
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lifecycle.rollout.judge import Decision, Finding

KEPT_LINES = 6
BAR = 12
SHOWN = 5  # checks, those that speak most against the candidate


class Progress(NamedTuple):
    """A release at one look."""

    model: str
    version: int
    steps: Sequence[int]
    percent: int
    minutes: float  # in this step so far
    wanted_minutes: float
    candidate_requests: int
    stable_requests: int
    findings: Sequence[Finding]
    decision: Decision
    bound: float  # the evidence, as "1 in so many", at which it is rolled back


class View(Protocol):
    """Shows releases; several may run side by side."""

    def say(self, model: str, text: str) -> None:
        """Say something once."""

    def show(self, progress: Progress) -> None:
        """Show how far a release is."""


@contextmanager
def open_view() -> Iterator[View]:
    """Yield the view that suits where stderr goes to."""
    console = Console(stderr=True, highlight=False, emoji=False)
    with Moving(console) if console.is_terminal else Lines() as view:
        yield view


class Lines:
    """Plain lines, one for each thing said and for each look that differs from the one before."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing open."""

    def say(self, model: str, text: str) -> None:
        """Print a line."""
        with self._lock, suppress(OSError):  # whoever read it has gone; the release goes on
            print(f"{model}: {text}", file=sys.stderr, flush=True)

    def show(self, progress: Progress) -> None:
        """Print the look, unless it says what the last one said."""
        text = f"{counted(progress)}; {progress.decision.verdict}{because(progress.decision.reasons)}"
        if self._last.get(progress.model) != text:
            self._last[progress.model] = text
            self.say(progress.model, text)


class Moving:
    """A picture for each model: steps, what was counted, the evidence so far."""

    def __init__(self, console: Console) -> None:
        self._said: dict[str, list[str]] = {}
        self._progress: dict[str, Progress] = {}
        self._lock = threading.Lock()
        self._live = Live(console=console, get_renderable=self._picture, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, model: str, text: str) -> None:
        """Add a line to a model's picture."""
        with self._lock:
            self._said.setdefault(model, []).append(text)

    def show(self, progress: Progress) -> None:
        """Take a look into the picture."""
        with self._lock:
            self._progress[progress.model] = progress
            self._said.setdefault(progress.model, [])

    def _picture(self) -> RenderableType:
        with self._lock:
            return Group(*(part for model in self._said for part in self._of(model)))

    def _of(self, model: str) -> Iterator[RenderableType]:
        yield Text(model, style="bold")
        for line in self._said[model][-KEPT_LINES:]:
            yield Text(f"  {line}")
        if progress := self._progress.get(model):
            yield Text("  ").append_text(_steps(progress))
            yield _evidence(progress)
            yield Text(
                f"  {counted(progress)}; {progress.decision.verdict}{because(progress.decision.reasons)}", style="cyan"
            )


def counted(progress: Progress) -> str:
    """Return what was seen, as one clause."""
    requests = f"{progress.candidate_requests:,} requests to version {progress.version}"
    spent = f"{progress.minutes:.1f} of {progress.wanted_minutes:g} minutes"
    return f"{progress.percent} %: {requests}, {progress.stable_requests:,} to the stable one, {spent}"


def because(reasons: Sequence[str]) -> str:
    """Return reasons as the end of a sentence."""
    return f" ({'; '.join(reasons)})" if reasons else ""


def _steps(progress: Progress) -> Text:
    text = Text()
    for percent in progress.steps:
        style = "green" if percent < progress.percent else "bold cyan" if percent == progress.percent else "dim"
        text.append(f"{'●' if percent <= progress.percent else '○'} {percent} %   ", style=style)
    return text


def _evidence(progress: Progress) -> Table:
    table = Table("asked", "counted", "by chance", box=None, header_style="dim", padding=(0, 2))
    for one in progress.findings[:SHOWN]:
        table.add_row(one.check, one.counted, f"1 in {one.one_in:,.0f}")
    table.add_row("all together", _bar(progress), f"1 in {progress.decision.one_in:,.0f} of {progress.bound:,.0f}")
    return table


def _bar(progress: Progress) -> Text:
    """Return how far the evidence has come: full is enough to roll back."""
    share = math.log(max(progress.decision.one_in, 1.0)) / math.log(progress.bound)
    full = min(BAR, round(share * BAR))
    return Text("█" * full, style="red" if full == BAR else "yellow").append("·" * (BAR - full), style="dim")
