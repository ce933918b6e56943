"""What Cloud Storage keeps: buckets, in them the generations of objects, and uploads under way."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tests.cloud.errors import not_found
from tests.cloud.project import Project
from tests.cloud.schemas import Json
from tests.cloud.storage.checksums import Checksums


def now() -> datetime:
    """Return the present as the service sees it."""
    return datetime.now(UTC)


def instant(moment: datetime) -> str:
    """Return a moment as the API writes it, in milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Version:
    """One generation of an object. Its content never changes; a patch replaces it by one with a new metageneration."""

    bucket: str
    name: str
    generation: int
    content: bytes
    checksums: Checksums
    fields: Json
    created: datetime
    updated: datetime
    metageneration: int = 1
    deleted: datetime | None = None
    components: int | None = None

    @property
    def etag(self) -> str:
        """The entity tag: it changes with content and with metadata."""
        return base64.b64encode(f"{self.generation}/{self.metageneration}".encode()).decode()


@dataclass
class Bucket:
    """A bucket and every generation of its objects, oldest first."""

    name: str
    project: str
    generation: int
    fields: Json
    created: datetime
    updated: datetime
    metageneration: int = 1
    _versions: dict[str, list[Version]] = field(default_factory=dict)

    @property
    def resource(self) -> str:
        """The full name under which the project keeps the bucket's IAM policy."""
        return f"//storage.googleapis.com/projects/_/buckets/{self.name}"

    @property
    def etag(self) -> str:
        """The entity tag of the bucket's own metadata."""
        return base64.b64encode(f"{self.metageneration}".encode()).decode()

    @property
    def versioning(self) -> bool:
        """Whether older generations are kept."""
        return bool((self.fields.get("versioning") or {}).get("enabled"))

    def live(self, name: str) -> Version | None:
        """Return the generation that a request without one means."""
        versions = self._versions.get(name, [])
        return versions[-1] if versions and versions[-1].deleted is None else None

    def find(self, name: str, generation: int | None = None) -> Version:
        """Return one generation, by default the live one.

        Raises CloudError: 404.
        """
        live = self.live(name)
        if generation is None and live:
            return live
        for version in self._versions.get(name, []):
            if version.generation == generation:
                return version
        marked = f"#{generation}" if generation else ""
        raise not_found(f"No such object: {self.name}/{name}{marked}")

    def put(self, version: Version) -> None:
        """Make a new generation the live one."""
        self.retire(version.name, version.created)
        self._versions.setdefault(version.name, []).append(version)

    def replace(self, old: Version, new: Version) -> None:
        """Put a version with other metadata in the place of one."""
        versions = self._versions[old.name]
        versions[versions.index(old)] = new

    def retire(self, name: str, moment: datetime) -> None:
        """Take the live generation away: versioning keeps it as an older one, otherwise it is gone."""
        live = self.live(name)
        if live and self.versioning:
            self.replace(live, replace(live, deleted=moment))
        elif live:
            self.drop(live)

    def drop(self, version: Version) -> None:
        """Forget one generation for good."""
        self._versions[version.name].remove(version)
        if not self._versions[version.name]:
            del self._versions[version.name]

    def versions(self) -> Iterator[Version]:
        """Yield every generation in the order of the API: by name in UTF-8, then from old to new."""
        for name in sorted(self._versions, key=str.encode):
            yield from self._versions[name]


@dataclass
class Session:
    """A resumable upload: what its start declared, what arrived, and what became of it."""

    id: str
    bucket: str
    metadata: Json
    query: Json
    declared_bytes: int | None
    content: bytearray = field(default_factory=bytearray)
    finished: Version | None = None


@dataclass
class State:
    """Everything that the service keeps; whoever changes it holds the service's lock.

    taken: names of buckets that belong to other people, as all names are global.
    """

    project: Project
    buckets: dict[str, Bucket] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    _last_generation: int = 0

    def bucket(self, name: str) -> Bucket:
        """Return a bucket.

        Raises CloudError: 404.
        """
        if name not in self.buckets:
            raise not_found("The specified bucket does not exist.")
        return self.buckets[name]

    def next_generation(self) -> int:
        """Return a number that is larger than every earlier one: microseconds, as the service's own are."""
        self._last_generation = max(self._last_generation + 1, time.time_ns() // 1000)
        return self._last_generation
