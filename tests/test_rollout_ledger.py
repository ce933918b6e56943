"""What answered when: events written once, read in their order, and what they say of any moment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from function.store import FileStore, Store, open_store
from lifecycle.rollout import ledger
from lifecycle.rollout.ledger import Event, Part, append, at, last_split, periods, read, read_around
from lifecycle.versions import list_numbers, sweep
from tests.cloud import CloudDouble

START = datetime(2026, 11, 7, 12, tzinfo=UTC)
ANN = "ann@example.com"
WHOLE = {1: 100}
A_QUARTER = {1: 75, 2: 25}
NEW = {2: 100}


@pytest.fixture(params=["file", "gs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Return a store of each kind."""
    if request.param == "gs":
        request.getfixturevalue("cloud")
    opened = open_store(tmp_path.as_uri() if request.param == "file" else "gs://models/prefix")
    yield opened
    opened.close()


def event(kind: str, split: dict[int, int], minutes: float | None = None, **fields: Any) -> Event:
    """Return an event with a split of versions; read ones have a time."""
    shares = tuple(
        Part(revision=f"r-{version}", version=version, image=f"image@{version}", percent=percent)
        for version, percent in split.items()
    )
    time = None if minutes is None else START + timedelta(minutes=minutes)
    known = {"time": time, "rollout": "one", "kind": kind, "shares": shares, "who": ANN, "why": "step"}
    return Event.model_validate({**known, **fields})


def versions(parts: tuple[Part, ...]) -> dict[int | None, int]:
    """Return a split of versions."""
    return {part.version: part.percent for part in parts}


def test_events_are_read_as_they_were_written(store: Store) -> None:
    """In their order, whole, each with the time of its writing."""
    before = datetime.now(UTC)
    written = [
        append(store, "churn", event("intent", A_QUARTER)),
        append(store, "churn", event("done", A_QUARTER)),
        append(store, "churn", event("champion", NEW, why="promoted")),
    ]
    assert read(store, "churn") == (tuple(written), (), 0)
    times = [one.time for one in written]
    assert times == sorted(times) and len(set(times)) == 3
    assert times[0] is not None and before <= times[0] <= datetime.now(UTC)
    assert read(store, "maintenance").events == ()


def test_the_newest_split_is_found_without_the_others(cloud: CloudDouble) -> None:
    """However many events there are, the last one that says how the traffic is split is read, and those after it."""
    store = open_store("gs://models")
    for kind, split in (("done", WHOLE), ("intent", A_QUARTER), ("done", A_QUARTER), ("champion", NEW)):
        append(store, "churn", event(kind, split))
    cloud.requests.clear()
    found = last_split(store, "churn")
    assert found is not None and versions(found.shares) == A_QUARTER
    assert len(cloud.requests.of("storage.objects.get")) == 2
    assert last_split(store, "maintenance") is None
    store.close()


def test_thousands_of_events_are_few_reads(cloud: CloudDouble) -> None:
    """A moment, the newest events and the present split are found by name among 1,200 events."""
    for number in range(1200):
        one = event("done", {number: 100}, number)
        assert one.time is not None
        name = f"churn/ledger/{one.time:{ledger.TIME}}-{number:012x}.json"
        cloud.storage.write("models", name, one.model_dump_json().encode())
    store = open_store("gs://models")
    moment = START + timedelta(minutes=600.5)
    answered = at(read_around(store, "churn", moment).events, moment)
    assert answered is not None
    assert (versions(answered.shares), answered.since, answered.until) == (
        {600: 100},
        START + timedelta(minutes=600),
        START + timedelta(minutes=601),
    )
    assert len(cloud.requests.of("storage.objects.get")) == 2 * ledger.AROUND
    cloud.requests.clear()
    newest = read(store, "churn", 10)
    assert ([versions(one.shares) for one in newest.events], newest.left_out) == (
        [{number: 100} for number in range(1190, 1200)],
        1190,
    )
    last = last_split(store, "churn")
    assert last is not None and versions(last.shares) == {1199: 100}
    assert len(cloud.requests.of("storage.objects.get")) == 11
    store.close()


def test_what_is_not_ours_is_named(store: Store) -> None:
    """Other objects in the folder hinder nothing, and each is named."""
    good = append(store, "churn", event("done", WHOLE))
    named = "20261107T120000.000000Z-aaaaaaaaaaaa.json"
    for name, content in {
        "notes.txt": b"hello",
        named: b"{}",
        named.replace("aaa.", "aab."): b"\xff",
        named.replace("aaa.", "aac."): event("done", NEW).model_dump_json().encode(),
    }.items():
        store.create(f"churn/ledger/{name}", content)
    found = read(store, "churn")
    assert found.events == (good,)
    assert [fault.removeprefix(store.url) for fault in found.faults] == [
        "/churn/ledger/notes.txt is no event",
        f"/churn/ledger/{named} is no event: 5 faults",
        f"/churn/ledger/{named.replace('aaa.', 'aab.')} is no event: 1 faults",
        f"/churn/ledger/{named.replace('aaa.', 'aac.')} is no event: it has no time",
    ]
    assert last_split(store, "churn") == good


