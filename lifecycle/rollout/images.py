"""A model's images in Artifact Registry: which there are, what a tag means, and the tag of what served."""

import hashlib
from pathlib import Path
from typing import Any

from google.auth.credentials import Credentials
from googleapiclient.errors import HttpError

from function.contract import BLOBS, Pin
from lifecycle import google_apis
from lifecycle.environment import ROOT, Environment
from lifecycle.errors import NotReleasable
from lifecycle.google_apis import explained, patiently
from lifecycle.pinning import PIN

SERVED = "served"  # begins the tags of images that clean-up keeps (infra/registry.tf)
CODE = ("function", "requirements.txt")  # what goes into an image, beside the pin
NOT_CODE = frozenset({"__pycache__", PIN, BLOBS})
DIGITS = 12
MOST_NAMED = 10


def tag_of(version: int, pin: Pin, root: Path = ROOT) -> str:
    """Return the tag of the image of this code and this pin: the same wherever and whenever it is built."""
    digest = hashlib.sha256(pin.manifest_sha256.encode())
    for file in sorted(_code(root), key=lambda file: file.relative_to(root).as_posix()):
        content = file.read_bytes()
        digest.update(f"\n{file.relative_to(root).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return f"v{version}-{digest.hexdigest()[:DIGITS]}"


def find_image(environment: Environment, model: str, tag: str, credentials: Credentials) -> str:
    """Return the image that a tag means, by its digest; raises NotReleasable naming those there are, CloudFailed."""
    with _Registry(environment, model, credentials) as registry:
        digest = registry.digest(tag)
        if digest is None:
            there = ", ".join(registry.tags()[:MOST_NAMED]) or "none"
            text = f"There is no image {environment.images(model)}:{tag}. Build it: `make deliver`, or push the commit."
            raise NotReleasable(text, [f"the newest images of {model} are: {there}"])
    return f"{environment.images(model)}@{digest}"


def keep_image(environment: Environment, model: str, image: str, version: int, credentials: Credentials) -> str:
    """Tag an image, given by its digest, as one that served, so that clean-up keeps it; return the tag.

    The tag is the digest's own and never moves: of two builds of the same version, both are kept.
    """
    digest = image.partition("@")[2]
    tag = f"{SERVED}-v{version}-{digest.removeprefix('sha256:')[:DIGITS]}"
    with _Registry(environment, model, credentials) as registry:
        if registry.digest(tag) is None:
            registry.tag(digest, tag)
    return tag


def _code(root: Path) -> list[Path]:
    paths = [path for name in CODE for path in ([root / name] if (root / name).is_file() else (root / name).rglob("*"))]
    return [path for path in paths if path.is_file() and not NOT_CODE.intersection(path.relative_to(root).parts)]


class _Registry:
    """One model's package; `with` ends its connections."""

    def __init__(self, environment: Environment, model: str, credentials: Credentials) -> None:
        place = f"projects/{environment.project}/locations/{environment.region}"
        self._package = f"{place}/repositories/{environment.prefix}/packages/{model}"
        self._identity = environment.release_identity
        self._client = google_apis.client("artifactregistry", credentials)
        self._tags = self._client.projects().locations().repositories().packages().tags()

    def __enter__(self) -> "_Registry":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def digest(self, tag: str) -> str | None:
        """Return the digest that a tag means, None where there is no such tag."""
        try:
            found = self._call(f"Reading the tag {tag} of", self._tags.get(name=f"{self._package}/tags/{tag}"))
        except _NotFound:
            return None
        return str(found["version"].rpartition("/")[2])

    def tags(self) -> list[str]:
        """Return every tag, those of the highest versions first."""
        names: list[str] = []
        request = self._tags.list(parent=self._package, pageSize=1000)
        while request is not None:
            try:
                page = self._call("Listing the tags of", request)
            except _NotFound:
                return []
            names += [one["name"].rpartition("/")[2] for one in page.get("tags", [])]
            request = self._tags.list_next(request, page)
        return sorted((name for name in names if not name.startswith(f"{SERVED}-")), key=_by_version, reverse=True)

    def tag(self, digest: str, tag: str) -> None:
        """Give an image a tag that it may have got meanwhile; raises NotReleasable where there is no such image."""
        body = {"name": f"{self._package}/tags/{tag}", "version": f"{self._package}/versions/{digest}"}
        try:
            self._call("Tagging an image of", self._tags.create(parent=self._package, tagId=tag, body=body))
        except _AlreadyThere:
            pass
        except _NotFound as error:
            raise NotReleasable(f"There is no image {digest} in {self._package}.", [str(error)]) from error

    def _call(self, doing: str, request: Any) -> Any:
        remedy = f"`terraform apply` grants roles/artifactregistry.repoAdmin on the repository to {self._identity}."
        with explained(f"{doing} {self._package}", remedy):
            try:
                return patiently()(request.execute)()
            except HttpError as error:
                if error.resp.status in EXPECTED:
                    raise EXPECTED[error.resp.status](error.reason) from error
                raise


class _NotFound(Exception):
    pass


class _AlreadyThere(Exception):
    pass


EXPECTED: dict[int, type[Exception]] = {404: _NotFound, 409: _AlreadyThere}


def _by_version(tag: str) -> tuple[int, str]:
    number = tag.removeprefix("v").partition("-")[0]
    return (int(number) if number.isdecimal() else -1, tag)
