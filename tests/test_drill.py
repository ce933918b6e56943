"""The drill: its instruments see what callers meet, and its images do to callers what their names say."""

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from google.api_core.exceptions import FailedPrecondition

from function.contract import CHECK_AGENT
from lifecycle.rollout.refusals import Refusal
from tests.cloud import oauth
from tests.drill import candidates
from tests.drill.cases import CASES, STARTUP_SECONDS, of_image
from tests.drill.endpoint import CALLER, Endpoint, open_endpoint
from tests.drill.load import AGENT, NO_ANSWER, Load
from tests.drill.trial import REJECTED, Ending, release, report, staged, until
from tests.drill.trials import SHORT, TRIALS
from tests.drill.verbs import Done

QUICK_RATE, QUICK_MINUTES = 120.0, 0.03  # enough requests within steps that take seconds


def test_a_bad_release_that_stays_is_found() -> None:
    """Half of the traffic left with a bad image: every share of it is named, and whose requests failed."""
    with staged(CASES["errors-for-callers"]._replace(rate=100)) as stage:
        endpoint = stage.endpoint
        bad = of_image("errors_for_callers")(endpoint)
        candidate = endpoint.release_by_hand(bad, percent=50)
        until(lambda: any(answer.failed for answer in stage.callers.answers()), "a caller meets an error")
        expected = Ending(REJECTED, endpoint.stable, frozenset({Refusal.ERRORS}))
        found = report(stage, "left alone", expected, Done(0, None, "all is well", 1.0))
        answered = endpoint.revisions()
        with endpoint.callers(100) as callers:
            mistaken = stage._replace(callers=callers, stable=candidate)
            until(lambda: any(answer.failed for answer in callers.answers()), "a caller meets an error")
            other = report(mistaken, "the other way round", expected, Done(REJECTED, None, "", 1.0))
    assert found.met.requests == Counter(answered.values())[candidate] > 0
    assert set(found.met.failed) == {candidate}
    kinds = ("exit code 0, expected 10", "no verdict", f"the template has {bad.image}", "the traffic is split")
    kinds += (f"{candidate} answers with {bad}", f"{candidate} answers, expected {stage.stable}")
    assert [any(fault.startswith(kind) for fault in found.faults) for kind in kinds] == [True] * len(kinds), found
    assert len(found.faults) == len(kinds)
    assert any(fault.endswith(f"requests failed that went to {candidate}") for fault in other.faults), other


def test_a_connection_that_breaks_is_noted(tmp_path: Path) -> None:
    """A request that nobody answered has failed, and the next one asks on a new connection."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        accepted: list[socket.socket] = []

        def hang_up() -> None:
            for _ in range(2):
                accepted.append(nobody.accept()[0])
                accepted[-1].recv(1)
                accepted[-1].close()

        hanging_up = threading.Thread(target=hang_up)
        hanging_up.start()
        notes = tmp_path / "notes"
        with Load(f"http://127.0.0.1:{nobody.getsockname()[1]}", "", ["{}"], 100, notes, connections=1) as callers:
            answers = until(lambda: callers.answers()[1:], "two requests end")
            hanging_up.join()
    assert [(answer.status, answer.failed, answer.version) for answer in answers][:1] == [(NO_ANSWER, True, 0)]


@pytest.mark.parametrize("name", SHORT)
def test_bad_releases_are_taken_back_and_good_ones_promoted(name: str) -> None:
    """The drill in short: the right one decides, what was stable fails nobody, and nothing of a bad release is left."""
    case = CASES[name]._replace(rate=QUICK_RATE, minutes=QUICK_MINUTES)
    found = release(case)
    assert found.faults == ()
    assert found.ended in (("promoted",) if case.good else ("refused", "rolled back"))
    assert found.met.requests or found.ended == "refused"


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [name for name in TRIALS if name not in SHORT])
def test_every_other_trial_ends_as_it_must(name: str) -> None:
    """The rest of the drill: every bad image and version, and releases that are killed, disturbed and contested."""
    assert TRIALS[name]().faults == ()


class Behaviour(NamedTuple):
    """What an agent meets: statuses, predicted classes, and whether probabilities are the stable image's."""

    statuses: set[int]
    classes: set[str]
    honest: bool
    killed: bool  # whether the platform ended an instance meanwhile


GOOD = Behaviour({200}, {"No", "Yes"}, honest=True, killed=False)
FAILING = GOOD._replace(statuses={200, 500})
# What checks and what callers meet.
BEHAVIOUR = {
    "golden": (GOOD._replace(honest=False), GOOD._replace(honest=False)),
    "errors": (FAILING, FAILING),
    "errors_for_callers": (GOOD, FAILING),
    "one_class": (GOOD, GOOD._replace(classes={"No"})),
    "slow": (GOOD, GOOD),
    "leak": (GOOD, GOOD._replace(killed=True)),
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    """Return an endpoint for one image after the other."""
    with open_endpoint(memory_mib=512, startup_seconds=STARTUP_SECONDS) as opened:
        yield opened


@pytest.fixture(scope="module")
def probabilities(endpoint: Endpoint) -> list[Any]:
    """Return what the stable image answers."""
    found: list[Any] = ask(endpoint, AGENT, 1)[0].json()["probabilities"]
    return found


def ask(endpoint: Endpoint, agent: str, count: int) -> list[httpx2.Response]:
    """Return the answers to the same hundred instances, asked again and again."""
    token = oauth.identity_token(CALLER, endpoint.url)
    headers = {"Authorization": f"Bearer {token}", "User-Agent": agent, "Content-Type": "application/json"}
    with httpx2.Client(base_url=endpoint.url, headers=headers, trust_env=False, timeout=30) as client:
        return [client.post("/predict", content=candidates.bodies(100)[0]) for _ in range(count)]


@pytest.mark.long
@pytest.mark.parametrize("fault", BEHAVIOUR)
def test_images_are_as_bad_as_their_names(fault: str, endpoint: Endpoint, probabilities: list[Any]) -> None:
    """Each fault shows to callers, and to checks where it does not hide from them."""
    endpoint.release_by_hand(of_image(fault)(endpoint))
    for agent, expected in zip((f"{CHECK_AGENT}/1", AGENT), BEHAVIOUR[fault], strict=True):
        answers = ask(endpoint, agent, 100)
        good = [answer.json() for answer in answers if answer.status_code == 200]
        classes = {label for answer in good for label in answer["predictions"]}
        honest = all(answer["probabilities"] == probabilities for answer in good)
        killed = bool(endpoint.cloud.signals.entries.find('textPayload:"Memory limit of 512 MiB exceeded"'))
        assert Behaviour({answer.status_code for answer in answers}, classes, honest, killed) == expected, agent


@pytest.mark.long
@pytest.mark.parametrize("fault", ["broken", "crash"])
def test_images_that_do_not_start_never_answer(fault: str, endpoint: Endpoint) -> None:
    """Cloud Run makes a revision that cannot serve, and whoever answered goes on."""
    before = endpoint.split()
    with pytest.raises(FailedPrecondition, match="failed the configured startup probe checks"):
        endpoint.release_by_hand(of_image(fault)(endpoint))
    assert endpoint.split() == before
