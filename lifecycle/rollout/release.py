"""A release as a whole: what is released where, what stands against it, and the way back by hand."""

import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from google.auth.credentials import Credentials

from function.store import Store, StoreError
from lifecycle.environment import Environment
from lifecycle.errors import NotReleasable, Overtaken, StoreFailed
from lifecycle.pinning import pin_of
from lifecycle.recipe import Rollout, Serving
from lifecycle.rollout import ledger
from lifecycle.rollout.chosen import standing, to_release
from lifecycle.rollout.cloud_run import CANDIDATE, MODEL, PREVIOUS, STABLE, VERSION, Endpoint, Revision, State
from lifecycle.rollout.course import Course, Goals, Scene, Wanted, new_id
from lifecycle.rollout.images import find_image, tag_of
from lifecycle.rollout.lease import hold
from lifecycle.rollout.reads import Reads
from lifecycle.rollout.refusals import Refusal, as_error
from lifecycle.rollout.traffic import Traffic
from lifecycle.rollout.verdict import Verdict, read_verdicts, write_verdict
from lifecycle.rollout.view import View
from lifecycle.versions import CHALLENGER, CHAMPION, Version, find_number, move_alias, read_aliases, read_version

OPEN = "INGRESS_TRAFFIC_ALL"
WAIT_SECONDS = 20.0  # for another release, before it is looked at again
TRIES = 5  # by hand, against a release that moves traffic at the same moment


class Place(NamedTuple):
    """Where releases take place, and as whom."""

    environment: Environment
    store: Store
    credentials: Credentials
    who: str


class Options(NamedTuple):
    """How a release goes, beside what the version's own model.yaml says."""

    image: str | None = None  # another one than that of this checkout's code
    minutes_per_step: float | None = None
    look_seconds: float = 20.0
    again: bool = False  # although it was refused before
    shadow_minutes: float | None = None
    patience: timedelta = timedelta(0)  # with whoever is releasing the model


class Back(NamedTuple):
    """What a rollback by hand came to: the revision that answers now, and the one that no longer does."""

    model: str
    revision: str
    version: int | None
    instead_of: str | None  # None: nothing was to be taken back


def roll_out(
    place: Place, model: str, wanted: str | None, options: Options, view: View, stop: threading.Event
) -> Verdict | None:
    """Release a version; return its verdict, or None where it answers everything already.

    `wanted` is a number or an alias; without it, what is to be released. Raises NotReleasable, Rejected (refused
    before), Overtaken, CloudFailed, StoreError.
    """
    _version(place.store, model, wanted)
    with Endpoint(place.environment, model, place.credentials) as endpoint:
        _check_reachable(endpoint.read(), model)
        if options.image:
            _check_image(place.environment.images(model), options.image)
        with hold(place.store, model, place.who, _Patience(model, options.patience, view, stop)) as lease:
            version = _version(place.store, model, wanted)  # another one, perhaps, where there was somebody to wait for
            if wanted is None:
                _say_passed_over(place.store, model, version, view)
            tag = "" if options.image else tag_of(version.manifest.version, pin_of(version))
            image = options.image or _find_image(place, model, tag)
            if lease.state and _has_ended(place.store, version, lease.state):
                lease.forget()
            if not lease.state and _answers_everything(endpoint, image, version):
                _crown(place, model, version.manifest.version)  # a release may have been killed just before it did
                return None
            goes_on = lease.state is not None and lease.state.get("image") == image
            if not options.again and not goes_on:
                _check_not_refused(place, version, options.image or "")
            with Reads(place.environment.project, place.credentials) as reads:
                scene = Scene(place.environment, place.store, endpoint, place.credentials, reads, view, stop, place.who)
                goals = _goals(version, options)
                chosen = Wanted(version, image, tag, goals, options.look_seconds, options.shadow_minutes)
                return Course(scene, chosen, lease).run()


def roll_back(place: Place, model: str, to: int | None) -> Back:
    """Move all traffic to the revision before, or to the newest of version `to`; by hand, and at once.

    It needs no lease: a release that is under way sees that its traffic was moved, and stops. Repeated, it changes
    nothing. Raises NotReleasable where there is no revision of the version, CloudFailed, StoreError.
    """
    with Endpoint(place.environment, model, place.credentials) as endpoint:
        for _ in range(TRIES):
            with suppress(Overtaken):
                return _roll_back(place, endpoint, model, to)
        return _roll_back(place, endpoint, model, to)


