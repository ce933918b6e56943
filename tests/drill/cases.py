"""What is released: each bad version and image, a good one, a changed configuration, and who has to decide about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from lifecycle.rollout.refusals import Refusal
from tests.cloud import bare
from tests.drill import candidates
from tests.drill.endpoint import Endpoint, Release

STARTUP_SECONDS = 15
NOBODY_PUSHED = f"sha256:{0:064x}"


class Case(NamedTuple):
    """One thing to release; `decided` are the refusals that may end it, none for what is to be promoted."""

    what: str
    made: Callable[[Endpoint], Release | None]
    decided: frozenset[Refusal] = frozenset()
    minutes: float = 0.1  # of each step
    rate: float = 30  # requests a second
    instances: int = 1  # of each request
    memory_mib: int = bare.MEMORY_MIB
    startup_seconds: int = bare.STARTUP_SECONDS
    settings: Mapping[str, str] = MappingProxyType({})

    @property
    def good(self) -> bool:
        """Whether it has to be promoted."""
        return not self.decided


def of_version(make: Callable[[], candidates.Candidate]) -> Callable[[Endpoint], Release]:
    """Return what publishes a version and pushes an image of it."""
    return lambda endpoint: endpoint.push(endpoint.publish(make()))


def of_image(fault: str) -> Callable[[Endpoint], Release]:
    """Return what publishes the stable version again and pushes an image with a fault."""
    return lambda endpoint: endpoint.push(endpoint.publish(candidates.stable()), fault)


def configured(endpoint: Endpoint) -> None:
    """Change the configuration, and no image."""
    endpoint.change("MAX_INSTANCES", "5000")


def missing(endpoint: Endpoint) -> Release:
    """Publish a version, and name an image that nobody pushed."""
    version = endpoint.publish(candidates.stable())
    return Release(version.manifest.version, f"{endpoint.place.images(candidates.MODEL)}@{NOBODY_PUSHED}")


def _by(*refusals: Refusal) -> frozenset[Refusal]:
    return frozenset(refusals)


# Long requests leave long records, which a sample of their instances says as well.
LONG = {"instances": 150, "rate": 15.0, "settings": {"RECORD_KB": "8"}}

CASES: dict[str, Case] = {
    "good": Case("retrained on another split", of_version(candidates.retrained)),
    "configuration": Case("another variable, as Terraform sets it", configured),
    "not-pushed": Case("an image that the registry does not have", missing, _by(Refusal.NOT_READY, Refusal.NO_IMAGE)),
    "broken": Case("an image that cannot start", of_image("broken"), _by(Refusal.NOT_READY)),
    # Its first process starts the one that dies again and again: Cloud Run goes on asking for as long as it may.
    "crash": Case(
        "dies when it loads its version", of_image("crash"), _by(Refusal.NOT_READY), startup_seconds=STARTUP_SECONDS
    ),
    "golden": Case("golden examples answered otherwise", of_image("golden"), _by(Refusal.GOLDEN)),
    "errors": Case(
        "5 % errors, for everybody", of_image("errors"), _by(Refusal.GOLDEN, Refusal.REPLAY, Refusal.ERRORS)
    ),
    "errors-for-callers": Case(
        "5 % errors, for callers alone", of_image("errors_for_callers"), _by(Refusal.ERRORS), 0.5
    ),
    "slow": Case("twice as slow, for callers alone", of_image("slow"), _by(Refusal.LATENCY), 0.5, **LONG),
    "one-class": Case("predicts one class only", of_version(candidates.one_class), _by(Refusal.REPLAY)),
    "one-class-for-callers": Case(
        "predicts one class, for callers alone", of_image("one_class"), _by(Refusal.PREDICTIONS), 0.5
    ),
    "swapped": Case(
        "two columns swapped", of_version(candidates.swapped), _by(Refusal.REPLAY, Refusal.PREDICTIONS), 0.5
    ),
    # To take so much memory takes time, too, which may show before it is used up.
    "leak": Case(
        "leaks memory until it is killed",
        of_image("leak"),
        _by(Refusal.EXITS, Refusal.ERRORS, Refusal.LATENCY),
        0.5,
        memory_mib=512,
    ),
}
