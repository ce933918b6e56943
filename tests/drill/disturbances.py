"""What happens to a release from outside: its process is killed, somebody else acts, Google's APIs fail."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.drill import candidates, verbs
from tests.drill.cases import CASES, of_version
from tests.drill.endpoint import Endpoint, Release
from tests.drill.trial import OVERTAKEN, PROMOTED, Ending, Report, ending, report, staged, until
from tests.drill.verbs import Done

KILLS = 10
LONGEST_LIFE_SECONDS = 20.0  # a release that nobody kills takes about as long
PATCH, GET = "run.projects.locations.services.patch", "run.projects.locations.services.get"
# The first call that fits is struck; after what is skipped, so many that follow.
TROUBLES: Sequence[Mapping[str, Any]] = (
    {"kind": "status", "status": 409, "method": PATCH, "times": 2},
    {"kind": "status", "status": 503, "method": PATCH, "times": 2},
    {"kind": "reset_after_commit", "method": PATCH, "times": 1},
    {"kind": "stall", "method": PATCH, "times": 1},
    {"kind": "status", "status": 429, "method": GET, "times": 3},
    {"kind": "status", "status": 503, "method": GET, "times": 3, "skip": 5},
    {"kind": "status", "status": 429, "method": "logging.entries.list", "times": 2, "skip": 1},
    {"kind": "status", "status": 503, "path": r"rollout\.json", "times": 2, "skip": 1},
    {"kind": "status", "status": 503, "path": "ledger", "times": 2, "skip": 1},
)


def killed(name: str, seed: int, kills: int = KILLS) -> Report:
    """Kill a release at random moments and start it again each time; in the end nothing may tell that.

    One that comes to its end in between is followed by another: of what it replaced, or of the same bad one again.
    """
    case, chance = CASES[name], random.Random(seed)
    with staged(case) as stage:
        wanted, other = case.made(stage.endpoint), stage.endpoint.stable
        lives, faults = list[float](), list[str]()
        while len(lives) < kills:
            life = chance.uniform(0, LONGEST_LIFE_SECONDS)
            with verbs.rollout(stage.endpoint, wanted, case.minutes, "--again") as verb:
                try:
                    verb.wait(life)
                except subprocess.TimeoutExpired:
                    verb.kill()
                    lives.append(life)
                    faults += told_wrongly(stage.endpoint)
                else:
                    wanted, other = (other, wanted) if case.good else (wanted, other)
        with verbs.rollout(stage.endpoint, wanted, case.minutes, "--again") as verb:
            done = verb.wait()
        what = f"{case.what}, killed after {', '.join(f'{life:.1f}' for life in lives)} s"
        found = report(stage, what, ending(stage, case, wanted), done)
        return found._replace(faults=(*found.faults, *faults))


def told_wrongly(endpoint: Endpoint) -> Iterator[str]:
    """Yield where `status` and, once it was asked, the ledger say otherwise than the cloud who answers."""
    until(lambda: not endpoint.service.get("reconciling"), "Cloud Run carried out what it was told")
    answers = {name: (percent, endpoint.release_of(name)) for name, percent in endpoint.split().items()}
    done = verbs.run(endpoint, "status")
    if done.code:
        yield f"status ended with exit code {done.code}: {done.said[-500:]}"
        return
    told = {"status": done.result["revisions"], "the ledger": endpoint.last_event()["shares"]}
    for who, parts in told.items():
        said = {part["revision"]: (part["percent"], Release(part["version"], part["image"])) for part in parts}
        if {name: one for name, one in said.items() if one[0]} != answers:
            yield f"{who} says {said}, expected {answers}"
    if done.result["holder"]:
        yield f"status says that {done.result['holder']} is releasing, expected nobody"


def killed_at_its_last_word() -> Report:
    """Leave what a release leaves that is killed when it has written its verdict; the next one finds nothing to do."""
    case = CASES["good"]
    with staged(case) as stage:
        wanted = case.made(stage.endpoint)
        with verbs.rollout(stage.endpoint, wanted, case.minutes) as verb:
            done = verb.wait()
        before = stage.endpoint.split()
        stage.endpoint.leave({"rollout": done.result["verdict"]["rollout"]})
        with verbs.rollout(stage.endpoint, wanted, case.minutes) as verb:
            again = verb.wait()
        found = report(stage, "killed when its verdict was written", ending(stage, case, wanted), done)
        found = _also(found, again, {PROMOTED})
        if again.result["verdict"] is not None or stage.endpoint.split() != before:
            return found._replace(faults=(*found.faults, f"it was released again: {again.result}"))
        return found


def two_at_once() -> Report:
    """Start two releases of one model: one wins, the other says so."""
    case = CASES["good"]
    with staged(case) as stage:
        endpoint = stage.endpoint
        both = [of_version(make)(endpoint) for make in (candidates.retrained, candidates.stable)]
        with (
            verbs.rollout(endpoint, both[0], case.minutes) as first,
            verbs.rollout(endpoint, both[1], case.minutes) as second,
        ):
            ends = [first.wait(), second.wait()]
        winner = min(range(2), key=lambda index: ends[index].code)
        found = report(stage, "two releases at once", Ending(PROMOTED, both[winner]), ends[winner])
        return _also(found, ends[1 - winner], {OVERTAKEN})


def two_pushes() -> Report:
    """Start a delivery's release while another one is under way: it waits, and releases its own when that has ended."""
    case = CASES["good"]
    with staged(case) as stage:
        endpoint = stage.endpoint
        both = [of_version(make)(endpoint) for make in (candidates.retrained, candidates.stable)]
        with verbs.rollout(endpoint, both[0], case.minutes) as first:
            until(lambda: len(endpoint.split()) > 1, "the candidate gets traffic")
            with verbs.rollout(endpoint, both[1], case.minutes, "--changed") as second:
                ends = [first.wait(), second.wait()]
        found = report(stage, "two pushes, one after the other", Ending(PROMOTED, both[1]), ends[1])
        found = _also(found, ends[0], {PROMOTED})
        waited = "waiting until" in ends[1].said
        return found if waited else found._replace(faults=(*found.faults, f"it did not wait: {ends[1].said[-500:]}"))


