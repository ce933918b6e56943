"""Where model versions live: gs://bucket/prefix or file:///folder, with create-only writes and compare-and-set.

StoreError              message: readable by callers, without paths; detail: for the operator's log
├── NotFound
├── AlreadyExists           a create-only write met other bytes
├── Conflict                compare-and-set met a newer generation
├── Corrupt                 what arrived is not what was stored
└── Unavailable             no answer, or none in time
"""

import contextlib
import hashlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.cloud import storage


class StoreError(Exception):
    """The store could not do what was asked."""

    message = "The model store failed."

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NotFound(StoreError):
    """There is no such object."""

    message = "The model store does not hold the pinned version."


class AlreadyExists(StoreError):
    """The object exists with other bytes than those to be created."""

    message = "The object exists already."


class Conflict(StoreError):
    """Someone else changed the object since it was read."""

    message = "The object was changed by someone else."


class Corrupt(StoreError):
    """The bytes that arrived differ from the bytes that were stored."""

    message = "What the model store sent was damaged on the way."


class Unavailable(StoreError):
    """The store did not answer, or refused to."""

    message = "The model store does not answer."


class Stored(NamedTuple):
    """An object's bytes, and the generation to give back to `replace`."""

    content: bytes
    generation: str


class Entry(NamedTuple):
    """An object as a listing shows it; `key` is relative to the store, `updated` is the store's clock."""

    key: str
    size: int
    updated: datetime


class Store(Protocol):
    """What both kinds of store do. Keys are relative, with `/` between their parts."""

    url: str

    def get(self, key: str) -> Stored:
        """Return an object; raises NotFound, Corrupt or Unavailable."""

    def create(self, key: str, content: bytes) -> None:
        """Write an object that must not exist; afterwards it holds exactly these bytes, or AlreadyExists is raised."""

    def replace(self, key: str, content: bytes, generation: str | None) -> None:
        """Write an object if it still has this generation (None: does not exist); raises Conflict."""

    def list(self, prefix: str) -> list[Entry]:
        """Return every object whose key starts with the prefix, in the order of keys."""

    def delete(self, key: str) -> None:
        """Remove an object; one that is gone already is no error."""

    def close(self) -> None:
        """Give back connections; the store opens them again when it is used again."""


WRITER = "writer"  # custom metadata of an object: which call wrote it
TIMEOUT_SECONDS = 20.0  # how long one object is asked for, after faults that pass


