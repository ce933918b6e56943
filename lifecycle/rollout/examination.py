"""Asks a candidate without traffic what is known already: its version, golden examples, and bodies that are wrong."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from google.cloud import logging

from function.contract import GOLDEN, Feature, GoldenExample, Signature
from function.dialects.json_body import OUTPUTS, available_outputs
from function.model import agree, read_golden
from function.store import Store
from lifecycle.pinning import read_whole
from lifecycle.rollout.calls import JSON, Called, Calls, Spent
from lifecycle.rollout.reads import NotRead, Reads, quoted
from lifecycle.rollout.refusals import Refusal
from lifecycle.versions import Version

# A version's load replays its golden examples together, too: another number of rows may change the last bits.
BATCH = 40
DEEP = 1_030  # lists in each other; no JSON reader here goes beyond 1,024
FAULTS_SHOWN = 3  # of golden examples; they mostly have one cause
COLD_START_TRIES, COLD_START_SECONDS = 10, 2.0  # a record can be read some seconds after it was printed
# A value of each type that no feature of it takes.
WRONG = {"integer": "a word", "number": "a word", "boolean": "perhaps", "text": 5, "datetime": 5}


class BadBody(NamedTuple):
    """A request that must be refused, and how."""

    name: str
    body: bytes
    status: int
    code: str
    media_type: str = JSON
    path: str = "/predict"


class ColdStart(NamedTuple):
    """How long a revision took to load its version, and where the time went."""

    source: str  # of the bytes: the store, or the image
    total_ms: float
    import_ms: float
    fetch_ms: float
    verify_ms: float
    load_ms: float
    replay_ms: float


class Examined(NamedTuple):
    """What was asked and what was wrong with the answers; without faults the candidate passed."""

    faults: tuple[str, ...]
    golden: int  # examples that were compared
    bodies: tuple[str, ...]  # names of the wrong ones that were sent
    golden_ms: float  # of the last batch of golden examples, and so without what a first call costs
    heading: Refusal | None = None  # what the first fault is about


def examine(calls: Calls, address: str, store: Store, version: Version) -> Examined:
    """Return what a candidate, at its tag's address, answers to what is known of its version.

    It ends early rather than let a third call fail.
    """
    course = _Course(calls, address, version)
    signature = version.manifest.signature
    content = read_whole(store, version, GOLDEN)
    examples = [] if content is None else read_golden(content)
    course.ask(Refusal.OTHER_VERSION, course.identify)
    if content is None:
        course.faults.append(f"{GOLDEN} of {_name(version)} is not what was published")
    course.ask(Refusal.GOLDEN, lambda: course.replay(examples))
    bodies = bad_bodies(signature, _example(examples, signature))
    course.ask(Refusal.BAD_BODIES, lambda: course.provoke(bodies))
    return Examined(tuple(course.faults), course.golden, tuple(course.bodies), course.golden_ms, course.heading)


def read_cold_start(reads: Reads, revision: str, wait: Callable[[float], None] = time.sleep) -> ColdStart | None:
    """Return the latest load of a revision from its record; None where there is none, or it cannot be read."""
    wanted = f'resource.type="cloud_run_revision" AND resource.labels.revision_name={quoted(revision)}'
    wanted += ' AND jsonPayload.kind="load" AND timestamp>="1970-01-01T00:00:00Z"'  # else the library asks for a day
    for attempt in range(COLD_START_TRIES):
        try:
            if found := reads.entries(wanted, 1, order=logging.DESCENDING):
                return ColdStart(**{name: found[0].payload[name] for name in ColdStart._fields})
        except NotRead:
            pass  # a measure, which the release does not depend on
        if attempt + 1 < COLD_START_TRIES:
            wait(max(COLD_START_SECONDS, reads.budget.pause(1)))
    return None


def bad_bodies(signature: Signature, example: Mapping[str, Any]) -> list[BadBody]:
    """Return requests that a model with this signature must refuse; `example` is an instance that it takes."""
    return [*_unread(signature, example), *_of_instances(signature, example)]


def _unread(signature: Signature, example: Mapping[str, Any]) -> Iterator[BadBody]:
    """Yield what is no request for predictions, whatever the model."""
    yield BadBody("no JSON", b'{"instances": [', 400, "malformed_json")
    yield BadBody("an empty body", b"", 400, "malformed_json")
    yield BadBody("no UTF-8", b'{"instances": ["\xff"]}', 400, "malformed_json")
    yield BadBody("too deep", b'{"instances": ' + b"[" * DEEP + b"]" * DEEP + b"}", 400, "malformed_json")
    yield BadBody("a text", b'"instances"', 400, "invalid_body")
    yield BadBody("an empty list", b'{"instances": []}', 400, "invalid_body")
    if "instances" not in signature.names:  # else it is the feature, and others are missing
        yield BadBody("no list", b'{"instances": 5}', 400, "invalid_body")
    asking = orjson.dumps({"instances": [example], "parameters": {"outputs": ["nonsense"]}})
    yield BadBody("an unknown output", asking, 400, "invalid_body")
    yield BadBody("an unknown media type", b"x", 415, "unsupported_media_type", "application/x-nonsense")
    yield BadBody("an unknown path", b"{}", 404, "unknown_path", path="/no-such-path")


def _of_instances(signature: Signature, example: Mapping[str, Any]) -> Iterator[BadBody]:
    """Yield instances that do not fit the signature."""
    unknown = "no_such_feature" + "_" * len(signature.features)
    instances: dict[str, Any] = {
        "no object": 5,
        "no features": {},
        "an unknown field": {**example, unknown: 1},
        "a missing field": {name: example[name] for name in list(example)[1:]},
        "too many values": [*example.values(), 1],
        "an object for a value": {**example, signature.features[0].name: {"a": 1}},
    }
    for kind, feature in {feature.type: feature for feature in reversed(signature.features)}.items():
        instances[f"a wrong value for a feature of type {kind}"] = {**example, feature.name: WRONG[kind]}
    if needed := next((feature for feature in signature.features if not feature.nullable), None):
        instances["null where a value is needed"] = {**example, needed.name: None}
    if known := next(filter(_refuses_categories, signature.features), None):
        instances["an unknown category"] = {**example, known.name: f"none of {len(known.categories or ())}"}
    for name, instance in instances.items():
        yield BadBody(name, orjson.dumps({"instances": [instance]}), 422, "invalid_instances")


class _Course:
    """One examination under way."""

    def __init__(self, calls: Calls, address: str, version: Version) -> None:
        self._calls = calls
        self._address = address
        self._version = version
        self.faults: list[str] = []
        self.bodies: list[str] = []
        self.golden = 0
        self.golden_ms = 0.0
        self.heading: Refusal | None = None

    def ask(self, about: Refusal, questions: Callable[[], None]) -> None:
        """Ask until calls have failed as often as they may; note what the first fault of all was about."""
        try:
            questions()
        except Spent as spent:
            self.faults += [] if str(spent) in self.faults else [str(spent)]
        if self.faults and self.heading is None:
            self.heading = about

    def identify(self) -> None:
        """Ask which version answers, and with which engine."""
        manifest = self._version.manifest
        called = self._calls.get(f"{self._address}/model")
        said = _json(called)
        expected = {"model": manifest.model, "version": manifest.version, "engine": manifest.engine}
        if called.status != 200 or not isinstance(said, dict):
            self.faults.append(f"GET /model: expected 200, found {called.said}")
            return
        for name, value in expected.items():
            if said.get(name) != value:
                self.faults.append(f"GET /model: the {name} is {said.get(name)!r}, expected {value!r}")

    def replay(self, examples: Sequence[GoldenExample]) -> None:
        """Hold answers to what the fitted pipeline gave when the version was made."""
        faults: list[str] = []
        for start in range(0, len(examples), BATCH):
            faults += self._replay(examples[start : start + BATCH], start)
        self.faults += faults[:FAULTS_SHOWN]
        if len(faults) > FAULTS_SHOWN:
            self.faults.append(f"and {len(faults) - FAULTS_SHOWN} more golden examples are answered otherwise")

    def _replay(self, examples: Sequence[GoldenExample], first: int) -> Iterator[str]:
        signature = self._version.manifest.signature
        parameters = {"outputs": available_outputs(signature)}
        body = orjson.dumps({"instances": [one.instance for one in examples], "parameters": parameters})
        called = self._calls.post(f"{self._address}/predict", body)
        if called.status == 413 and len(examples) > 1:  # MAX_INSTANCES is the endpoint's own
            half = len(examples) // 2
            yield from self._replay(examples[:half], first)
            yield from self._replay(examples[half:], first + half)
            return
        said, self.golden_ms = _json(called), called.ms
        if called.status != 200 or not isinstance(said, dict):
            yield f"golden examples: expected 200, found {called.said}"
            return
        self.golden += len(examples)
        for word in parameters["outputs"]:
            found = said.get(word)
            answers = found if isinstance(found, list) and len(found) == len(examples) else [None] * len(examples)
            magnitudes = signature.magnitudes.get(OUTPUTS[word], ())
            for index, (answer, example) in enumerate(zip(answers, examples, strict=True), first):
                recorded = example.outputs[OUTPUTS[word]]
                if not agree(_as_recorded(answer, recorded), recorded, magnitudes):
                    yield f"golden example {index}: {word}: found {_short(answer)}, recorded {_short(recorded)}"

    def provoke(self, bodies: Sequence[BadBody]) -> None:
        """Send what must be refused, and hold the refusals to what is documented."""
        for bad in bodies:
            called = self._calls.post(self._address + bad.path, bad.body, bad.media_type)
            self.bodies.append(bad.name)
            said = _json(called)
            error = said.get("error") if isinstance(said, dict) else None
            code = error.get("code") if isinstance(error, dict) else None
            if (called.status, code) != (bad.status, bad.code):
                self.faults.append(f"{bad.name}: expected {bad.status} {bad.code}, found {called.said}")


def _as_recorded(answer: Any, recorded: Any) -> Any:
    """Return an answer in the form of an engine's row: without class names, of a chain the second class's alone."""
    if isinstance(answer, dict):
        values = list(answer.values())
        return values[-1] if isinstance(recorded, float) else values
    if isinstance(answer, list) and isinstance(recorded, list) and len(answer) == len(recorded):
        return [_as_recorded(one, known) for one, known in zip(answer, recorded, strict=True)]
    return answer


def _json(called: Called) -> Any:
    try:
        return orjson.loads(called.content)
    except orjson.JSONDecodeError:
        return None


def _example(examples: Sequence[GoldenExample], signature: Signature) -> Mapping[str, Any]:
    return examples[0].instance if examples else {one.name: one.example for one in signature.features}


def _refuses_categories(feature: Feature) -> bool:
    return feature.categories is not None and feature.unseen == "reject" and feature.type == "text"


def _name(version: Version) -> str:
    return f"{version.manifest.model} {version.manifest.version}"


def _short(value: Any) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 100 else f"{text[:100]}..."
