"""The course of a release: a candidate at 0 %, examined; then steps of traffic, each judged; promoted or taken back."""

import threading
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from google.auth.credentials import Credentials
from pydantic import ValidationError

from function.contract import REFERENCE, Shape
from function.store import Store, StoreError
from lifecycle.environment import Environment
from lifecycle.errors import LifecycleError, NotReleasable, Overtaken, VerifyFailed
from lifecycle.pinning import read_whole
from lifecycle.recipe import Rollout, Serving
from lifecycle.reference import Reference
from lifecycle.rollout import judge
from lifecycle.rollout.calls import Calls, minter
from lifecycle.rollout.checks import Checks, make_checks
from lifecycle.rollout.cloud_run import CANDIDATE, MODEL, PREVIOUS, STABLE, VERSION, Endpoint, Revision, Share, State
from lifecycle.rollout.evidence import Look, Unread
from lifecycle.rollout.examination import examine, read_cold_start
from lifecycle.rollout.images import keep_image
from lifecycle.rollout.lease import Lease
from lifecycle.rollout.reads import Reads
from lifecycle.rollout.refusals import Refusal, Refused
from lifecycle.rollout.replay import Replayed, joined, judge_replay, read_versions, replay
from lifecycle.rollout.signals import Before, Position, Recorded, Watch, Watched, before, starting
from lifecycle.rollout.traffic import Traffic
from lifecycle.rollout.verdict import Outcome, Step, Verdict, write_verdict
from lifecycle.rollout.view import Progress, View
from lifecycle.versions import CHAMPION, Version, move_alias, read_version

LONGEST_BLIND = timedelta(minutes=5)  # no candidate has traffic for longer while nobody can look at it
# What the judge asks, and the heading under which a release ends that it decides against.
HEADINGS: dict[str, Refusal] = {
    "errors": Refusal.ERRORS,
    "rejections": Refusal.REJECTIONS,
    "exits": Refusal.EXITS,
    "latency": Refusal.LATENCY,
    "predictions": Refusal.PREDICTIONS,
}


class Interrupted(Exception):
    """The release has to end now, through no fault of the candidate; the message says why."""


class Scene(NamedTuple):
    """Where a release takes place, and who looks on."""

    environment: Environment
    store: Store
    endpoint: Endpoint
    credentials: Credentials
    reads: Reads
    view: View
    stop: threading.Event  # set by whoever interrupts
    who: str


class Goals(NamedTuple):
    """What a release is held to."""

    rollout: Rollout
    serving: Serving
    slices: tuple[str, ...]  # columns


class Wanted(NamedTuple):
    """What is to be released, and how."""

    version: Version
    image: str  # by its digest
    tag: str  # of the image, where that was found by it
    goals: Goals
    look_seconds: float
    shadow_minutes: float | None = None


class Kept(Shape):
    """A release under way, as the lease keeps it for whoever goes on with it."""

    rollout: str
    image: str
    stable: str  # the revision that has the traffic, ours or not
    candidate: str = ""
    started_at: datetime
    since: datetime  # the step began
    percent: int = 0
    checks: Checks | None = None
    evidence: judge.Evidence = judge.Evidence()
    position: Position | None = None
    cold_start_ms: float | None = None
    examined: Mapping[str, Any] = {}
    replay: Mapping[str, Any] = {}
    replayed: Literal["held", "failed", "nothing"] = "nothing"
    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()