@pytest.mark.parametrize(
    ("behind", "follows"),
    [(timedelta(0), True), (timedelta(seconds=3), True), (timedelta(minutes=9), True), (timedelta(days=1), False)],
    ids=["not", "seconds", "minutes", "a-day"],
)
@pytest.mark.parametrize("now", [datetime(2026, 11, 7, 12, tzinfo=UTC), datetime(2026, 11, 30, 23, 59, tzinfo=UTC)])
def test_a_clock_that_is_a_little_behind_does_no_harm(
    now: datetime, behind: timedelta, follows: bool, tmp_path: Path
) -> None:
    """An event comes after those that another machine wrote; a clock gone mad is not followed."""
    store = FileStore(tmp_path)
    ahead = now + behind
    store.create(f"churn/ledger/{ahead:{ledger.TIME}}-{'a' * 12}.json", b"{}")
    time = ledger._next_time(store, "churn", now)
    assert time == (ahead + timedelta(microseconds=1) if follows else now)


def test_it_is_no_version(store: Store) -> None:
    """What a release writes beside the versions is neither listed among them nor swept away."""
    append(store, "churn", event("done", WHOLE))
    store.create("churn/rollout.json", b"{}")
    store.create("churn/3/claim", b"{}")
    store.create("churn/3/rollouts/one.json", b"{}")
    assert list_numbers(store, "churn") == []
    assert sweep(store, "churn", datetime.now(UTC) + timedelta(days=2)) == [3]
    assert [entry.key.split("/")[1] for entry in store.list("churn/")] == ["ledger", "rollout.json"]


RELEASE = [
    event("found", WHOLE, 0, rollout="", why="nobody had said so"),
    event("intent", A_QUARTER, 10),
    event("done", A_QUARTER, 11),
    event("intent", NEW, 20),
    event("done", NEW, 21),
    event("champion", NEW, 22),
]
KILLED = [*RELEASE[:3], event("intent", NEW, 20)]
FOUND = [*KILLED, event("found", NEW, 30)]
ROLLED_BACK = [*RELEASE[:3], event("intent", NEW, 20), event("intent", WHOLE, 21), event("done", WHOLE, 22)]
TWICE = [event("done", WHOLE, 0), event("found", WHOLE, 5), event("done", WHOLE, 6, rollout="two"), *RELEASE[1:]]
# Of each period: from and until which minute, the split, and the one that perhaps was made instead.
COURSES: dict[str, tuple[list[Event], list[tuple[int, int | None, dict[int, int], dict[int, int]]]]] = {
    "nothing": ([], []),
    "a-release": (RELEASE, [(0, 11, WHOLE, {}), (11, 21, A_QUARTER, {}), (21, None, NEW, {})]),
    "killed": (KILLED, [(0, 11, WHOLE, {}), (11, 20, A_QUARTER, {}), (20, None, A_QUARTER, NEW)]),
    "killed-and-found": (
        FOUND,
        [(0, 11, WHOLE, {}), (11, 20, A_QUARTER, {}), (20, 30, A_QUARTER, NEW), (30, None, NEW, {})],
    ),
    "not-moved-and-rolled-back": (
        ROLLED_BACK,
        [(0, 11, WHOLE, {}), (11, 20, A_QUARTER, {}), (20, 22, A_QUARTER, NEW), (22, None, WHOLE, {})],
    ),
    "said-twice": (TWICE, [(0, 11, WHOLE, {}), (11, 21, A_QUARTER, {}), (21, None, NEW, {})]),
    "begins-with-an-intent": (KILLED[3:], [(20, None, {}, NEW)]),
}


@pytest.mark.parametrize("course", COURSES)
def test_periods_say_who_answered_from_when_to_when(course: str) -> None:
    """What did not change is one period; where nothing tells whether a split was made, both are named."""
    events, expected = COURSES[course]
    found = [
        (
            (period.since - START) / timedelta(minutes=1),
            None if period.until is None else (period.until - START) / timedelta(minutes=1),
            versions(period.shares),
            versions(period.perhaps),
        )
        for period in periods(events)
    ]
    assert found == expected


@pytest.mark.parametrize(
    ("minute", "expected"),
    [
        (-1, None),
        (0, (WHOLE, {})),
        (9.9, (WHOLE, {})),
        (10.5, (WHOLE, A_QUARTER)),
        (11, (A_QUARTER, {})),
        (20.5, (A_QUARTER, NEW)),
        (10_000, (NEW, {})),
    ],
)
def test_a_moment_has_its_answer(minute: float, expected: tuple[dict[int, int], dict[int, int]] | None) -> None:
    """Nobody before the first event; between an intent and what became of it, either of two splits."""
    found = at(RELEASE, START + timedelta(minutes=minute))
    assert (None if found is None else (versions(found.shares), versions(found.perhaps))) == expected


@pytest.mark.parametrize("kind", ["status", "reset", "reset_after_commit"])
def test_faults_of_the_store_are_passed_over(kind: str, cloud: CloudDouble) -> None:
    """An event is written once, whatever happens to the first call and to its answer."""
    store = open_store("gs://models")
    for method in ("storage.objects.insert", "storage.objects.list"):
        cloud.faults.add(kind, method=method)
    written = append(store, "churn", event("done", WHOLE))
    assert read(store, "churn").events == (written,)
    store.close()
