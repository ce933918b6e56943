"""Two revisions asked the same recent questions: disagreement, refusals and latency, and what refuses a version."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.auth.credentials import AnonymousCredentials
from sklearn.linear_model import LinearRegression

from function.contract import Feature, Manifest, Privacy
from function.store import FileStore
from lifecycle.frames import raw_instances
from lifecycle.pinning import write_pin
from lifecycle.recipe import Rollout
from lifecycle.rollout.filling import fill
from lifecycle.rollout.reads import Reads
from lifecycle.rollout.replay import Latency, Replayed, Share, Versions, judge_replay, read_versions, replay
from lifecycle.rollout.signals import Before, Recorded, Watched, before
from lifecycle.versions import Version
from tests.cloud import CloudDouble
from tests.cloud.logging.entries import Origin
from tests.endpoints import REGION
from tests.server import Server
from tests.test_rollout_examination import Twisted, open_calls
from tests.toys import Toy, binary, mixed_frame, publish_toy, regression

NOTHING = Privacy()
REAL = {"stable", "contrary", "number", "shifted"}
ASKED = 24  # instances, unless a test needs more


def contrary() -> Toy:
    """Answer members the other way round."""
    frame, toy = mixed_frame(), binary()
    label = np.where(frame.member, np.where(frame.label == "yes", "no", "yes"), frame.label)
    return Toy(toy.pipeline.fit(frame.drop(columns="label"), label), frame.assign(label=label), ["label"])


def without_bern(feature: Feature) -> Feature:
    """Know one city less."""
    return feature.model_copy(update={"categories": ("Genève", "Zürich")}) if feature.name == "city" else feature


def with_signature(version: Version, features: Iterable[Feature]) -> Version:
    """Return a version as it would be with other features, served as it is."""
    signature = version.manifest.signature.model_copy(update={"features": tuple(features)})
    return version._replace(manifest=version.manifest.model_copy(update={"signature": signature}))


def shifted_number() -> Toy:
    """Predict a little more than the regression toy for everybody."""
    toy = regression()
    return Toy(LinearRegression().fit(toy.frame[["age"]], toy.frame.income + 10), toy.frame, ["income"])


class Places:
    """Versions of a model, each served by a real process as soon as somebody asks for its address."""

    def __init__(self, store: FileStore, folder: Path) -> None:
        self.store = store
        self.versions: dict[str, Version] = {}
        self._folder = folder
        self._servers: dict[str, Server] = {}

    def publish(self, name: str, toy: Callable[[], Toy], model: str = "binary") -> Version:
        """Publish a version."""
        self.versions[name] = publish_toy(self.store, model, toy())
        return self.versions[name]

    def server(self, name: str) -> Server:
        """Return the process that serves a version; those that differ by their signature alone have the stable one."""
        name = name if name in REAL else "stable"
        if name not in self._servers:
            folder = self._folder / name
            pin = write_pin(self.versions[name], folder)
            server = Server({"MODEL_STORE": self.store.url, "PIN_FILE": str(pin)}, folder)
            self._servers[name] = server.__enter__()
        return self._servers[name]

    def close(self) -> None:
        """End every process."""
        for server in self._servers.values():
            server.close()


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """Return the versions of this module: the stable one, and candidates of every kind."""
    opened = Places(FileStore(tmp_path_factory.mktemp("versions")), tmp_path_factory.mktemp("servers"))
    stable = opened.publish("stable", binary)
    features = stable.manifest.signature.features
    opened.versions["same"] = stable
    opened.versions["narrow"] = with_signature(stable, map(without_bern, features))
    opened.versions["wide"] = with_signature(stable, [*features, features[0].model_copy(update={"name": "height"})])
    opened.publish("contrary", contrary)
    opened.publish("number", regression, "regression")
    opened.publish("shifted", shifted_number, "regression")
    yield opened
    opened.close()


def recorded(version: Version, frame: Any, count: int = ASKED, privacy: Privacy = NOTHING) -> list[Recorded]:
    """Return rows of a frame as prediction records hold them."""
    rows = raw_instances(frame.head(count), version.manifest.signature.features)
    kept = [{name: value for name, value in row.items() if name not in privacy.omit} for row in rows]
    hashed = [{name: "0a1b" * 8 if name in privacy.hash else value for name, value in row.items()} for row in kept]
    return [Recorded(row, version.manifest.version) for row in hashed]


def replayed(
    places: Places,
    candidate: str,
    stable: str = "stable",
    *,
    privacy: Privacy = NOTHING,
    between: Twisted | None = None,
    instances: list[Recorded] | None = None,
    count: int = ASKED,
    **options: Any,
) -> Replayed:
    """Return what a replay of the training rows to two versions gives."""
    old, new = places.versions[stable], places.versions[candidate]
    versions = read_versions(places.store, old, new)
    manifests = [manifest.model_copy(update={"privacy": privacy}) for manifest in versions[:2]]
    versions = Versions(*manifests, versions.reference)
    if instances is None:
        frame = regression().frame if stable == "number" else mixed_frame()
        instances = recorded(old, frame, count, privacy)
    at = places.server(stable).url
    to = between.url if between else places.server(candidate).url
    with open_calls(at) as calls:
        return replay(calls, at, to, versions, instances, **options)


@pytest.fixture
def twisted(places: Places) -> Iterator[Twisted]:
    """Return a server between the replay and the candidate that is like the stable version."""
    between = Twisted(places.server("same"))
    yield between
    between.close()


def test_the_same_version_agrees(places: Places) -> None:
    """Two equal versions answer every instance alike, nothing is refused, and nothing speaks against the candidate."""
    result = replayed(places, "same", by=["city", "age"])
    assert result.compared == Share(ASKED, 0)
    assert (result.low, round(result.high, 3)) == (0.0, 0.142)
    assert result.moves == {"0.5": 0.0, "0.9": 0.0, "0.99": 0.0, "1.0": 0.0}
    assert (result.refused_by_candidate, result.refused_by_stable, result.cannot_be_asked) == (0, 0, {})
    assert (result.failed_candidate, result.failed_stable, result.notes, result.made_up) == (0, 0, (), ())
    assert judge_replay(result, 0.0) == []


def test_latency_is_told_by_pairs(places: Places) -> None:
    """Each instance is a pair of calls; the ratio has its interval around it."""
    latency = replayed(places, "same").latency
    assert latency is not None
    assert latency.pairs == ASKED
    assert 0 < latency.low <= latency.ratio <= latency.high
    assert min(latency.stable_ms, latency.candidate_ms) > 0


def test_disagreement_is_found_where_it_is(places: Places) -> None:
    """A version that answers members otherwise differs there and hardly elsewhere, and is refused."""
    result = replayed(places, "contrary", by=["city", "age"], count=60)
    members, others = result.slices["member"]["True"], result.slices["member"]["False"]
    assert members.differing / members.asked > 0.5 > others.differing / others.asked
    assert sum(share.asked for share in result.slices["city"].values()) == 60
    assert set(result.slices["age"]) == {f"quarter {number}" for number in (1, 2, 3, 4)}
    assert "income" not in result.slices
    assert result.compared.differing == sum(share.differing for share in result.slices["plan"].values())
    (reason,) = judge_replay(result, 0.1)
    assert f"{result.compared.differing} of 60 replayed requests are answered otherwise" in reason
    assert judge_replay(result, 1.0) == []


def test_the_largest_moves_are_shown_without_what_is_private(places: Places) -> None:
    """The answers that moved most come with their instance and both answers; private features are not shown."""
    privacy = Privacy(omit=("city",), hash=("plan",))
    result = replayed(places, "contrary", privacy=privacy)
    sizes = [move.size for move in result.largest]
    assert len(sizes) == 10
    assert sizes == sorted(sizes, reverse=True)
    assert result.moves["1.0"] == sizes[0] > 0.3
    first = result.largest[0]
    assert set(first.instance) == {"age", "income", "member"}
    assert first.stable["values"] != first.candidate["values"]
    json.dumps(result._asdict(), allow_nan=False)


def test_what_records_lack_is_made_up_alike_and_named(places: Places) -> None:
    """Features that are left out or hashed get values of the training data's distribution, the same for both sides."""
    privacy = Privacy(omit=("city",), hash=("plan", "income"))
    instances = recorded(places.versions["stable"], mixed_frame(), privacy=privacy)
    bodies: list[Any] = []
    between = Twisted(places.server("same"))
    between.change = lambda verb, path, body, answer: bodies.append(json.loads(body)["instances"][0]) or answer
    try:
        result = replayed(places, "same", privacy=privacy, between=between, instances=instances)
    finally:
        between.close()
    assert result.made_up == ("city", "income", "plan")
    assert result.compared == Share(ASKED, 0)
    assert not {"city", "plan"} & set(result.slices)
    assert {body["city"] for body in bodies} == {"Bern", "Genève", "Zürich"}
    assert {body["plan"] for body in bodies} == {"free", "paid"}
    assert all("0a1b" not in json.dumps(body) for body in bodies)
    again = replayed(places, "same", privacy=privacy, instances=instances)
    assert again.largest[0].instance == result.largest[0].instance


