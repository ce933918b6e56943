"""Preconditions: ifGenerationMatch and its kin, and entity tags.

https://cloud.google.com/storage/docs/request-preconditions
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tests.cloud.discovery import Call
from tests.cloud.errors import CloudError, condition_not_met, not_modified


class Subject(Protocol):
    """What a precondition speaks of: a bucket or one version of an object."""

    @property
    def generation(self) -> int:
        """The number of the content."""

    @property
    def metageneration(self) -> int:
        """The number of the metadata."""

    @property
    def etag(self) -> str:
        """The entity tag."""


@dataclass(frozen=True)
class Preconditions:
    """The conditions of one request on one thing; None where it makes none."""

    generation: int | None = None
    other_generation: int | None = None
    metageneration: int | None = None
    other_metageneration: int | None = None
    etag: str | None = None
    other_etag: str | None = None

    def check_read(self, subject: Subject) -> None:
        """Raise 412 where something else is there, 304 where the very thing is that the client has already."""
        self._check(subject, not_modified())

    def check_write(self, subject: Subject | None) -> None:
        """Raise 412 unless every condition holds; None stands for an object that does not exist.

        Generation 0 means "does not exist": as ifGenerationMatch for create-only, as ifGenerationNotMatch for
        overwrite-only. Every other condition fails on an object that does not exist.
        """
        if subject is not None:
            return self._check(subject, condition_not_met())
        beyond = (self.other_generation, self.metageneration, self.other_metageneration, self.etag)
        if self.generation not in (None, 0) or any(value is not None for value in beyond):
            raise condition_not_met()
        return None

    def _check(self, subject: Subject, unchanged: CloudError) -> None:
        if _differs(self.generation, subject.generation) or _differs(self.metageneration, subject.metageneration):
            raise condition_not_met()
        if self.etag is not None and not _lists(self.etag, subject.etag):
            raise condition_not_met()
        if subject.generation == self.other_generation or subject.metageneration == self.other_metageneration:
            raise unchanged
        if self.other_etag is not None and _lists(self.other_etag, subject.etag):
            raise unchanged


def of(call: Call) -> Preconditions:
    """Return the conditions that a call makes on what it names, by parameters and by headers."""
    headers = call.request.headers
    return of_query(call.query, etag=headers.get("If-Match"), other_etag=headers.get("If-None-Match"))


def of_query(query: Mapping[str, Any], prefix: str = "if", **etags: str | None) -> Preconditions:
    """Return the conditions that parameters make; `ifSource` is the prefix for the source of a copy."""
    return Preconditions(
        generation=query.get(f"{prefix}GenerationMatch"),
        other_generation=query.get(f"{prefix}GenerationNotMatch"),
        metageneration=query.get(f"{prefix}MetagenerationMatch"),
        other_metageneration=query.get(f"{prefix}MetagenerationNotMatch"),
        **etags,
    )


def _differs(wanted: int | None, found: int) -> bool:
    return wanted is not None and wanted != found


def _lists(header: str, etag: str) -> bool:
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")}
    return "*" in tags or etag in tags