def rolled_back_by_hand() -> Report:
    """Take a release back by hand while it is under way."""
    case = CASES["good"]._replace(minutes=1.0)
    with staged(case) as stage:
        endpoint = stage.endpoint
        with verbs.rollout(endpoint, case.made(endpoint), case.minutes) as verb:
            until(lambda: len(endpoint.split()) > 1, "the candidate gets traffic")
            by_hand, done = verbs.run(endpoint, "rollback"), verb.wait()
            again = verbs.run(endpoint, "rollback")
        found = report(stage, "a rollback by hand", Ending(PROMOTED, endpoint.stable), by_hand)
        return _also(_also(found, done, {OVERTAKEN}), again, {PROMOTED})


def troubled(name: str) -> Report:
    """Release while Google's APIs refuse, break off and time out."""
    case = CASES[name]
    with staged(case) as stage:
        wanted = case.made(stage.endpoint)
        for trouble in TROUBLES:
            stage.endpoint.cloud.faults.add(**trouble)
        with verbs.rollout(stage.endpoint, wanted, case.minutes) as verb:
            done = verb.wait()
        left = [rule for rule in stage.endpoint.cloud.faults.as_json() if rule["left"]]
        found = report(stage, f"{case.what}, while Google's APIs fail", ending(stage, case, wanted), done)
        return found._replace(faults=(*found.faults, *(f"did not happen: {rule}" for rule in left)))


def _also(found: Report, done: Done, codes: set[int]) -> Report:
    """Add to a report that another verb had to end otherwise."""
    if done.code in codes:
        return found
    return found._replace(faults=(*found.faults, f"exit code {done.code}, expected {codes}: {done.said[-500:]}"))
