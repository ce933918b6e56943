"""A model's versions in a store: numbers claimed, files published, aliases moved, leftovers swept."""

import json
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

from pydantic import TypeAdapter, ValidationError

from function.contract import ALIASES, CLAIM, MANIFEST, Manifest
from function.store import AlreadyExists, Conflict, NotFound, Store
from lifecycle.errors import Missing, RecipeInvalid, VerifyFailed

STALE_AFTER = timedelta(hours=24)  # no publisher takes so long
CHAMPION = "champion"  # what answers everything
CHALLENGER = "challenger"  # what is to be released
NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")  # a Cloud Run service and a service account are called after it


class Publishable(Protocol):
    """What becomes a version as soon as it has a number."""

    def finish(self, number: int) -> tuple[Mapping[str, bytes], Manifest]:
        """Return all files and the manifest of the version of this number."""


class Version(NamedTuple):
    """A published version: its manifest, and the bytes that the pin's digest is taken of."""

    manifest: Manifest
    content: bytes


def check_name(name: str) -> str:
    """Return a model's name; raises RecipeInvalid for one that no service could have."""
    if not NAME.fullmatch(name):
        text = "a model is called by up to 40 lower-case letters, digits and hyphens, a letter first, no hyphen last"
        raise RecipeInvalid(f"{text}; found {name!r}")
    return name


def publish(store: Store, model: str, candidate: Publishable) -> Version:
    """Give a candidate the next free number and write it; its manifest comes last, and makes it a version."""
    sweep(store, model)
    number, token = claim(store, model)
    files, manifest = candidate.finish(number)
    folder = f"{model}/{number}"
    for name, content in files.items():
        store.create(f"{folder}/{name}", content)
    if store.get(f"{folder}/{CLAIM}").content != token:
        raise Conflict(f"{folder}: the claim was swept before the version was complete")
    content = manifest.model_dump_json(indent=1).encode()
    store.create(f"{folder}/{MANIFEST}", content)
    return Version(manifest, content)


def claim(store: Store, model: str) -> tuple[int, bytes]:
    """Return a number that nobody else has, and the content of its claim."""
    number = max(_numbers(store, model), default=0) + 1
    while True:
        token = json.dumps({"token": uuid.uuid4().hex, "claimed_at": datetime.now(UTC).isoformat()}).encode()
        try:
            store.create(f"{model}/{number}/{CLAIM}", token)
            return number, token
        except AlreadyExists:
            number += 1


def sweep(store: Store, model: str, now: datetime | None = None) -> list[int]:
    """Remove folders that were claimed long ago and never became a version; return their numbers."""
    folders = _folders(store, model)
    before = (now or datetime.now(UTC)) - STALE_AFTER
    stale = [
        number
        for number, files in folders.items()
        if MANIFEST not in files and max(updated for updated in files.values()) < before
    ]
    for number in stale:
        # The claim goes last: until then nobody takes the number, and a publisher that wakes up finds it gone.
        for name in sorted(folders[number], key=lambda name: name == CLAIM):
            store.delete(f"{model}/{number}/{name}")
    return stale


def list_numbers(store: Store, model: str) -> list[int]:
    """Return the numbers of a model's versions, oldest first."""
    return sorted(number for number, files in _folders(store, model).items() if MANIFEST in files)


def read_version(store: Store, model: str, number: int) -> Version:
    """Return a version; raises Missing, or VerifyFailed where its manifest cannot be read."""
    try:
        content = store.get(f"{model}/{number}/{MANIFEST}").content
    except NotFound:
        there = ", ".join(map(str, list_numbers(store, model))) or "none"
        raise Missing(f"{model} has no version {number} in {store.url}; there are: {there}.") from None
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        raise VerifyFailed(f"The manifest of {model} {number} cannot be read: {error.error_count()} faults.") from error
    if (manifest.model, manifest.version) != (model, number):
        raise VerifyFailed(f"The manifest of {model} {number} is that of {manifest.model} {manifest.version}.")
    return Version(manifest, content)


def find_number(store: Store, model: str, wanted: str | None) -> int:
    """Return the number that a number, an alias or nothing (champion, else the newest) stands for; raises Missing."""
    aliases = read_aliases(store, model)
    if wanted is not None and re.fullmatch("[0-9]{1,18}", wanted):
        return int(wanted)
    if wanted is not None and wanted not in aliases:
        raise Missing(f"{model} has no alias {wanted!r} in {store.url}; there are: {', '.join(aliases) or 'none'}.")
    if (number := aliases.get(wanted or CHAMPION)) is not None:
        return number
    numbers = list_numbers(store, model)
    if not numbers:
        raise Missing(f"{model} has no version in {store.url}. Make one: python -m lifecycle train {model}")
    return numbers[-1]


def read_aliases(store: Store, model: str) -> dict[str, int]:
    """Return a model's aliases."""
    return _read_aliases(store, model)[0]


def move_alias(store: Store, model: str, alias: str, number: int) -> int | None:
    """Let an alias name a version, whoever else moves aliases at the same time; return what it named before."""
    read_version(store, model, number)
    while True:
        aliases, generation = _read_aliases(store, model)
        moved = json.dumps(aliases | {alias: number}, sort_keys=True).encode()
        try:
            store.replace(f"{model}/{ALIASES}", moved, generation)
            return aliases.get(alias)
        except Conflict:
            continue


def _read_aliases(store: Store, model: str) -> tuple[dict[str, int], str | None]:
    try:
        stored = store.get(f"{model}/{ALIASES}")
    except NotFound:
        return {}, None
    try:
        return TypeAdapter(dict[str, int]).validate_json(stored.content), stored.generation
    except ValidationError as error:
        raise VerifyFailed(
            f"{store.url}/{model}/{ALIASES} cannot be read, expected version numbers by alias."
        ) from error


def _numbers(store: Store, model: str) -> list[int]:
    return list(_folders(store, model))


def _folders(store: Store, model: str) -> dict[int, dict[str, datetime]]:
    """Return the files of each numbered folder, with the time each was written."""
    folders: dict[int, dict[str, datetime]] = {}
    for entry in store.list(f"{model}/"):
        number, _, name = entry.key.removeprefix(f"{model}/").partition("/")
        if number.isdecimal() and name:
            folders.setdefault(int(number), {})[name] = entry.updated
    return folders
