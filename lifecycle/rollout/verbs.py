"""The verbs rollout and rollback: of several models side by side, interruptible, shown to people and machines."""

import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any, NamedTuple

from function.store import StoreError, open_store
from lifecycle import console
from lifecycle.environment import read_environment
from lifecycle.errors import LifecycleError, Missing, StoreFailed
from lifecycle.google_apis import release_credentials, signed_in
from lifecycle.rollout.page import page, summary
from lifecycle.rollout.refusals import Refusal, as_error
from lifecycle.rollout.release import Options, Place, roll_back, roll_out
from lifecycle.rollout.verdict import AGAINST, Verdict
from lifecycle.rollout.view import View, open_view

# A delivery waits for the one before it, which takes four times three steps of 15 minutes at most: cloudbuild.yaml has
# the time for both.
DELIVERY_PATIENCE = timedelta(hours=3)


class Ended(NamedTuple):
    """What became of one model's release: a verdict, nothing (it answers already), or why it could not be done."""

    model: str
    verdict: Verdict | None = None
    error: LifecycleError | None = None


def rollout(
    environment: str, model: str | None, version: str | None, options: Options, *, changed: bool, as_json: bool
) -> int:
    """Release a model, or all there are; show what became of it, and return the exit code.

    What changed is a part of a delivery: a model that was never published holds up none of the others.
    """
    place = _place(environment)
    models = dict.fromkeys(sorted(place.environment.models)) if model is None else {model: version}
    with open_view() as view, _interruptible(view) as stop:
        ended = release_all(place, models, options, view, stop)
    if as_json:
        shown = [_json(one) for one in ended]
        console.emit(shown[0] if model else shown)
    else:
        _show(ended)
    return next((code for one in ended if (code := _code(one, changed=changed))), 0)


def rollback(environment: str, model: str, to: int | None, *, as_json: bool) -> None:
    """Take the last release of a model back, and show what answers now."""
    back = roll_back(_place(environment), model, to)
    if as_json:
        console.emit(back._asdict())
        return
    answers = f"version {back.version} ({back.revision})" if back.version else back.revision
    if back.instead_of:
        console.say(f"{answers} answers everything again, instead of {back.instead_of}")
    else:
        console.say(f"There is no release to be taken back: {answers} answers everything. To go further: --to VERSION")


def release_all(
    place: Place, wanted: Mapping[str, str | None], options: Options, view: View, stop: threading.Event
) -> list[Ended]:
    """Release models side by side: none of them waits for, or suffers from, another."""

    def one(model: str) -> Ended:
        try:
            return Ended(model, roll_out(place, model, wanted[model], options, view, stop))
        except StoreError as error:
            return Ended(model, error=StoreFailed(error.message, [error.detail]))
        except LifecycleError as error:
            return Ended(model, error=error)

    with ThreadPoolExecutor(max_workers=max(1, len(wanted))) as pool:
        return list(pool.map(one, wanted))


def _place(name: str) -> Place:
    environment = read_environment(name)
    credentials = release_credentials(environment)
    build = os.environ.get("BUILD_ID")
    who = f"build {build}" if build else signed_in()
    return Place(environment, open_store(environment.store, credentials=credentials), credentials, who)


@contextmanager
def _interruptible(view: View) -> Iterator[threading.Event]:
    """Yield what the first Ctrl-C, SIGTERM or closed terminal sets; the second one ends the process as it is.

    What is ignored (nohup, a job in the background) goes on being ignored.
    """
    stop = threading.Event()
    heeded = [one for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) != signal.SIG_IGN]

    def interrupt(number: int, frame: FrameType | None) -> None:
        for one in heeded:
            signal.signal(one, signal.SIG_DFL)
        stop.set()
        view.say("interrupted", "the traffic goes back to the stable revisions; once more leaves it as it is")

    before = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(ended: Sequence[Ended]) -> None:
    """Print what became of every model."""
    for one in ended:
        if one.verdict is not None:
            console.markdown(page(one.verdict))
        error = _error(one)
        if error is not None:
            console.warn(str(error))
        elif one.verdict is None:
            console.say(f"{one.model}: nothing to do, what is to be released answers everything already")


def _json(one: Ended) -> dict[str, Any]:
    error = _error(one)
    return {
        "model": one.model,
        "verdict": one.verdict.model_dump(mode="json") if one.verdict else None,
        "error": {"message": error.message, "reasons": error.reasons} if error else None,
    }


def _error(one: Ended) -> LifecycleError | None:
    """Return what a release ended with, where it did not go through."""
    verdict = one.verdict
    if verdict is None or verdict.outcome not in (*AGAINST, "interrupted"):
        return one.error
    if verdict.outcome == "interrupted":
        return LifecycleError(summary(verdict), [*verdict.reasons, "what to do: run it again"])
    heading = next(refusal for refusal in Refusal if refusal.heading == verdict.heading)
    return as_error(heading, summary(verdict), verdict.reasons)


def _code(one: Ended, *, changed: bool) -> int:
    error = _error(one)
    return 0 if error is None or (changed and isinstance(error, Missing)) else error.exit_code