def test_a_hash_of_nothing_stays_nothing(places: Places) -> None:
    """A hashed feature that was missing is asked as missing: there is nothing to make up."""
    instance = {"age": 40, "income": None, "city": "Bern", "member": True, "plan": "paid"}
    result = replayed(places, "same", privacy=Privacy(hash=("income",)), instances=[Recorded(instance, 1)])
    assert (result.compared.asked, result.made_up) == (1, ())


EMPTY = {
    "no-records": (NOTHING, [], "no prediction record of late"),
    "all-private": (Privacy(omit=("age", "income", "city", "member", "plan")), None, "privacy keeps all of them out"),
}


@pytest.mark.parametrize(("privacy", "instances", "note"), EMPTY.values(), ids=EMPTY)
def test_nothing_to_replay_says_why(places: Places, privacy: Privacy, instances: Any, note: str) -> None:
    """Where no record can be replayed, the result is empty and says why, and refuses nobody."""
    result = replayed(places, "same", privacy=privacy, instances=instances)
    assert result == Replayed(notes=result.notes)
    assert note in result.notes[0]
    assert judge_replay(result, 0.0) == []


def test_versions_that_predict_different_things_are_not_compared(places: Places) -> None:
    """A classifier and a regression have nothing that could be compared."""
    result = replayed(places, "number", instances=[Recorded({"age": 40}, 1)])
    assert result.notes == ("nothing was replayed: the two versions predict different things",)