def open_store(url: str, timeout_seconds: float = TIMEOUT_SECONDS, credentials: "Credentials | None" = None) -> Store:
    """Return the store at a gs:// or file:// URL; raises ValueError with what was expected.

    Without credentials, a bucket is asked as whoever is signed in here.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path[:1] == "/" and len(parts.path) > 1:
        return FileStore(Path(unquote(parts.path)))
    if parts.scheme == "gs" and parts.netloc:
        return CloudStore(parts.netloc, parts.path.strip("/"), timeout_seconds, credentials)
    raise ValueError(f"expected gs://bucket/prefix or file:///folder, found {url!r}")


class FileStore:
    """A folder; whole objects appear at once, because they are linked into place after they were written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = root.as_uri()

    def get(self, key: str) -> Stored:
        """Return an object; its generation is the digest of its bytes."""
        try:
            content = self._path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise NotFound(f"{self.url}/{key}: no such object") from error
        except OSError as error:
            raise Unavailable(f"{self.url}/{key}: {error}") from error
        return Stored(content, _generation(content))

    def create(self, key: str, content: bytes) -> None:
        """Write an object that must not exist."""
        path = self._path(key)
        with self._written(path, content) as temporary:
            try:
                temporary.link_to_missing(path)
            except FileExistsError as error:
                if path.read_bytes() != content:
                    raise AlreadyExists(f"{self.url}/{key} exists with other content") from error

    def replace(self, key: str, content: bytes, generation: str | None) -> None:
        """Write an object if it still has this generation, under a lock that ends with the process."""
        path = self._path(key)
        with self._written(path, content) as temporary, self._lock(path):
            current = _generation(path.read_bytes()) if path.exists() else None
            if current != generation:
                raise Conflict(f"{self.url}/{key} was changed by someone else")
            temporary.path.replace(path)

    def list(self, prefix: str) -> list[Entry]:
        """Return every object whose key starts with the prefix; unfinished and lock files are none."""
        folder = self._path(prefix) if prefix.endswith("/") or not prefix else self._path(prefix).parent
        entries = []
        for path in folder.rglob("*") if folder.is_dir() else ():
            key = path.relative_to(self.root).as_posix()
            if key.startswith(prefix) and not path.name.startswith("."):
                with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                    status = path.stat()
                    if path.is_file():
                        entries.append(Entry(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)))
        return sorted(entries)

    def delete(self, key: str) -> None:
        """Remove an object, and its folder when that is empty then."""
        path = self._path(key)
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()

    def close(self) -> None:
        """Nothing is held open."""

    def _path(self, key: str) -> Path:
        if ".." in key.split("/") or key.startswith("/"):
            raise ValueError(f"a key stays inside the store, found {key!r}")
        return self.root / key

    @contextlib.contextmanager
    def _written(self, path: Path, content: bytes) -> Iterator["_Temporary"]:
        """Yield a finished, durable temporary file in the folder where the object will be."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=".", dir=path.parent)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Unavailable(f"{path}: {error}") from error
        temporary = _Temporary(Path(name))
        try:
            yield temporary
        finally:
            temporary.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _lock(self, path: Path) -> Iterator[None]:
        import fcntl

        with (path.parent / f".{path.name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class _Temporary(NamedTuple):
    path: Path

    def link_to_missing(self, path: Path) -> None:
        """Give the file its name in one step; raises FileExistsError."""
        path.hardlink_to(self.path)


def _generation(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class CloudStore:
    """A bucket of Cloud Storage, through google-cloud-storage, which is imported when it is first needed.

    STORAGE_EMULATOR_HOST points the client library at another endpoint.
    """

    def __init__(
        self, bucket: str, prefix: str, timeout_seconds: float, credentials: "Credentials | None" = None
    ) -> None:
        self.url = f"gs://{bucket}/{prefix}".rstrip("/")
        self._name = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._timeout_seconds = timeout_seconds
        # With credentials of one's own, the library would look for a project, which no call here needs.
        self._identity = {"credentials": credentials, "project": None} if credentials else {}
        self._client: storage.Client | None = None

    def get(self, key: str) -> Stored:
        """Return an object, its checksum verified by the client library."""
        blob = self._bucket().blob(self._prefix + key)
        with self._errors(key):
            content = blob.download_as_bytes(**self._limits(), checksum="auto")
        return Stored(content, str(blob.generation))

    def create(self, key: str, content: bytes) -> None:
        """Write an object that must not exist."""
        try:
            self._upload(key, content, 0)
        except Conflict as error:
            if self.get(key).content != content:
                raise AlreadyExists(f"{self.url}/{key} exists with other content") from error

    def replace(self, key: str, content: bytes, generation: str | None) -> None:
        """Write an object if it still has this generation."""
        self._upload(key, content, int(generation or 0))

    def list(self, prefix: str) -> list[Entry]:
        """Return every object whose key starts with the prefix."""
        with self._errors(prefix):
            blobs = list(self._bucket().list_blobs(prefix=self._prefix + prefix, **self._limits()))
        return [Entry(blob.name[len(self._prefix) :], blob.size, blob.updated) for blob in blobs]

    def delete(self, key: str) -> None:
        """Remove an object."""
        with contextlib.suppress(NotFound), self._errors(key):
            self._bucket().blob(self._prefix + key).delete(**self._limits())

    def close(self) -> None:
        """Close the client's connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _upload(self, key: str, content: bytes, generation: int) -> None:
        """Write an object of this generation; raises Conflict unless the write is ours."""
        blob = self._bucket().blob(self._prefix + key)
        writer = uuid.uuid4().hex
        blob.metadata = {WRITER: writer}
        try:
            with self._errors(key):
                blob.upload_from_string(
                    content,
                    content_type="application/octet-stream",
                    if_generation_match=generation,
                    checksum="auto",
                    **self._limits(),
                )
        except Conflict:
            # When an answer is lost the library sends the upload again, which then meets our own object.
            if self._writer(key) != writer:
                raise

    def _writer(self, key: str) -> str | None:
        with self._errors(key):
            blob = self._bucket().get_blob(self._prefix + key, **self._limits())
        return (blob.metadata or {}).get(WRITER) if blob else None

    def _bucket(self) -> "storage.Bucket":
        if self._client is None:
            # Otherwise the library asks for the bucket itself in a background thread, which needs a right that the
            # serving identity has no other use for.
            os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
            from google.auth import exceptions
            from google.cloud import storage

            try:
                self._client = storage.Client(**self._identity)
            except exceptions.GoogleAuthError as error:
                raise Unavailable(f"{self.url}: {error}") from error
        return self._client.bucket(self._name)

    def _limits(self) -> dict[str, object]:
        from google.cloud.storage.retry import DEFAULT_RETRY

        return {
            "timeout": self._timeout_seconds / 2,  # to connect, and between two pieces of an answer
            "retry": DEFAULT_RETRY.with_timeout(self._timeout_seconds),
        }

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        """Turn what the client library raises into the store's own errors."""
        import requests
        from google.api_core import exceptions
        from google.auth import exceptions as auth
        from google.cloud.storage.exceptions import DataCorruption

        where = f"{self.url}/{key}"
        try:
            yield
        except exceptions.NotFound as error:
            raise NotFound(f"{where}: {error.message}") from error
        except exceptions.PreconditionFailed as error:
            raise Conflict(f"{where}: {error.message}") from error
        except DataCorruption as error:
            raise Corrupt(f"{where}: {error}") from error
        except (exceptions.GoogleAPIError, requests.RequestException, auth.GoogleAuthError, OSError) as error:
            raise Unavailable(f"{where}: {error}") from error
