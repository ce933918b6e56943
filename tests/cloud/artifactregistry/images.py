"""Images: a folder with what starts it, kept under the digest of its content and found by name, tag or digest."""

from __future__ import annotations

import compileall
import hashlib
import json
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

HELLO = "us-docker.pkg.dev/cloudrun/container/hello"
HELLO_FOLDER = Path(__file__).with_name("hello")
# What the buildpacks make of a function in function/main.py: the framework reads the rest from the environment, and
# serves by ASGI because the function asks for it. PORT comes from Cloud Run. In a container the framework would listen
# on every interface; here nothing may be reachable from elsewhere.
FUNCTION_COMMAND = ("functions-framework",)
LISTEN = ("--host", "127.0.0.1")
FUNCTION_ENVIRONMENT = {
    "FUNCTION_SOURCE": "function/main.py",
    "FUNCTION_TARGET": "predict",
    "PYTHONUNBUFFERED": "TRUE",
}
NAME = re.compile(r"[a-z0-9-]*docker\.pkg\.dev(/[a-z0-9._-]+){2}(/[a-z0-9._-]+)+")
REFERENCE = re.compile(r"(?P<name>[^:@]+)(:(?P<tag>[\w][\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?")
BYTE_CODE = "__pycache__"


class ImageNotFound(Exception):
    """No image has this reference; the message is Cloud Run's."""

    def __init__(self, reference: str) -> None:
        super().__init__(f"Image '{reference}' not found.")


@dataclass(frozen=True)
class Image:
    """What can be started: a folder that nobody changes, a command and an environment."""

    digest: str
    folder: Path
    command: tuple[str, ...]
    environment: Mapping[str, str]
    size_bytes: int
    uploaded: datetime


@dataclass
class _Package:
    """Every image that was pushed under one name."""

    images: dict[str, Image] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class Images:
    """The registry's content, below one folder; Google's public hello image is there from the start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._packages: dict[str, _Package] = {}
        self._lock = threading.Lock()
        self.push(HELLO_FOLDER, HELLO, command=("python", "-S", "hello.py"), environment={})

    def push(
        self,
        folder: Path,
        name: str,
        tags: tuple[str, ...] = ("latest",),
        *,
        command: tuple[str, ...] = FUNCTION_COMMAND + LISTEN,
        environment: Mapping[str, str] = FUNCTION_ENVIRONMENT,
    ) -> str:
        """Keep a folder as an image, move these tags to it, and return its digest.

        Raises ValueError: the name is not LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/NAME.
        """
        if not NAME.fullmatch(name):
            raise ValueError(f"LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/NAME is expected, found: {name}")
        digest = digest_of(folder, command, environment)
        with self._lock:
            kept = self._keep(folder, digest)
            size = sum(file.stat().st_size for file in _files(kept))
            package = self._packages.setdefault(name, _Package())
            package.images.setdefault(digest, Image(digest, kept, command, environment, size, datetime.now(UTC)))
            package.tags.update(dict.fromkeys(tags, digest))
        return digest

    def resolve(self, reference: str) -> Image:
        """Return the image that a name means, with its tag (`latest` without one) or its digest.

        Raises ImageNotFound.
        """
        found = REFERENCE.fullmatch(reference)
        if found is None:
            raise ImageNotFound(reference)
        with self._lock:
            package = self._packages.get(found["name"], _Package())
            digest = found["digest"] or package.tags.get(found["tag"] or "latest", "")
            if digest not in package.images:
                raise ImageNotFound(reference)
            return package.images[digest]

    def images(self, prefix: str = "") -> Iterator[tuple[str, Image, list[str]]]:
        """Yield the name, the image and the tags of everything whose name begins so, in the order of the names."""
        with self._lock:
            names = sorted(name for name in self._packages if name.startswith(prefix))
            found = [(name, image, self._tags(name, digest)) for name in names for digest, image in self._of(name)]
        yield from found

    def tag(self, name: str, digest: str, *tags: str) -> None:
        """Move tags to an image; raises ImageNotFound."""
        self.resolve(f"{name}@{digest}")
        with self._lock:
            self._packages[name].tags.update(dict.fromkeys(tags, digest))

    def delete(self, name: str, digest: str) -> None:
        """Forget an image and its tags; what runs of it goes on running. Raises ImageNotFound."""
        self.resolve(f"{name}@{digest}")
        with self._lock:
            package = self._packages[name]
            del package.images[digest]
            package.tags = {tag: of for tag, of in package.tags.items() if of != digest}

    def _of(self, name: str) -> list[tuple[str, Image]]:
        return list(self._packages[name].images.items())

    def _tags(self, name: str, digest: str) -> list[str]:
        return sorted(tag for tag, of in self._packages[name].tags.items() if of == digest)

    def _keep(self, folder: Path, digest: str) -> Path:
        kept = self.folder / digest.removeprefix("sha256:")
        if not kept.exists():
            shutil.copytree(folder, kept, ignore=shutil.ignore_patterns(BYTE_CODE))
            # As the buildpacks do: otherwise every first start of an image pays for it.
            compileall.compile_dir(kept, quiet=1)
        return kept


def digest_of(folder: Path, command: tuple[str, ...], environment: Mapping[str, str]) -> str:
    """Return the digest of a folder's relative paths and bytes and of what starts it."""
    digest = hashlib.sha256(json.dumps([command, dict(sorted(environment.items()))]).encode())
    for file in sorted(_files(folder)):
        digest.update(f"\n{file.relative_to(folder).as_posix()} {file.stat().st_size}\n".encode())
        digest.update(file.read_bytes())
    return f"sha256:{digest.hexdigest()}"


def copy_function(root: Path, folder: Path) -> Path:
    """Copy what the image build takes of a repository into a new folder, without a pin; return the folder."""
    folder.mkdir(parents=True)
    unpinned = shutil.ignore_patterns(BYTE_CODE, "pin.json", "blobs")
    shutil.copytree(root / "function", folder / "function", ignore=unpinned)
    shutil.copy(root / "requirements.txt", folder)
    return folder


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.is_file() and BYTE_CODE not in file.parts)
