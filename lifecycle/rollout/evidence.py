"""What is seen of two revisions from one look to the next: plain values that signals gathers and the judge weighs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from function.contract import Label


class Counts(NamedTuple):
    """What Cloud Run counted of one revision; its own checks and health probes are not among the requests."""

    requests: int = 0
    errors: int = 0  # of the requests: answered 5xx, 429 for want of an instance, or not before the caller went away
    rejections: int = 0  # of the requests: answered any other 4xx
    exits: int = 0  # instances that ended though nobody told them to, and loads that failed


class Answer(NamedTuple):
    """One answered request, from its prediction record. One instance stands for it, so that answers are independent."""

    latency_ms: float  # in the function, where no cold start is part of it
    values: tuple[Label, ...]  # the prediction: a class label or a number for each target
    features: Mapping[str, Label | None]  # of the same instance, without what the record leaves out or hashes


class Seen(NamedTuple):
    """One revision, from one look to the next."""

    counts: Counts = Counts()
    answers: tuple[Answer, ...] = ()  # a sample: all of them where there are few


class Look(NamedTuple):
    """Both revisions, from one look to the next. Which of them a request went to was left to chance."""

    since: datetime
    until: datetime
    candidate: Seen
    stable: Seen
    source: Literal["request log", "metrics"] = "request log"  # of the counts; metrics are some minutes late
    fraction: float = 1.0  # of the requests that were counted, left to chance; what ended instances is counted whole


class Unread(NamedTuple):
    """A look that could not be taken; the next one covers its time too."""

    reason: str
    again_in_seconds: float
