"""What answered when: one object in the store for each event of a release, written once and never changed.

Their names begin with the time, so that a listing is the order of events, and the newest is read without the others.
"""

import re
import uuid
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from function.store import Store

FOLDER = "ledger"
NAME = re.compile(r"(\d{8}T\d{6}\.\d{6}Z)-[0-9a-f]{12}\.json")
TIME = "%Y%m%dT%H%M%S.%fZ"
MONTH = "%Y%m"
MOST_BACKWARDS = timedelta(minutes=10)  # by which one machine's clock may be behind another's
AT_ONCE = 16  # objects that are read
MOST_EVENTS = 1000  # that are read unless somebody wants all: some ninety releases
AROUND = 100  # events on each side of a moment: several releases
Kind = Literal["intent", "done", "found", "champion"]


class Part(BaseModel):
    """A revision's part of the traffic, in percent, with the version and the image that it serves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: str
    version: int | None  # None: of a revision that no release made
    image: str
    percent: int


class Event(BaseModel):
    """One event. `time` is set when it is written.

    intent: the traffic is about to be split so. done: it is, from now on. found: it was found so, and nobody had said
    so. champion: this version is the champion now.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: AwareDatetime | None = None
    rollout: str  # the release's id; empty for what none did
    kind: Kind
    shares: tuple[Part, ...]
    who: str
    why: str


class Ledger(NamedTuple):
    """Events in their order, and what lies among them and is none, in words."""

    events: tuple[Event, ...]
    faults: tuple[str, ...] = ()
    left_out: int = 0  # older events, which were not read


class Period(NamedTuple):
    """Who answered from one moment to another; `until` is None for the present.

    Where a release was about to split the traffic anew, and nothing tells whether it did, `perhaps` is the new split.
    """

    since: datetime
    until: datetime | None
    shares: tuple[Part, ...]
    perhaps: tuple[Part, ...]
    rollout: str
    who: str
    why: str


def append(store: Store, model: str, event: Event) -> Event:
    """Write an event, after all that are there; return it with its time. Raises StoreError."""
    written = event.model_copy(update={"time": _next_time(store, model, datetime.now(UTC))})
    name = f"{written.time:{TIME}}-{uuid.uuid4().hex[:12]}.json"
    store.create(f"{model}/{FOLDER}/{name}", written.model_dump_json().encode())
    return written


def read(store: Store, model: str, newest: int | None = None) -> Ledger:
    """Return the events, the oldest first: all, or so many of the newest; raises StoreError."""
    ours, strangers = _sorted_out(store, model)
    left_out = max(0, len(ours) - newest) if newest is not None else 0
    return _ledger(store, model, ours[left_out:], strangers)._replace(left_out=left_out)


def read_around(store: Store, model: str, moment: datetime) -> Ledger:
    """Return the events before and after a moment, as many as it takes to say who answered then; raises StoreError."""
    ours, strangers = _sorted_out(store, model)
    place = bisect_right(ours, f"{moment.astimezone(UTC):{TIME}}~")
    return _ledger(store, model, ours[max(0, place - AROUND) : place + AROUND], strangers)


def last_split(store: Store, model: str) -> Event | None:
    """Return the newest event that says how the traffic is split, None where none does; reads no more than it must."""
    for name in reversed(_sorted_out(store, model)[0]):
        event = _event(store, f"{model}/{FOLDER}/{name}")
        if isinstance(event, Event) and event.kind in ("done", "found"):
            return event
    return None


def periods(events: Iterable[Event]) -> list[Period]:
    """Return who answered from when to when, the oldest first; what did not change is one period."""
    found: list[Period] = []
    for event, following in _in_pairs([event for event in events if event.kind != "champion"]):
        if event.kind == "intent":
            if following and following.kind == "done" and following.rollout == event.rollout:
                continue  # it was carried out, a moment later
            began = _began(event, found[-1].shares if found else (), perhaps=event.shares)
        else:
            began = _began(event, event.shares)
        if found:
            found[-1] = found[-1]._replace(until=began.since)
        if found and (found[-1].shares, found[-1].perhaps) == (began.shares, began.perhaps):
            found[-1] = found[-1]._replace(until=None)
        else:
            found.append(began)
    return found


def at(events: Sequence[Event], moment: datetime) -> Period | None:
    """Return who answered at a moment, None before the first event.

    Between an intent and what became of it, both splits are possible; `perhaps` is the one that was being made.
    """
    before = [event for event in events if event.time and event.time <= moment]
    answered = periods(before)
    if not answered:
        return None
    later = next((one.since for one in periods(events) if one.since > moment), None)
    return answered[-1]._replace(until=later)


def parts_in_words(parts: Sequence[Part]) -> str:
    """Return a split in words: versions and percents."""
    serving = [part for part in parts if part.percent]
    return ", ".join(f"{_version(part)} {part.percent} %" for part in serving) or "nobody"


def _version(part: Part) -> str:
    return f"version {part.version}" if part.version is not None else part.revision


def _began(event: Event, shares: tuple[Part, ...], perhaps: tuple[Part, ...] = ()) -> Period:
    assert event.time is not None  # noqa: S101 - what was read has one
    return Period(event.time, None, shares, perhaps, event.rollout, event.who, event.why)


def _in_pairs(events: Sequence[Event]) -> Iterator[tuple[Event, Event | None]]:
    yield from zip_longest(events, events[1:])


def _next_time(store: Store, model: str, now: datetime) -> datetime:
    """Return the present, or the moment after the newest event where this machine's clock is a little behind."""
    months = sorted({f"{now:{MONTH}}", f"{now + MOST_BACKWARDS:{MONTH}}"})
    names = [name for month in months for name in _names(store, f"{model}/{FOLDER}/{month}") if _is_event(name)]
    newest = _time(max(names)) if names else now - MOST_BACKWARDS
    return newest + timedelta(microseconds=1) if now <= newest <= now + MOST_BACKWARDS else now


def _sorted_out(store: Store, model: str) -> tuple[list[str], list[str]]:
    """Return the names of events, the oldest first, and what to say of those of anything else."""
    names = _names(store, f"{model}/{FOLDER}/")
    ours = {name for name in names if _is_event(name)}
    strangers = [f"{store.url}/{model}/{FOLDER}/{name} is no event" for name in names if name not in ours]
    return sorted(ours), strangers


def _is_event(name: str) -> bool:
    """Tell whether a name is an event's: made of a moment that there is."""
    with suppress(ValueError):
        return NAME.fullmatch(name) is not None and bool(_time(name))
    return False


def _ledger(store: Store, model: str, names: Sequence[str], strangers: Sequence[str]) -> Ledger:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda name: _event(store, f"{model}/{FOLDER}/{name}"), names))
    events = tuple(one for one in found if isinstance(one, Event))
    return Ledger(events, (*strangers, *(one for one in found if isinstance(one, str))))


def _names(store: Store, prefix: str) -> list[str]:
    return sorted(entry.key.rpartition("/")[2] for entry in store.list(prefix))


def _time(name: str) -> datetime:
    return datetime.strptime(name.partition("-")[0], TIME).replace(tzinfo=UTC)


def _event(store: Store, key: str) -> Event | str:
    """Return an event, or what is wrong with it."""
    try:
        event = Event.model_validate_json(store.get(key).content)
    except ValidationError as error:
        return f"{store.url}/{key} is no event: {error.error_count()} faults"
    return event if event.time else f"{store.url}/{key} is no event: it has no time"