class _Patience:
    """Waits a little, again and again, for whoever is releasing a model; says so once."""

    def __init__(self, model: str, patience: timedelta, view: View, stop: threading.Event) -> None:
        self._model, self._view, self._stop = model, view, stop
        self._until = datetime.now(UTC) + patience
        self._said = False

    def __call__(self, overtaken: Overtaken) -> bool:
        """Tell whether to try again."""
        if datetime.now(UTC) > self._until:
            return False
        if not self._said:
            self._said = True
            self._view.say(self._model, f"waiting until {self._until:%H:%M} UTC for {'; '.join(overtaken.reasons)}")
        return not self._stop.wait(WAIT_SECONDS)


def _version(store: Store, model: str, wanted: str | None) -> Version:
    return read_version(store, model, find_number(store, model, wanted)) if wanted else to_release(store, model)


def _check_reachable(state: State, model: str) -> None:
    """Raise NotReleasable where the candidate could not be called from here."""
    if state.iap:
        text = f"{model} cannot be released from here: Identity-Aware Proxy lets in only people who sign in."
        raise as_error(Refusal.SIGN_IN, text)
    if state.ingress != OPEN:
        text = f"{model} cannot be released from here: its ingress is {state.ingress}, expected {OPEN}."
        raise as_error(Refusal.INTERNAL, text)


def _check_image(repository: str, image: str) -> None:
    """Raise NotReleasable for an image that is not this model's, or that is not named by what it holds."""
    if not re.fullmatch(re.escape(repository) + "@sha256:[0-9a-f]{64}", image):
        raise NotReleasable(f"An image is named by its digest, {repository}@sha256:..., found {image}")


def _say_passed_over(store: Store, model: str, chosen: Version, view: View) -> None:
    """Say why it is not the newest version's turn."""
    newest = read_aliases(store, model).get(CHALLENGER)
    if newest is not None and newest != chosen.manifest.version:
        against = standing(store, read_version(store, model, newest))
        if against is not None:
            view.say(model, f"version {newest} is left alone ({'; '.join(against.reasons)}): {_insisting(against)}")


def _find_image(place: Place, model: str, tag: str) -> str:
    try:
        return find_image(place.environment, model, tag, place.credentials)
    except NotReleasable as error:
        raise as_error(Refusal.NO_IMAGE, error.message, error.reasons) from error


def _has_ended(store: Store, version: Version, left: Mapping[str, Any]) -> bool:
    """Tell whether a release that was killed had said its last word: nothing of it is left to go on with."""
    manifest = version.manifest
    return left.get("rollout") in {one.rollout for one in read_verdicts(store, manifest.model, manifest.version)}


def _answers_everything(endpoint: Endpoint, image: str, version: Version) -> bool:
    """Tell whether all traffic goes to this image of this version, with the configuration that Terraform wants."""
    state = endpoint.read()
    if state.follows_latest or state.percent(state.main) < 100:
        return False
    main, latest = endpoint.revision(state.main), endpoint.revision(state.latest_created)
    labels = {MODEL: version.manifest.model, VERSION: str(version.manifest.version)}
    return main.image == image and labels.items() <= main.labels.items() and main.settings == latest.settings


def _check_not_refused(place: Place, version: Version, image: str) -> None:
    if (against := standing(place.store, version, image)) is not None:
        raise as_error(Refusal.REFUSED_BEFORE, _insisting(against), against.reasons)


def _insisting(against: Verdict) -> str:
    """Return that a version was refused, and the way to release it all the same."""
    name, when = f"{against.model} {against.version}", f"{against.ended_at:%Y-%m-%d %H:%M} UTC"
    return f"{name} was {against.outcome} at {when}. If it is meant: python -m lifecycle rollout {name} --again"


