"""One endpoint under load, what is done to it, and what in the end is not as it has to be."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from lifecycle.rollout.refusals import Refusal
from lifecycle.rollout.verdict import Verdict
from tests.drill import verbs
from tests.drill.candidates import MODEL
from tests.drill.cases import Case
from tests.drill.endpoint import Endpoint, Release, open_endpoint
from tests.drill.load import Answer, Load
from tests.drill.verbs import Done

PROMOTED, REJECTED, OVERTAKEN = 0, 10, 12
GIVES_UP_SECONDS = 60
PAST_REQUESTS, PAST_RATE = 300, 150.0  # what a replay finds in the records
AFTERWARDS = 20  # requests that are answered after the end: what the end broke would show in them


class Stage(NamedTuple):
    """An endpoint under load: which revision answered everything at first, and who asks."""

    endpoint: Endpoint
    callers: Load
    stable: str  # revision


class Ending(NamedTuple):
    """How it has to end: what then answers everything, and which refusals may have decided so."""

    code: int
    answering: Release
    refusals: frozenset[Refusal] = frozenset()


class Met(NamedTuple):
    """What callers met: how many requests the candidate answered, for how long, and which failed, by revision."""

    requests: int
    seconds: float
    failed: Counter[str]


class Report(NamedTuple):
    """What came of it; `faults` is empty where all is as it has to be."""

    what: str
    ended: str
    met: Met
    seconds: float
    evidence: str
    faults: tuple[str, ...]


def release(case: Case) -> Report:
    """Release what a case makes."""
    with staged(case) as stage:
        wanted = case.made(stage.endpoint)
        with verbs.rollout(stage.endpoint, wanted, case.minutes) as verb:
            done = verb.wait()
        found = report(stage, case.what, ending(stage, case, wanted), done)
        return found._replace(faults=(*found.faults, *_not_measured(done))) if case.good else found


def ending(stage: Stage, case: Case, wanted: Release | None) -> Ending:
    """Return how the release of a case has to end."""
    if case.good:
        return Ending(PROMOTED, wanted or stage.endpoint.stable)
    return Ending(REJECTED, stage.endpoint.stable, case.decided)


@contextlib.contextmanager
def staged(case: Case) -> Iterator[Stage]:
    """Make an endpoint that has answered for a while, and let callers go on asking."""
    variables = {"memory_mib": case.memory_mib, "settings": case.settings, "startup_seconds": case.startup_seconds}
    with open_endpoint(**variables) as endpoint:
        (stable,) = endpoint.split()
        with endpoint.callers(PAST_RATE) as past:
            until(lambda: len(past.answers()) >= PAST_REQUESTS, "callers are answered")
        with endpoint.callers(case.rate, case.instances) as callers:
            until(lambda: callers.answers(), "callers are answered")
            yield Stage(endpoint, callers, stable)


def report(stage: Stage, what: str, expected: Ending, done: Done) -> Report:
    """Let callers ask a little more, and hold what happened to what was expected."""
    endpoint, callers = stage.endpoint, stage.callers
    count = len(callers.answers())
    until(lambda: len(callers.answers()) >= count + AFTERWARDS, "callers are answered")
    callers.stop()
    met = _met(stage, callers.answers())
    verdict = _last_verdict(endpoint)
    faults = [
        *_faults_of_ending(expected, done, verdict),
        *_faults_of_service(stage, expected),
        *_faults_met(stage, expected, met),
    ]
    evidence = "; ".join(verdict.reasons) if verdict else _said(done)
    return Report(
        what, verdict.outcome if verdict else f"exit code {done.code}", met, done.seconds, evidence, tuple(faults)
    )


def until(condition: Callable[[], Any], what: str, seconds: float = GIVES_UP_SECONDS) -> Any:
    """Wait until something is true; return it. Raises TimeoutError that says what did not come true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"in {seconds:.0f} s it did not happen that {what}")
        threading.Event().wait(0.02)
    return found


def _met(stage: Stage, answers: list[Answer]) -> Met:
    revisions = stage.endpoint.revisions()
    others = [answer.sent for answer in answers if revisions.get(answer.trace, stage.stable) != stage.stable]
    seconds = max(others) - min(others) if others else 0.0
    failed = Counter(revisions.get(answer.trace, "no revision") for answer in answers if answer.failed)
    return Met(len(others), seconds, failed)


def _not_measured(done: Done) -> Iterator[str]:
    """Yield what a release from its beginning to its end has to have measured at 0 %, and has not."""
    verdict = (done.result or {}).get("verdict") or {}
    if not (verdict.get("cold_start_ms") or 0) > 0:
        yield "no cold start was measured"
    if not verdict.get("replay"):
        yield "nothing was replayed"


def _faults_met(stage: Stage, expected: Ending, met: Met) -> Iterator[str]:
    allowed = set() if expected.code == PROMOTED else set(met.failed) - {stage.stable, "no revision"}
    for revision, count in met.failed.items():
        if revision not in allowed:
            yield f"{count} requests failed that went to {revision}"


def _faults_of_ending(expected: Ending, done: Done, verdict: Verdict | None) -> Iterator[str]:
    if done.code != expected.code:
        yield f"exit code {done.code}, expected {expected.code}: {_said(done)}"
    if verdict is None:
        yield "no verdict was written"
    elif expected.refusals and not any(refusal.link in _said(done) for refusal in expected.refusals):
        yield f"decided by none of {', '.join(sorted(refusal.name for refusal in expected.refusals))}: {_said(done)}"


def _faults_of_service(stage: Stage, expected: Ending) -> Iterator[str]:
    """Yield where what answers, the template and the alias are not what is expected."""
    endpoint, release = stage.endpoint, expected.answering
    service, split = endpoint.service, endpoint.split()
    image, labels = service["template"]["containers"][0]["image"], service["template"]["labels"]
    if (image, labels) != (release.image, release.labels):
        yield f"the template has {image}, {labels}, expected {release}"
    if set(split.values()) != {100}:
        yield f"the traffic is split: {split}"
    for revision in split:
        if (made_of := endpoint.release_of(revision)) != release:
            yield f"{revision} answers with {made_of}, expected {release}"
        if expected.code != PROMOTED and revision != stage.stable:
            yield f"{revision} answers, expected {stage.stable}"
    if (champion := endpoint.champion) != release.version:
        yield f"champion is {champion}, expected {release.version}"


def _last_verdict(endpoint: Endpoint) -> Verdict | None:
    found = [one for key, one in endpoint.objects(f"{MODEL}/").items() if "/rollouts/" in key]
    verdicts = [Verdict.model_validate_json(json.dumps(one)) for one in found]
    return max(verdicts, key=lambda verdict: verdict.ended_at, default=None)


def _said(done: Done) -> str:
    """Return why a verb ended, as it says for machines, or the last of what it said for people."""
    error = done.result.get("error") if isinstance(done.result, dict) else None
    return "; ".join([error["message"], *error["reasons"]]) if error else done.said.strip()[-500:]
