"""Traffic targets: which are refused, what they mean for the revisions there are, and who gets a request."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.cloud.errors import CloudError, invalid
from tests.cloud.schemas import Json

LATEST = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
REVISION = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
EVERYTHING_TO_LATEST = [{"type": LATEST, "percent": 100}]
TAG = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
LONGEST_TAG = 46


@dataclass(frozen=True)
class Routes:
    """Where requests go: a share for each revision, and the revision of each tag."""

    percents: Mapping[str, int] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def pick(self, random: Random) -> str | None:
        """Return a revision for a request to the service's own address, None where nothing serves yet."""
        names = [name for name, percent in self.percents.items() if percent]
        if not names:
            return None
        return random.choices(names, [self.percents[name] for name in names])[0]

    def serves(self, revision: str) -> bool:
        """Tell whether any request can reach a revision."""
        return self.percents.get(revision, 0) > 0 or revision in self.tags.values()


def read_targets(service: Json) -> list[Json]:
    """Return a service's traffic targets, everything to the latest revision where it names none.

    Raises CloudError: 400 where Cloud Run refuses them.
    """
    targets: list[Json] = service.get("traffic") or EVERYTHING_TO_LATEST
    for index, target in enumerate(targets):
        _check(target, f"service.traffic[{index}]")
    tags = Counter(target["tag"] for target in targets if target.get("tag"))
    repeated = [tag for tag, count in tags.items() if count > 1]
    if repeated:
        raise _violation("service.traffic", f"tag {repeated[0]!r} is used by more than one target.")
    if (total := sum(target.get("percent", 0) for target in targets)) != 100:
        raise _violation("service.traffic", f"traffic targets sum to {total}, want 100.")
    return targets


def route(targets: Sequence[Json], latest: str | None) -> Routes:
    """Return the routes that targets mean; shares for the same revision add up."""
    percents: Counter[str] = Counter()
    tags = {}
    for target in targets:
        revision = revision_of(target, latest)
        if revision is not None:
            percents[revision] += target.get("percent", 0)
            if target.get("tag"):
                tags[target["tag"]] = revision
    return Routes(percents, tags)


def revision_of(target: Json, latest: str | None) -> str | None:
    """Return the short name of the revision that a target means."""
    return latest if target["type"] == LATEST else target["revision"].rpartition("/")[2]


def _check(target: Json, where: str) -> None:
    kind, revision = target.get("type"), target.get("revision")
    if kind not in (LATEST, REVISION):
        raise _violation(f"{where}.type", "must be set.")
    if (kind == REVISION) != bool(revision):
        rule = "must be set" if kind == REVISION else "must be empty"
        raise _violation(f"{where}.revision", f"{rule} for {kind}.")
    if not 0 <= target.get("percent", 0) <= 100:
        raise _violation(f"{where}.percent", "must be between 0 and 100.")
    tag = target.get("tag", "")
    if tag and (not TAG.fullmatch(tag) or len(tag) > LONGEST_TAG):
        raise _violation(f"{where}.tag", "must be lowercase letters, digits and hyphens, and begin with a letter.")


def _violation(where: str, rule: str) -> CloudError:
    return invalid(f"Violation in {where}: {rule}")
