"""The pin of one version, and the bytes of that version where they are baked into the image."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from function.contract import BLOBS, Pin
from function.store import NotFound, Store
from lifecycle.errors import LifecycleError, VerifyFailed
from lifecycle.versions import Version

PIN = "pin.json"


def pin_of(version: Version) -> Pin:
    """Return a version's pin."""
    sha256 = hashlib.sha256(version.content).hexdigest()
    return Pin(model=version.manifest.model, version=version.manifest.version, manifest_sha256=sha256)


def write_pin(version: Version, folder: Path) -> Path:
    """Write a version's pin into a folder; return the file. Raises LifecycleError where the folder takes none."""
    file = folder / PIN
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(pin_of(version).model_dump_json(indent=1) + "\n", encoding="utf-8")
    return file


def is_baked(version: Version) -> bool:
    """Tell whether model.yaml asked for the version's bytes in the image."""
    return bool(version.manifest.recipe.get("serving", {}).get("bake"))


def bake(store: Store, version: Version, folder: Path) -> int:
    """Write every file of a version beside its pin, named by its digest; return how many bytes that is."""
    blobs = folder / BLOBS
    manifest = version.manifest
    contents = {hashlib.sha256(version.content).hexdigest(): version.content}
    for name, file in manifest.files.items():
        if (content := read_whole(store, version, name)) is None:
            raise VerifyFailed(f"{name} of {manifest.model} {manifest.version} is not what was published.")
        contents[file.sha256] = content
    with _writing(folder):
        blobs.mkdir(parents=True, exist_ok=True)
        for sha256, content in contents.items():
            (blobs / sha256).write_bytes(content)
    return sum(map(len, contents.values()))


def read_whole(store: Store, version: Version, name: str) -> bytes | None:
    """Return a file of a version, or None where it is gone or another than the manifest says."""
    manifest = version.manifest
    try:
        content = store.get(f"{manifest.model}/{manifest.version}/{name}").content
    except NotFound:
        return None
    return content if hashlib.sha256(content).hexdigest() == manifest.files[name].sha256 else None


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        text = f"{folder}: a folder that can be written is expected, found: {error.strerror or error}"
        raise LifecycleError(f"{text}. Name another one.") from error