class Course:
    """One release, from its candidate to its verdict."""

    def __init__(self, scene: Scene, wanted: Wanted, lease: Lease) -> None:
        """Take up what an earlier run left, or begin."""
        self._scene, self._wanted, self._lease = scene, wanted, lease
        self._manifest = wanted.version.manifest
        self._labels = {MODEL: self._manifest.model, VERSION: str(self._manifest.version)}
        state = scene.endpoint.read()
        self._kept = self._take_up(state)
        self._stable = scene.endpoint.revision(self._kept.stable)
        model, rollout = self._manifest.model, self._kept.rollout
        self._traffic = Traffic(scene.endpoint, state, scene.store, model, rollout, scene.who)

    def run(self) -> Verdict:
        """Go through with it, and return what became of it; raises LifecycleError, StoreError.

        Whatever else stops it, foreseen or not, the traffic goes back first, as far as that can still be done: nobody
        would look at the candidate any more. What answers everything stays; the next run writes down what is missing.
        """
        if self._wanted.shadow_minutes is not None and self._kept.percent:
            text = f"{self._kept.candidate} has {self._kept.percent} % of the traffic, and a shadow has none:"
            raise NotReleasable(text, ["a rollout without --shadow goes on with it; a rollback ends it"])
        try:
            return self._go()
        except Overtaken as error:
            self._conclude("overtaken", [error.message, *error.reasons], Refusal.MOVED)
            raise
        except Exception as error:
            if self._kept.percent < 100:
                why = error.message if isinstance(error, LifecycleError | StoreError) else repr(error)
                with suppress(LifecycleError, StoreError):
                    self._take_back(why)
                    self._conclude("interrupted", [why])
            raise

    def _go(self) -> Verdict:
        try:
            self._bring_up()
            if not self._kept.percent:
                self._rehearse()
            if self._wanted.shadow_minutes is not None:
                return self._conclude("shadowed", self._shadow(self._wanted.shadow_minutes))
            reasons = self._climb()
        except Refused as refused:
            outcome: Outcome = "rolled back" if self._kept.percent else "refused"
            self._take_back(refused.refusal.heading)
            return self._conclude(outcome, refused.reasons, refused.refusal)
        except Interrupted as why:
            self._take_back(str(why))
            return self._conclude("interrupted", [str(why)])
        self._crown()
        return self._conclude("promoted", reasons)

    # The candidate

    def _take_up(self, state: State) -> Kept:
        """Return what an earlier run left of this release, as far as Cloud Run confirms it, or a beginning."""
        now = _now()
        # Another release that was killed may have left its candidate with more of the traffic than the stable revision.
        stable = (state.tagged(STABLE) if state.tagged(CANDIDATE) else "") or state.main
        fresh = Kept(rollout=new_id(), image=self._wanted.image, stable=stable, started_at=now, since=now)
        left = _read_kept(self._lease.state) or fresh
        # One that was killed between its last step and its last word has made the candidate the stable revision.
        candidate = state.tagged(CANDIDATE) or (left.candidate if state.main == left.candidate else "")
        if not candidate or not self._is_wanted(self._scene.endpoint.revision(candidate)):
            return fresh
        if left.candidate != candidate:
            note = "an earlier run brought the candidate here, and what it saw is not known"
            left = fresh.model_copy(update={"candidate": candidate, "notes": (note,)})
        if left.percent != state.percent(candidate):  # it was killed while it changed them
            moved = {"since": now, "position": starting(state.settled, left.position)}
            left = left.model_copy(update={"percent": state.percent(candidate), **moved})
        # The one that a tag names, else that the earlier run knew; a tag can be taken away by hand.
        known = (state.tagged(STABLE), left.stable, state.tagged(PREVIOUS), *(share.revision for share in state.split))
        there = {share.revision for share in state.split} - {candidate}
        return left.model_copy(update={"stable": next((name for name in known if name in there), state.main)})

    def _is_wanted(self, revision: Revision) -> bool:
        return revision.image == self._wanted.image and self._labels.items() <= revision.labels.items()

    def _bring_up(self) -> None:
        """Have a candidate at 0 %, ready, with an address of its own."""
        kept, state = self._kept, self._traffic.state
        if kept.candidate and kept.candidate in (state.tagged(CANDIDATE), state.main):
            self._say(f"going on with {kept.candidate}, which has {kept.percent} % of the traffic")
            if kept.percent < 100 and state.tagged(STABLE) != kept.stable:
                self._traffic.move(self._shares(kept.candidate, kept.percent), "both revisions have their tags again")
            return
        self._say(f"making a revision of {self._wanted.image}")
        shares = self._shares("", 0)
        name = self._traffic.deploy(self._wanted.image, self._labels, shares, "a candidate is made")
        candidate = self._scene.endpoint.revision(name)
        self._keep(candidate=name)
        if not candidate.ready:
            raise Refused(Refusal.NOT_READY, [f"{name}: {candidate.reason}"])
        self._traffic.move(self._shares(name, 0), "the candidate is ready")

    def _shares(self, candidate: str, percent: int) -> list[Share]:
        """Return a split with so much for the candidate; what could be gone back to before still can."""
        stable, previous = self._kept.stable, self._traffic.state.tagged(PREVIOUS)
        if percent == 100:
            return [Share(candidate, 100, STABLE), Share(stable, 0, PREVIOUS)]
        shares = [Share(stable, 100 - percent, STABLE)]
        if candidate:
            shares.append(Share(candidate, percent, CANDIDATE))
        return [*shares, *([Share(previous, 0, PREVIOUS)] if previous not in ("", stable, candidate) else [])]

    @property
    def _is_compared(self) -> bool:
        """Whether the stable revision is a release of this model, and no placeholder."""
        return self._stable.labels.get(MODEL) == self._manifest.model and self._stable.version is not None

    def _stable_version(self) -> Version:
        assert self._stable.version is not None  # noqa: S101 - asked only where it is compared
        return read_version(self._scene.store, self._manifest.model, self._stable.version)

    # At 0 %

    def _rehearse(self) -> None:
        """Ask the candidate what is known, and what callers asked lately; raises Refused."""
        self._say(f"{self._kept.candidate} is ready; asking it golden examples and bad requests")
        cold_start = read_cold_start(self._scene.reads, self._kept.candidate, self._wait)
        self._keep(cold_start_ms=cold_start.total_ms if cold_start else None)
        with self._calls() as calls:
            address = self._traffic.state.tag_addresses[CANDIDATE]
            examined = examine(calls, address, self._scene.store, self._wanted.version)
            self._keep(examined=examined._asdict() | {"heading": None})
            if examined.heading:
                raise Refused(examined.heading, examined.faults)
            if self._is_compared:
                self._replay(calls, self._ask().instances)

    def _calls(self) -> Calls:
        scene = self._scene
        return Calls(self._traffic.state.address, minter(scene.environment.release_identity, scene.credentials))

    def _replay(self, calls: Calls, instances: Sequence[Recorded]) -> None:
        """Send recent instances to both revisions; raises Refused."""
        self._say(f"replaying up to {len(instances)} recent instances to both revisions")
        result = self._send_to_both(calls, instances)
        reasons = judge_replay(result, self._wanted.goals.rollout.disagreement)
        held = "failed" if reasons else "held" if result.compared.asked else "nothing"
        self._keep(replay=_as_json(result), replayed=held)
        if reasons:
            raise Refused(Refusal.REPLAY, reasons)

    def _send_to_both(self, calls: Calls, instances: Sequence[Recorded]) -> Replayed:
        addresses, slices = self._traffic.state.tag_addresses, self._wanted.goals.slices
        versions = read_versions(self._scene.store, self._stable_version(), self._wanted.version)
        return replay(calls, addresses[STABLE], addresses[CANDIDATE], versions, instances, slices)

    def _shadow(self, minutes: float) -> Sequence[str]:
        """Send the candidate what callers send to the stable revision, as it comes in; return what it came to."""
        if not self._is_compared:
            return ["no release answers yet, so nobody sends anything"]
        results, since, until = list[Replayed](), _now(), _now() + timedelta(minutes=minutes)
        with self._calls() as calls:
            while since < until:
                self._wait(min(self._wanted.look_seconds, (until - since).total_seconds() + 1))
                self._traffic.check()
                now = _now()
                found = before(self._scene.reads, self._watched, now, hours=(now - since) / timedelta(hours=1))
                if isinstance(found, Before):
                    results, since = [*results, self._send_to_both(calls, found.instances)], now
                    so_far = joined(results)
                    self._keep(replay=_as_json(so_far))
                    told = f"{so_far.compared.differing} of {so_far.compared.asked} answers differ so far"
                    self._say(f"{told}; until {until:%H:%M} UTC")
        result = joined(results)
        self._say(f"{result.compared.differing} of {result.compared.asked} answers differ")
        return judge_replay(result, self._wanted.goals.rollout.disagreement) or ["nothing spoke against it"]

    def _ask(self) -> Before:
        """Fix what the judge asks, by what the stable revision answered in the hours before; return that."""
        content = read_whole(self._scene.store, self._wanted.version, REFERENCE)
        if content is None:
            name = f"{self._manifest.model} {self._manifest.version}"
            raise VerifyFailed(f"{REFERENCE} of {name} is not what was published.")
        earlier, goals, private = self._before(), self._wanted.goals, self._watched.private
        checks = make_checks(
            self._manifest.signature,
            earlier.answers,
            goals.rollout,
            goals.serving,
            [column for column in goals.slices if column not in private],
            Reference.model_validate_json(content),
        )
        self._keep(checks=checks)
        return earlier

    def _before(self) -> Before:
        """Return what was asked and answered lately; nothing where that cannot be read in time."""
        until = _now() + LONGEST_BLIND
        while isinstance(found := before(self._scene.reads, self._watched, self._kept.started_at), Unread):
            if _now() > until:
                self._note(f"what was answered before could not be read: {found.reason}")
                return Before((), ())
            self._wait(max(1.0, found.again_in_seconds))
        return found

    @property
    def _watched(self) -> Watched:
        """What is looked at; features that either version's records do not show as they are count as private."""
        environment = self._scene.environment
        manifests = [self._manifest, *([self._stable_version().manifest] if self._is_compared else [])]
        return Watched(
            project=environment.project,
            region=environment.region,
            service=self._scene.endpoint.name.rpartition("/")[2],
            candidate=self._kept.candidate,
            stable=self._kept.stable if self._is_compared else "",
            tags=self._traffic.state.tag_addresses,
            private=frozenset(name for one in manifests for name in (*one.privacy.omit, *one.privacy.hash)),
        )

    # Steps

    def _climb(self) -> Sequence[str]:
        """Give the candidate more and more of the traffic; return the reasons of the last decision."""
        scene, manifest = self._scene, self._manifest
        # Before anybody meets it: from now on it may be gone back to.
        keep_image(scene.environment, manifest.model, self._wanted.image, manifest.version, scene.credentials)
        reasons: Sequence[str] = ["no release answered before it, so there was nothing to compare it with"]
        if self._is_compared:
            steps, minutes = self._wanted.goals.rollout.steps, self._wanted.goals.rollout.minutes_per_step
            shown = ", ".join(f"{percent} %" for percent in steps)
            self._say(f"steps: {shown}; {minutes:g} minutes each, at most {judge.PATIENCE * minutes:g}")
        for percent in self._wanted.goals.rollout.steps if self._is_compared else (100,):
            if percent > self._kept.percent:
                self._give(percent)
            if percent == self._kept.percent < 100:
                reasons = self._watch(percent)
        return reasons

    def _give(self, percent: int) -> None:
        self._say(f"{percent} % of the traffic")
        self._traffic.move(self._shares(self._kept.candidate, percent), f"a step to {percent} %")
        watched_from = starting(self._traffic.state.settled, self._kept.position)
        self._keep(percent=percent, since=_now(), position=watched_from)

    def _watch(self, percent: int) -> Sequence[str]:
        """Look until the judge lets the candidate go on, and return why; raises Refused where it does not."""
        if self._kept.checks is None:
            self._ask()
        checks = self._kept.checks
        assert checks is not None  # noqa: S101 - just asked
        watch = Watch(self._scene.reads, self._watched, self._kept.position or starting(self._traffic.state.settled))
        while True:
            look = self._look(watch)
            evidence = judge.weigh(checks, self._kept.evidence, look)
            self._keep(evidence=evidence, position=watch.position)
            decision = judge.decide(checks, evidence, judge.Step(percent, self._minutes, self._kept.replayed))
            self._show(checks, decision)
            if decision.verdict == "wait":
                continue
            self._keep(steps=(*self._kept.steps, self._step(decision)))
            if decision.verdict == "roll back":
                raise Refused(self._heading(checks), decision.reasons)
            return decision.reasons

    def _look(self, watch: Watch) -> Look:
        """Wait, and look; raises Overtaken, and Interrupted by somebody or by being unable to look for long."""
        last, seconds = _now(), self._wanted.look_seconds
        while True:
            self._wait(seconds)
            self._traffic.check()
            look = watch.look()
            if isinstance(look, Look):
                return look
            if _now() - last > LONGEST_BLIND:
                raise Interrupted(f"nothing could be read for {LONGEST_BLIND.seconds // 60} minutes: {look.reason}")
            self._say(f"cannot look now: {look.reason}")
            self._lease.renew()
            seconds = max(self._wanted.look_seconds, look.again_in_seconds)

    def _heading(self, checks: Checks) -> Refusal:
        """Return the heading of what speaks most against the candidate."""
        worst = judge.findings(checks, self._kept.evidence)[0].check
        return HEADINGS[next(check.asked for check in checks.checks if check.name == worst)]

    def _wait(self, seconds: float) -> None:
        if self._scene.stop.wait(seconds):
            raise Interrupted("somebody interrupted it")

    # The end

    def _take_back(self, why: str) -> None:
        """Give all traffic to the stable revision, and its image and labels to the template."""
        self._say(f"back to {self._kept.stable}: {why}")
        self._traffic.roll_back(self._kept.stable, why)

    def _crown(self) -> None:
        """Let `champion` name what answers everything; raises Overtaken where somebody has taken it back meanwhile."""
        store, model = self._scene.store, self._manifest.model
        self._traffic.check()
        before = move_alias(store, model, CHAMPION, self._manifest.version)
        try:
            self._traffic.check()
        except Overtaken:
            if before is not None:
                move_alias(store, model, CHAMPION, before)
            raise
        self._traffic.crown(self._kept.candidate, "it answers everything")

    def _conclude(self, outcome: Outcome, reasons: Sequence[str], refusal: Refusal | None = None) -> Verdict:
        """Write the verdict beside the version; the lease has nothing left to keep."""
        kept, compared = self._kept, self._is_compared
        verdict = Verdict(
            rollout=kept.rollout,
            environment=self._scene.environment.name,
            model=self._manifest.model,
            version=self._manifest.version,
            image=kept.image,
            tag=self._wanted.tag,
            candidate=kept.candidate,
            stable=kept.stable if compared else None,
            stable_version=self._stable.version if compared else None,
            outcome=outcome,
            heading=refusal.heading if refusal else None,
            basis=self._basis(),
            reasons=tuple(reasons),
            notes=(*kept.notes, *(kept.checks.left_out if kept.checks else ())),
            started_at=kept.started_at,
            ended_at=_now(),
            by=self._scene.who,
            cold_start_ms=kept.cold_start_ms,
            examined=kept.examined,
            replay=kept.replay,
            steps=kept.steps,
            findings=judge.findings(kept.checks, kept.evidence) if kept.checks else (),
        )
        write_verdict(self._scene.store, verdict)
        self._lease.forget()
        return verdict

    def _basis(self) -> str:
        if self._kept.steps:
            return self._kept.steps[-1].basis
        return "what was seen until then" if self._kept.percent else "what was asked at 0 %"

    # What is kept and shown

    def _keep(self, **changes: Any) -> None:
        """Note how far the release is, and renew the lease; raises Overtaken where it is somebody else's."""
        self._kept = self._kept.model_copy(update=changes)
        self._lease.keep(self._kept.model_dump(mode="json"))

    def _note(self, text: str) -> None:
        self._keep(notes=(*self._kept.notes, text))

    @property
    def _minutes(self) -> float:
        return (_now() - self._kept.since).total_seconds() / 60

    def _step(self, decision: judge.Decision) -> Step:
        totals = self._kept.evidence.totals
        return Step(
            percent=self._kept.percent,
            since=self._kept.since,
            until=_now(),
            candidate_requests=totals.candidate,
            stable_requests=totals.stable,
            decision=decision.verdict,
            basis=decision.basis,
            reasons=decision.reasons,
        )

    def _show(self, checks: Checks, decision: judge.Decision) -> None:
        rollout, totals = self._wanted.goals.rollout, self._kept.evidence.totals
        self._scene.view.show(
            Progress(
                model=self._manifest.model,
                version=self._manifest.version,
                steps=rollout.steps,
                percent=self._kept.percent,
                minutes=self._minutes,
                wanted_minutes=rollout.minutes_per_step,
                candidate_requests=totals.candidate,
                stable_requests=totals.stable,
                findings=judge.findings(checks, self._kept.evidence),
                decision=decision,
                bound=1 / checks.false_rollbacks,
            )
        )

    def _say(self, text: str) -> None:
        self._scene.view.say(self._manifest.model, text)


def _read_kept(state: Mapping[str, Any] | None) -> Kept | None:
    """Return what an earlier run kept; nothing where it kept nothing, or was of other code and is not understood."""
    with suppress(ValidationError):
        return Kept.model_validate(state) if state else None
    return None


def _as_json(result: Replayed) -> Mapping[str, Any]:
    """Return a replay as it is kept and shown: named tuples become objects."""
    return {name: _plain(value) for name, value in result._asdict().items()}


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: _plain(one) for name, one in value._asdict().items()}
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def new_id() -> str:
    """Return a name for a release that sorts by time."""
    return f"{_now():%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"


def _now() -> datetime:
    return datetime.now(UTC)
