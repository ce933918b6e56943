"""What became of a release: written beside the version as JSON and as a page to read, and read before the next one."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from function.contract import Shape
from function.store import AlreadyExists, Store
from lifecycle.errors import VerifyFailed
from lifecycle.rollout.judge import Finding
from lifecycle.rollout.page import page

Outcome = Literal["promoted", "refused", "rolled back", "interrupted", "overtaken", "shadowed"]
AGAINST: tuple[Outcome, ...] = ("refused", "rolled back")


class Step(Shape):
    """One share of the traffic: since when, how much was seen, and what was decided."""

    percent: int
    since: datetime
    until: datetime
    candidate_requests: int  # of the release so far
    stable_requests: int
    decision: str
    basis: str
    reasons: tuple[str, ...]


class Verdict(Shape):
    """A release from its beginning to its end."""

    rollout: str
    environment: str
    model: str
    version: int
    image: str
    tag: str  # of that image, where it was found by its code and its pin
    candidate: str  # revision
    stable: str | None  # revision
    stable_version: int | None
    outcome: Outcome
    heading: str | None  # of the runbook, where it did not go on
    basis: str  # what the decision rests on
    reasons: tuple[str, ...]
    notes: tuple[str, ...]  # what could not be looked at
    started_at: datetime
    ended_at: datetime
    by: str
    cold_start_ms: float | None
    examined: Mapping[str, Any] = {}
    replay: Mapping[str, Any] = {}
    steps: tuple[Step, ...] = ()
    findings: tuple[Finding, ...] = ()


def write_verdict(store: Store, verdict: Verdict) -> str:
    """Write a verdict beside its version, as JSON and as Markdown; return the key of the page.

    What is there already stays: a run that was killed while it wrote has told the same.
    """
    folder = f"{_folder(verdict.model, verdict.version)}{verdict.rollout}"
    for kind, text in (("md", page(verdict)), ("json", verdict.model_dump_json(indent=1))):
        with suppress(AlreadyExists):
            store.create(f"{folder}.{kind}", text.encode())
    return f"{folder}.md"


def read_verdicts(store: Store, model: str, version: int) -> list[Verdict]:
    """Return the verdicts on a version, oldest first; raises VerifyFailed for one that cannot be read."""
    keys = [entry.key for entry in store.list(_folder(model, version)) if entry.key.endswith(".json")]
    verdicts = []
    for key in keys:
        try:
            verdicts.append(Verdict.model_validate_json(store.get(key).content))
        except ValidationError as error:
            what = "what to do: move it away; what stands in it no longer counts then"
            raise VerifyFailed(f"{store.url}/{key} cannot be read: {error.error_count()} faults.", [what]) from error
    return sorted(verdicts, key=lambda verdict: verdict.ended_at)


def _folder(model: str, version: int) -> str:
    return f"{model}/{version}/rollouts/"
