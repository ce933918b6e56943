"""The verbs that release: rollout and rollback, as a command line."""

import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

import click

from function.store import StoreError, open_store
from lifecycle import console
from lifecycle.environment import read_environment
from lifecycle.errors import LifecycleError, Missing, NotReleasable, Rejected, StoreFailed
from lifecycle.google_apis import release_credentials
from lifecycle.options import ModelName, as_json, in_environment, whoever
from lifecycle.rollout.refusals import RUNBOOK, anchor
from lifecycle.rollout.release import Options, Place, roll_back, roll_out
from lifecycle.rollout.verdict import AGAINST, Verdict, page, summary
from lifecycle.rollout.view import View, open_view


class Ended(NamedTuple):
    """What became of one model's release: a verdict, nothing (it answers already), or why it could not be done."""

    model: str
    verdict: Verdict | None = None
    error: LifecycleError | None = None


@click.command()
@click.argument("name", type=ModelName(), required=False)
@click.argument("version", required=False)
@click.option("--changed", is_flag=True, help="Every model of the environment whose image or configuration changed")
@click.option("--image", help="Another image than that of this checkout's code, by its digest: NAME@sha256:...")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Minutes a step, instead of model.yaml's")
@click.option("--every", type=click.FloatRange(min=0.2), default=20.0, show_default=True, help="Seconds between looks")
@click.option(
    "--shadow", type=click.FloatRange(min=0, min_open=True), help="Stay at 0 %, and replay for so many minutes"
)
@click.option("--again", is_flag=True, help="Although it was refused or rolled back before")
@in_environment
@as_json
def rollout(
    name: str | None,
    version: str | None,
    changed: bool,
    image: str | None,
    minutes: float | None,
    every: float,
    shadow: float | None,
    again: bool,
    environment: str,
    as_json: bool,
) -> None:
    """Release VERSION of a model by the judge: the challenger, else the champion, unless you say which."""
    if changed == (name is not None):
        raise click.UsageError("Say which model, or --changed for all that the environment serves.")
    options = Options(image, minutes, every, again, shadow)
    place = _place(environment)
    wanted = {name: version} if name else dict.fromkeys(sorted(place.environment.models))
    with open_view() as view, _interruptible(view) as stop:
        ended = release_all(place, wanted, options, view, stop)
    _show(ended, as_json, several=changed)
    _check(ended, several=changed)


@click.command()
@click.argument("name", type=ModelName())
@click.option("--to", type=int, help="A version that served before, instead of the one before this")
@in_environment
@as_json
def rollback(name: str, to: int | None, environment: str, as_json: bool) -> None:
    """Take the last release back: all traffic to the revision before it, at once. Safe to repeat."""
    back = roll_back(_place(environment), name, to)
    if as_json:
        console.emit(back._asdict())
        return
    answers = f"version {back.version} ({back.revision})" if back.version else back.revision
    if back.instead_of:
        console.say(f"{answers} answers everything again, instead of {back.instead_of}")
    else:
        console.say(
            f"There is no release to be taken back: {answers} answers everything. To go back further: --to VERSION"
        )


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
    return Place(environment, open_store(environment.store), release_credentials(environment), whoever())


@contextmanager
def _interruptible(view: View) -> Iterator[threading.Event]:
    """Yield what the first Ctrl-C or SIGTERM sets; the second one ends the process as it is."""
    stop = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()
        view.say("interrupted", "the traffic goes back to the stable revisions; once more leaves it as it is")

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(ended: Sequence[Ended], as_json: bool, *, several: bool) -> None:
    """Print what became of every model, errors too where there are several."""
    if as_json:
        shown = [_json(one) for one in ended]
        console.emit(shown if several else shown[0])
        return
    for one in ended:
        if one.verdict is not None:
            console.markdown(page(one.verdict))
            console.say(summary(one.verdict))
        elif one.error is None:
            console.say(f"{one.model}: nothing to do, what is to be released answers everything already")
        elif several:
            console.warn(f"{one.model}: {one.error}")


def _json(one: Ended) -> dict[str, Any]:
    if one.error is not None:
        return {"model": one.model, "error": {"message": one.error.message, "reasons": one.error.reasons}}
    return {"model": one.model, "verdict": one.verdict.model_dump(mode="json") if one.verdict else None}


def _check(ended: Sequence[Ended], *, several: bool) -> None:
    """Raise what ends the verb: the first error, else the first release that did not go through.

    A challenger that was refused before ends a delivery of everything no more: it is said, and nothing has changed.
    """
    for one in ended:
        if one.error is not None and not (several and isinstance(one.error, NotReleasable | Missing)):
            raise one.error
    for one in ended:
        if one.verdict is not None and one.verdict.outcome in (*AGAINST, "interrupted"):
            kind = Rejected if one.verdict.outcome in AGAINST else LifecycleError
            where = f"what to do: {RUNBOOK}#{anchor(one.verdict.heading)}" if one.verdict.heading else "run it again"
            raise kind(summary(one.verdict), [*one.verdict.reasons, where])