def test_an_unknown_category_cannot_be_asked_and_is_a_finding(places: Places) -> None:
    """A candidate that knows a category less refuses what is answered today, and is refused for it."""
    result = replayed(places, "narrow")
    bern = int((mixed_frame().head(ASKED).city == "Bern").sum())
    assert result.cannot_be_asked == {'city: one of "Genève", "Zürich" is expected': bern}
    assert (result.refused_by_candidate, result.refused_by_stable) == (bern, 0)
    assert result.compared.asked == ASKED - bern
    assert any(f"it refuses {bern} replayed requests" in reason for reason in judge_replay(result, 1.0))


def test_a_new_required_field_cannot_be_asked(places: Places) -> None:
    """A candidate that wants a field which no record has can be asked nothing, and the result says so."""
    result = replayed(places, "wide")
    assert sum(result.cannot_be_asked.values()) == result.refused_by_candidate == ASKED
    assert result.compared.asked == 0
    assert "nothing was compared: no instance was answered by both revisions" in result.notes
    assert len(judge_replay(result, 1.0)) == 1


def test_what_only_the_candidate_takes_speaks_for_it(places: Places) -> None:
    """A candidate that takes more than the stable version is not refused for that."""
    instances = recorded(places.versions["stable"], mixed_frame())
    result = replayed(places, "stable", "narrow", instances=instances)
    assert result.refused_by_stable > 5
    assert result.refused_by_candidate == 0
    assert judge_replay(result, 1.0) == []