def _goals(version: Version, options: Options) -> Goals:
    """Return what the version's model.yaml asks of a release, in the pace that is asked for; defaults without one."""
    recipe = version.manifest.recipe
    rollout = Rollout.model_validate(recipe.get("rollout", {}))
    if options.minutes_per_step is not None:
        rollout = rollout.model_copy(update={"minutes_per_step": options.minutes_per_step})
    slices = (recipe.get("acceptance", {}).get("slices") or {}).get("by", ())
    return Goals(rollout, Serving.model_validate(recipe.get("serving", {})), tuple(slices))


def _roll_back(place: Place, endpoint: Endpoint, model: str, to: int | None) -> Back:
    state = endpoint.read()
    target = endpoint.revision(_target(place.store, endpoint, state, to, model))
    taken = endpoint.revision(state.tagged(CANDIDATE) or state.main)
    if target.name == taken.name:
        if target.version is not None and state.percent(target.name) == 100:
            _crown(place, model, target.version)  # an earlier rollback may not have come so far
        return Back(model, target.name, target.version, None)
    rollout = new_id()
    traffic = Traffic(endpoint, state, place.store, model, rollout, place.who)
    try:
        traffic.roll_back(target.name, Refusal.BY_HAND.heading)
        if target.version is not None:
            _crown(place, model, target.version)
            traffic.crown(target.name, Refusal.BY_HAND.heading)
        if taken.version is not None:
            _write_by_hand(place, model, rollout, taken, target)
    except StoreError as error:
        text = f"{target.name} answers everything again, but that could not be written down: {error.message}"
        raise StoreFailed(text, [error.detail, "what to do: roll back again when the store answers"]) from error
    return Back(model, target.name, target.version, taken.name)


def _crown(place: Place, model: str, version: int) -> None:
    """Let `champion` name a version, unless it does."""
    if read_aliases(place.store, model).get(CHAMPION) != version:
        move_alias(place.store, model, CHAMPION, version)


def _target(store: Store, endpoint: Endpoint, state: State, to: int | None, model: str) -> str:
    """Return the revision to go back to: the stable one of a release, else the one before the last release.

    Before a first release there was a placeholder, which is nothing to go back to. Of the revisions of version `to`, it
    is what answers already, else the newest that had all the traffic once, else the newest.
    """
    if to is None:
        if state.tagged(CANDIDATE):
            return state.tagged(STABLE) or state.main
        previous = state.tagged(PREVIOUS)
        return previous if previous and endpoint.revision(previous).version is not None else state.main
    fit = [one for one in endpoint.revisions() if one.version == to and one.labels.get(MODEL) == model]
    if not fit:
        there = sorted({one.version for one in endpoint.revisions() if one.version is not None})
        text = f"No revision of {model} that could answer is of version {to}."
        raise as_error(Refusal.NOTHING_BEFORE, text, [f"there are: {', '.join(map(str, there)) or 'none'}"])
    served = {part.revision for event in _events(store, model) for part in event.shares if part.percent == 100}
    return max(fit, key=lambda one: (state.percent(one.name) == 100, one.name in served, one.created)).name


def _events(store: Store, model: str) -> Sequence[ledger.Event]:
    """Return what the ledger says was done; nothing where the store does not answer: nobody waits for it to go back."""
    with suppress(StoreError):
        events = ledger.read(store, model, ledger.MOST_EVENTS).events
        return [event for event in events if event.kind in ("done", "found")]
    return ()


def _write_by_hand(place: Place, model: str, rollout: str, taken: Revision, target: Revision) -> None:
    """Write the verdict that keeps the version from being released again by itself."""
    now, version = datetime.now(UTC), taken.version
    assert version is not None  # noqa: S101 - the caller looked
    verdict = Verdict(
        rollout=rollout,
        environment=place.environment.name,
        model=model,
        version=version,
        image=taken.image,
        tag=tag_of(version, pin_of(read_version(place.store, model, version))),
        candidate=taken.name,
        stable=target.name,
        stable_version=target.version,
        outcome="rolled back",
        heading=Refusal.BY_HAND.heading,
        basis="somebody's word",
        reasons=(f"{place.who} rolled it back",),
        notes=(),
        started_at=now,
        ended_at=now,
        by=place.who,
        cold_start_ms=None,
    )
    write_verdict(place.store, verdict)
