"""Why a release does not go on: each reason is a heading of the runbook, and every message leads there."""

from collections.abc import Sequence
from enum import Enum

from lifecycle.errors import LifecycleError, NotReleasable, Overtaken, Rejected

RUNBOOK = "docs/runbook.md"


class Refusal(Enum):
    """The headings, each with the error that it ends a verb with."""

    NO_SERVICE = "There is no service to release to", NotReleasable
    NO_IMAGE = "There is no image of the version", NotReleasable
    INTERNAL = "The endpoint cannot be reached from here", NotReleasable
    SIGN_IN = "The endpoint lets in only people who sign in", NotReleasable
    NOTHING_BEFORE = "There is nothing to go back to", NotReleasable
    REFUSED_BEFORE = "The version was refused before", Rejected
    HELD = "Somebody else is releasing", Overtaken
    MOVED = "Somebody else moved the traffic", Overtaken
    NOT_READY = "The candidate does not become ready", Rejected
    OTHER_VERSION = "The candidate is another version", Rejected
    GOLDEN = "Golden examples are answered otherwise", Rejected
    BAD_BODIES = "Bad requests are answered wrongly", Rejected
    REPLAY = "Replayed requests are answered otherwise", Rejected
    ERRORS = "The candidate fails more often", Rejected
    REJECTIONS = "The candidate refuses more requests", Rejected
    EXITS = "The candidate's instances end", Rejected
    LATENCY = "The candidate is slower", Rejected
    PREDICTIONS = "The candidate predicts otherwise", Rejected
    BY_HAND = "Somebody rolled it back", Rejected

    def __init__(self, heading: str, error: type[LifecycleError]) -> None:
        self.heading = heading
        self.error = error

    @property
    def link(self) -> str:
        """Where the runbook says what to do."""
        return f"{RUNBOOK}#{anchor(self.heading)}"


class Refused(Exception):
    """Stops a release inside of its course; `reasons` are facts with their numbers."""

    def __init__(self, refusal: Refusal, reasons: Sequence[str]) -> None:
        super().__init__(refusal.heading)
        self.refusal = refusal
        self.reasons = tuple(reasons)


def as_error(refusal: Refusal, what: str, reasons: Sequence[str] = ()) -> LifecycleError:
    """Return the error that ends a verb: what happened, the reasons, and where to read on."""
    return refusal.error(what, [*reasons, f"what to do: {refusal.link}"])


def anchor(heading: str) -> str:
    """Return the anchor that Markdown pages give to a heading."""
    kept = "".join(letter for letter in heading.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")