def test_a_candidate_that_refuses_more_than_its_signature_says_is_found(places: Places, twisted: Twisted) -> None:
    """Refusals that only the candidate's answers tell count as well."""
    twisted.change = lambda verb, path, body, answer: (422, {"error": {}}) if b"Bern" in body else answer
    result = replayed(places, "same", between=twisted)
    assert result.cannot_be_asked == {}
    assert result.refused_by_candidate > 5
    assert len(judge_replay(result, 1.0)) == 1


BROKEN: dict[str, tuple[int, Any]] = {
    "5xx": (503, {"error": {}}),
    "no-predictions": (200, {}),
    "a-list": (200, []),
    "odd-probabilities": (200, {"predictions": ["yes"], "probabilities": ["?"]}),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_a_candidate_that_fails_is_refused(places: Places, twisted: Twisted, answer: tuple[int, Any]) -> None:
    """An answer that is none refuses the candidate, whatever else was compared."""
    twisted.change = lambda verb, path, body, real: answer
    result = replayed(places, "same", between=twisted)
    assert result.failed_candidate >= 2
    assert result.failed_stable == 0
    assert judge_replay(result, 1.0) == [f"it failed to answer {result.failed_candidate} replayed requests"]


def test_it_ends_before_an_alert(places: Places, twisted: Twisted) -> None:
    """After two failures nothing more is asked."""
    twisted.change = lambda verb, path, body, answer: (500, {"error": {}})
    result = replayed(places, "same", between=twisted)
    assert len(twisted.asked) == result.failed_candidate == 2
    assert "an alert counts three" in result.notes[0]


def test_it_ends_when_its_time_is_up(places: Places) -> None:
    """A replay takes no longer than it may, and says how far it came; it asks no more than it may either."""
    result = replayed(places, "same", seconds=0.0)
    assert result.compared.asked == 0
    assert result.notes[0] == f"the time was up after 0 of {ASKED} instances"
    assert replayed(places, "same", most=7).compared.asked == 7


def test_sides_are_asked_in_an_order_of_chance(places: Places) -> None:
    """Either revision comes first about as often."""
    order: list[str] = []
    sides = {name: Twisted(places.server("same")) for name in ("stable", "candidate")}
    for name, side in sides.items():
        side.change = lambda verb, path, body, answer, name=name: order.append(name) or answer
    manifest = places.versions["same"].manifest
    instances = recorded(places.versions["same"], mixed_frame())
    with open_calls("a") as calls:
        urls = [side.url for side in sides.values()]
        replay(calls, *urls, Versions(manifest, manifest, None), instances)
    for side in sides.values():
        side.close()
    assert 5 <= order[::2].count("stable") <= ASKED - 2
    assert sides["stable"].asked == sides["candidate"].asked


def test_numbers_that_moved_are_found(places: Places) -> None:
    """A number that moved by more than a tenth of the training data's standard deviation is another answer."""
    result = replayed(places, "shifted", "number")
    deviation = read_versions(places.store, places.versions["number"], places.versions["shifted"]).reference
    spread = deviation.targets["income"].deviation
    assert result.compared.differing == result.compared.asked == ASKED
    assert result.moves["0.5"] == pytest.approx(10 / spread, rel=1e-6)
    assert len(judge_replay(result, 0.1)) == 1


JUDGED: dict[str, tuple[Replayed, float, int]] = {
    "nothing": (Replayed(), 0.1, 0),
    "below-the-limit": (Replayed(Share(200, 15), 0.042, 0.121), 0.1, 0),
    "above-it-within-noise": (Replayed(Share(20, 4), 0.057, 0.437), 0.1, 0),
    "above-it-beyond-noise": (Replayed(Share(200, 40), 0.147, 0.262), 0.1, 1),
    "few-refusals": (Replayed(refused_by_candidate=5), 0.1, 0),
    "refusals": (Replayed(refused_by_candidate=6), 0.1, 1),
    "refusals-of-both": (Replayed(refused_by_candidate=20, refused_by_stable=15), 0.1, 0),
    "failures-of-the-stable-one": (Replayed(failed_stable=2), 0.1, 0),
    "a-failure": (Replayed(failed_candidate=1), 0.1, 1),
    "everything": (Replayed(Share(9, 9), 0.66, 1.0, refused_by_candidate=9, failed_candidate=2), 0.1, 3),
    "slower": (Replayed(latency=Latency(200, 9.0, 8.0, 10.0, 1.0, 9.0)), 0.1, 0),
}


@pytest.mark.parametrize(("result", "limit", "reasons"), JUDGED.values(), ids=JUDGED)
def test_what_refuses_a_candidate(result: Replayed, limit: float, reasons: int) -> None:
    """Only what is beyond noise, and any failure, speaks against a candidate."""
    assert len(judge_replay(result, limit)) == reasons


def test_the_limit_is_the_models_own() -> None:
    """The limit stands in model.yaml, a tenth where nobody says otherwise."""
    assert Rollout().disagreement == 0.1


def test_made_up_values_are_spread_as_in_training(places: Places) -> None:
    """Categories are as frequent as in the training data, numbers are within its range, and some are missing."""
    versions = read_versions(places.store, places.versions["stable"], places.versions["same"])
    chance = random.Random(1)

    def drawn(name: str) -> list[Any]:
        return [fill(versions.features[name], versions.reference.features[name], chance) for _ in range(2000)]

    frame = mixed_frame()
    cities = Counter(drawn("city"))
    assert {city: round(count / 2000, 1) for city, count in cities.items()} == {
        city: round(share, 1) for city, share in frame.city.value_counts(normalize=True).items()
    }
    ages = drawn("age")
    assert (type(ages[0]), min(ages) >= frame.age.min(), max(ages) <= frame.age.max()) == (int, True, True)
    assert abs(np.median(ages) - frame.age.median()) < 5
    incomes = drawn("income")
    assert abs(incomes.count(None) / 2000 - frame.income.isna().mean()) < 0.03
    assert set(drawn("member")) == {True, False}


def test_without_a_summary_the_example_is_taken(places: Places) -> None:
    """A feature that the summary does not have is asked with its example."""
    feature = places.versions["stable"].manifest.signature.features[0]
    assert fill(feature, None, random.Random(1)) == feature.example


def test_records_of_real_requests_are_replayed(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """From callers' requests over their records to a replay, whose own records are checks that nobody replays again."""
    stable, server = places.versions["stable"], places.server("stable")
    old = Origin("local-project", REGION, "pilot-binary", "pilot-binary-00001-abc", "0a1b")
    watched = Watched(old.project, REGION, old.service, "pilot-binary-00002-def", old.revision, {})
    known = len(server.records("prediction"))
    for one in recorded(stable, mixed_frame(), 12):
        assert server.client.post("/predict", json=one.features).status_code == 200
    server.wait_for_records("prediction", known + 12)
    with CloudDouble() as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        for line in list(server.lines):
            cloud.signals.line(old, "stdout", line.decode())
        with Reads(cloud.project, AnonymousCredentials()) as reads:
            past = before(reads, watched, datetime.now(UTC) + timedelta(seconds=1))
    assert isinstance(past, Before)
    assert len(past.answers) == len(past.instances) == known + 12
    result = replayed(places, "same", instances=list(past.instances[:12]))
    assert result.compared == Share(12, 0)
    assert len(server.records("prediction")) == known + 12


def test_manifests_without_a_reference_still_replay(places: Places) -> None:
    """Where reference.json cannot be read, answers are their own measure."""
    manifest: Manifest = places.versions["number"].manifest
    instances = recorded(places.versions["number"], regression().frame, 20)
    with open_calls("a") as calls:
        at, to = places.server("number").url, places.server("shifted").url
        result = replay(calls, at, to, Versions(manifest, manifest, None), instances)
    assert result.compared == Share(20, 20)
