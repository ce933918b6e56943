"""What verbs show: steps while they work, tables for people, JSON for machines."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from lifecycle.errors import GateRefused, LifecycleError

Say = Callable[[str], None]

WIDE = 400  # columns: where no terminal is, lines are whole

_out = Console(highlight=False, soft_wrap=True, emoji=False, width=None if sys.stdout.isatty() else WIDE)
_progress = Console(stderr=True, highlight=False, emoji=False)


@contextmanager
def progress(title: str) -> Iterator[Say]:
    """Yield a function that says what is being done: a moving line on a terminal, plain lines elsewhere.

    Whatever train.py or an estimator prints meanwhile goes to stderr: stdout holds the result and nothing else.
    """
    with redirect_stdout(sys.stderr):
        if _progress.is_terminal:
            with _progress.status(title) as status:
                yield lambda text: status.update(f"{title}: {text}")
        else:
            yield lambda text: print(f"{title}: {text}", file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Say something that a person should know, beside the result."""
    _progress.print(text, style="yellow", markup=False)


def say(text: str) -> None:
    """Print a line of the result."""
    _out.print(text, markup=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table."""
    shown = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        shown.add_row(*(str(cell) for cell in row))
    _out.print(shown)


def markdown(text: str) -> None:
    """Print Markdown: rendered on a terminal, as it is elsewhere."""
    _out.print(Markdown(text) if _out.is_terminal else text, markup=False)


def emit(content: object) -> None:
    """Print a result for machines."""
    print(json.dumps(content, default=str))


def as_object(error: LifecycleError) -> dict[str, object]:
    """Return why a verb stopped, for machines; beside it what the gate decided, where that was why."""
    told: dict[str, object] = {"error": {"message": error.message, "reasons": error.reasons}}
    return told | {"decision": error.decision} if isinstance(error, GateRefused) else told


def fail(error: LifecycleError, as_json: bool) -> None:
    """Print why a verb stopped."""
    if as_json:
        print(json.dumps(as_object(error)))
    _progress.print(str(error), style="red", markup=False, soft_wrap=True)
