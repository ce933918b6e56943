"""A release as a whole, where somebody or something comes in between, and the way back by hand."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials

from function.store import FileStore, StoreError
from lifecycle import google_apis
from lifecycle.errors import NotReleasable, Overtaken, StoreFailed
from lifecycle.recipe import Rollout, Serving
from lifecycle.rollout import course as course_module
from lifecycle.rollout import ledger
from lifecycle.rollout.cloud_run import CANDIDATE, PREVIOUS, STABLE, Endpoint, Share, State
from lifecycle.rollout.course import Course, Goals, Interrupted, Scene, Wanted
from lifecycle.rollout.lease import Lease
from lifecycle.rollout.release import Options, Place, roll_back, roll_out
from lifecycle.rollout.verdict import read_verdicts
from lifecycle.rollout.view import Lines
from lifecycle.versions import CHALLENGER, CHAMPION, move_alias, read_aliases, read_version
from tests.cloud import CloudDouble
from tests.cloud.api import run_client
from tests.releasing import MODEL, PLACE, SERVICE, found_cloud, make_service, open_endpoint, push_image
from tests.server import ROOT
from tests.toys import TOYS, publish_toy

WHO = "ann@example.com"


@pytest.fixture(scope="module")
def double() -> Iterator[CloudDouble]:
    """Return a cloud that clients find by themselves."""
    with found_cloud() as started:
        yield started


@pytest.fixture
def endpoint(double: CloudDouble, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """Return a service that waits for its first release; its revisions are not started."""
    monkeypatch.setattr(google_apis, "FIRST_WAIT_SECONDS", 0.02)
    make_service(double, health_check_disabled=True)
    with open_endpoint() as opened:
        yield opened
    with run_client(double) as client:
        client.delete_service(name=SERVICE)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """Return a store with three versions of the model."""
    store, toy = FileStore(tmp_path), next(iter(TOYS.values()))()
    for _ in range(3):
        publish_toy(store, MODEL, toy)
    return store


@pytest.fixture
def place(store: FileStore) -> Place:
    """Return where and as whom releases take place."""
    return Place(PLACE, store, AnonymousCredentials(), WHO)


Release = Callable[[int], str]


@pytest.fixture
def release(double: CloudDouble, endpoint: Endpoint, store: FileStore) -> Release:
    """Return what makes a version answer everything, as a release leaves it; it returns the revision."""

    def released(version: int) -> str:
        state = endpoint.read()
        labels = {"model": MODEL, "version": str(version)}
        made = endpoint.deploy(state, push_image(double, str(version)), labels, [Share(state.main, 100, STABLE)])
        name = made.latest_created
        endpoint.move(made, [Share(name, 100, STABLE), Share(state.main, 0, PREVIOUS)])
        move_alias(store, MODEL, CHAMPION, version)
        parts = (ledger.Part(revision=name, version=version, image="x", percent=100),)
        ledger.append(store, MODEL, ledger.Event(rollout="r", kind="done", shares=parts, who=WHO, why="released"))
        return name

    return released


def split(endpoint: Endpoint) -> dict[str, tuple[int, str]]:
    """Return share and tag of each revision that has any."""
    return {share.revision: (share.percent, share.tag) for share in endpoint.read().split}


# The way back by hand


def test_the_placeholder_is_nothing_to_go_back_to(place: Place, endpoint: Endpoint, release: Release) -> None:
    """After a first release, what Terraform made in its place would answer no prediction."""
    first = release(1)
    back = roll_back(place, MODEL, None)
    assert (back.revision, back.version, back.instead_of) == (first, 1, None)
    assert split(endpoint)[first] == (100, STABLE)


def test_the_one_before_answers_again(place: Place, endpoint: Endpoint, release: Release, store: FileStore) -> None:
    """Alias and verdict follow, and doing it again changes nothing."""
    first, second = release(1), release(2)
    back = roll_back(place, MODEL, None)
    assert (back.revision, back.instead_of) == (first, second)
    assert read_aliases(store, MODEL)[CHAMPION] == 1
    assert [one.outcome for one in read_verdicts(store, MODEL, 2)] == ["rolled back"]
    assert roll_back(place, MODEL, None).instead_of is None


def test_what_answers_already_is_not_moved(place: Place, endpoint: Endpoint, release: Release) -> None:
    """Of two revisions of a version, going back to it keeps the one that answers."""
    release(1)
    second = release(2)
    seen = endpoint.read()
    endpoint.roll_back(seen, second)  # makes another revision of it, which nobody asks
    back = roll_back(place, MODEL, 2)
    assert (back.revision, back.instead_of) == (second, None)


def test_of_a_version_the_revision_that_served_is_taken(
    double: CloudDouble, place: Place, endpoint: Endpoint, release: Release
) -> None:
    """A candidate of an interrupted release is newer, and has answered nobody."""
    first = release(1)
    release(2)
    state = endpoint.read()
    labels = {"model": MODEL, "version": "1"}
    endpoint.deploy(state, push_image(double, "other code"), labels, [Share(state.main, 100, STABLE)])
    assert roll_back(place, MODEL, 1).revision == first


class Silent(FileStore):
    """A store that can be read, and takes nothing."""

    def create(self, key: str, content: bytes) -> None:
        """Refuse."""
        raise StoreError("no answer")

    def replace(self, key: str, content: bytes, generation: str | None) -> None:
        """Refuse."""
        raise StoreError("no answer")


def test_a_store_that_does_not_answer_keeps_nobody_with_a_bad_version(
    place: Place, endpoint: Endpoint, release: Release, store: FileStore
) -> None:
    """The traffic goes first; that nothing was written down is said, and the next time it is."""
    first, second = release(1), release(2)
    with pytest.raises(StoreFailed, match=f"{first} answers everything again, but that could not be written down"):
        roll_back(place._replace(store=Silent(store.root)), MODEL, None)
    assert split(endpoint)[first] == (100, STABLE)
    assert read_aliases(store, MODEL)[CHAMPION] == 2
    assert roll_back(place, MODEL, None).revision == first != second
    assert read_aliases(store, MODEL)[CHAMPION] == 1


# What comes in between


@pytest.fixture
def courses(double: CloudDouble, endpoint: Endpoint, store: FileStore, release: Release) -> Callable[..., Course]:
    """Return what begins, or goes on with, a release of version 3 beside version 2, which followed version 1."""
    release(1)
    release(2)
    image = push_image(double, "3")
    leases: list[Lease] = []

    def begin(**more: Any) -> Course:
        for lease in leases:
            lease.give_back()
        leases.append(Lease(store, MODEL, WHO))
        scene = Scene(PLACE, store, endpoint, AnonymousCredentials(), None, Lines(), threading.Event(), WHO)  # type: ignore[arg-type]
        goals = Goals(Rollout(), Serving(), ())
        return Course(scene, Wanted(read_version(store, MODEL, 3), image, "", goals, 1.0, **more), leases[-1])

    return begin


@pytest.mark.parametrize("fault", [KeyError("logName"), OverflowError("timeout"), Interrupted("somebody")], ids=repr)
def test_whatever_ends_a_release_the_traffic_goes_back(
    fault: Exception,
    courses: Callable[..., Course],
    endpoint: Endpoint,
    store: FileStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody would look at the candidate any more; what could be gone back to before still can."""
    as_before = split(endpoint)
    course = courses()

    def halfway() -> None:
        course._give(25)
        raise fault

    monkeypatch.setattr(course, "_rehearse", halfway)
    if isinstance(fault, Interrupted):
        assert course.run().outcome == "interrupted"
    else:
        with pytest.raises(type(fault)):
            course.run()
    assert split(endpoint) == as_before
    assert [one.outcome for one in read_verdicts(store, MODEL, 3)] == ["interrupted"]


def test_a_rollback_by_hand_at_the_last_moment_stands(
    courses: Callable[..., Course],
    endpoint: Endpoint,
    place: Place,
    store: FileStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the release writes that its version is the champion, somebody takes it back: that is what counts."""
    course, moved = courses(), course_module.move_alias
    monkeypatch.setattr(course, "_rehearse", lambda: None)
    monkeypatch.setattr(course, "_climb", lambda: course._give(100))

    def meanwhile(*arguments: Any) -> int | None:
        with monkeypatch.context() as patch:
            patch.setattr(course_module, "move_alias", moved)
            roll_back(place, MODEL, None)
        return moved(*arguments)

    monkeypatch.setattr(course_module, "move_alias", meanwhile)
    with pytest.raises(Overtaken):
        course.run()
    assert read_aliases(store, MODEL)[CHAMPION] == 2
    assert endpoint.revision(endpoint.read().main).version == 2


def test_what_answers_everything_stays_where_its_verdict_cannot_be_written(
    courses: Callable[..., Course], endpoint: Endpoint, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge has let it through; the next run writes down what is missing, and does nothing else."""
    course = courses()

    def climb() -> list[str]:
        course._give(100)
        return []

    def fail(*_: Any) -> str:
        raise StoreError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(course, "_rehearse", lambda: None)
        patch.setattr(course, "_climb", climb)
        patch.setattr(course_module, "write_verdict", fail)
        with pytest.raises(StoreError):
            course.run()
    as_promoted = split(endpoint)
    assert as_promoted[course._kept.candidate] == (100, STABLE)
    again = courses()
    monkeypatch.setattr(course_module, "keep_image", lambda *_: None)
    assert again.run().outcome == "promoted"
    assert split(endpoint) == as_promoted
    assert read_aliases(store, MODEL)[CHAMPION] == 3


@pytest.mark.parametrize("percent", [0, 25, 75])
def test_a_release_whose_stable_tag_is_gone_is_taken_up(
    percent: int, courses: Callable[..., Course], endpoint: Endpoint
) -> None:
    """Both revisions are known without it, and get their tags again."""
    course = courses()
    course._bring_up()
    if percent:
        course._give(percent)
    seen = endpoint.read()
    stable, candidate = seen.tagged(STABLE), seen.tagged(CANDIDATE)
    bare: State = endpoint.move(
        seen, [share._replace(tag="") if share.tag == STABLE else share for share in seen.split]
    )
    assert not bare.tagged(STABLE)
    again = courses()
    again._bring_up()
    assert split(endpoint)[stable] == (100 - percent, STABLE)
    assert split(endpoint)[candidate] == (percent, CANDIDATE)


@pytest.mark.parametrize("kept", [{"newer": 1}, {"rollout": "r", "image": "x", "unknown": {}}], ids=["no", "other"])
def test_what_other_code_kept_is_not_gone_on_with(
    kept: dict[str, Any], courses: Callable[..., Course], endpoint: Endpoint, store: FileStore
) -> None:
    """The candidate that it left is found all the same; that what was seen of it is lost is noted."""
    course = courses()
    course._bring_up()
    candidate = endpoint.read().tagged(CANDIDATE)
    course._lease.keep(kept)
    again = courses()
    assert again._kept.candidate == candidate
    assert again._kept.notes == ("an earlier run brought the candidate here, and what it saw is not known",)


def test_a_step_that_was_changed_by_a_killed_run_begins_anew(
    courses: Callable[..., Course], endpoint: Endpoint
) -> None:
    """Killed between the update and its note: minutes and requests count from the split that there is."""
    course = courses()
    course._bring_up()
    course._give(5)
    noted = course._kept
    course._traffic.move(course._shares(noted.candidate, 25), "a step to 25 %")
    again = courses()
    assert again._kept.percent == 25
    assert again._kept.since > noted.since
    assert again._kept.position is not None
    assert again._kept.position.since == endpoint.read().settled


def test_a_shadow_takes_nobodys_traffic_away(courses: Callable[..., Course], endpoint: Endpoint) -> None:
    """A release that has traffic is not made a shadow, and goes on undisturbed."""
    course = courses()
    course._bring_up()
    course._give(25)
    as_before = split(endpoint)
    with pytest.raises(NotReleasable, match=r"has 25 % of the traffic, and a shadow has none"):
        courses(shadow_minutes=1.0).run()
    assert split(endpoint) == as_before


# What is refused, and said, before anything is done

IMAGES = {
    "a-tag": f"{PLACE.images(MODEL)}:v3-abc",
    "no-digest": PLACE.images(MODEL),
    "another-repository": f"docker.io/evil/churn@sha256:{'0' * 64}",
    "half-a-digest": f"{PLACE.images(MODEL)}@sha256:{'0' * 12}",
}


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_an_image_is_this_models_and_named_by_its_digest(
    image: str, place: Place, endpoint: Endpoint, release: Release
) -> None:
    """What could be moved, or belongs to somebody else, never gets the service's identity."""
    release(1)
    as_before = split(endpoint)
    with pytest.raises(NotReleasable, match="An image is named by its digest"):
        roll_out(place, MODEL, "2", Options(image=image), Lines(), threading.Event())
    assert split(endpoint) == as_before


def test_who_waits_for_another_release_says_so_once(
    place: Place,
    release: Release,
    store: FileStore,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With patience it looks again until that is over; without any it gives up at once."""
    release(1)
    other, looked = Lease(store, MODEL, "bob@example.com"), list[float]()

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            looked.append(timeout or 0.0)
            if len(looked) == 3:
                other.give_back()
            return False

    with pytest.raises(Overtaken):
        roll_out(place, MODEL, None, Options(), Lines(), Stop())
    assert not looked
    with pytest.raises(NotReleasable):  # there is no image of this checkout's code
        roll_out(place, MODEL, None, Options(patience=timedelta(hours=1)), Lines(), Stop())
    assert len(looked) == 3
    assert capsys.readouterr().err.count("waiting until") == 1


def test_a_version_that_is_left_alone_is_said_with_its_reason(
    place: Place, release: Release, store: FileStore, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody rolled it back: the delivery after it says why it is not released, and how it could be."""
    release(1)
    release(2)
    move_alias(store, MODEL, CHALLENGER, 2)
    roll_back(place, MODEL, None)
    with pytest.raises(NotReleasable):  # there is no image of this checkout's code
        roll_out(place, MODEL, None, Options(), Lines(), threading.Event())
    said = capsys.readouterr().err
    assert f"churn: version 2 is left alone ({WHO} rolled it back)" in said
    assert "python -m lifecycle rollout churn 2 --again" in said


# Who interrupts

SCRIPT = """
import signal, sys
from lifecycle.rollout.verbs import _interruptible
from lifecycle.rollout.view import Lines
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts tests in the background has it ignored
with _interruptible(Lines()) as stop:
    print("ready", flush=True)
    print(stop.wait(20), flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_the_first_signal_asks_and_the_second_one_ends(first: signal.Signals) -> None:
    """Ctrl-C, what ends services, and a closed terminal: the traffic goes back; whichever comes next does not wait."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(first)
        assert process.stdout.readline() == "True\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == -signal.SIGTERM
        assert process.stderr is not None
        assert "the traffic goes back to the stable revisions" in process.stderr.read()
