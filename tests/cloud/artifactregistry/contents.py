"""What lies in the repositories: each image as a Docker image and a version, its name as a package, its tags."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import quote, unquote

from tests.cloud import pages, resources
from tests.cloud.artifactregistry.images import Image, Images
from tests.cloud.collection import Collection
from tests.cloud.discovery import Call
from tests.cloud.errors import conflict, invalid, not_found, unimplemented
from tests.cloud.project import Project
from tests.cloud.schemas import Json
from tests.cloud.service import Behaviour

MEDIA_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
TAG = re.compile(r"\w[\w.-]{0,127}")  # https://github.com/opencontainers/distribution-spec
UNIMPLEMENTED = ("filter", "orderBy")
# Yields what a repository, by its full name, holds of one kind.
Reading = Callable[[Images, str], Iterator[Json]]


def behaviour(images: Images, repositories: Collection) -> dict[str, Behaviour]:
    """Return what answers get and list of everything in a repository, by discovery id."""
    answers: dict[str, Behaviour] = {}
    for kind, read in READINGS.items():
        methods = f"{repositories.methods}.{kind}"
        answers[f"{methods}.get"] = _get(images, repositories, read)
        answers[f"{methods}.list"] = _list(images, repositories, kind.rpartition(".")[2], read)
    answers[f"{repositories.methods}.packages.tags.create"] = _create_tag(images, repositories)
    return answers


def size(images: Images, repository: str) -> int:
    """Return how many bytes the images of a repository have."""
    return sum(image.size_bytes for _, image, _ in images.images(_prefix(repository)))


def _get(images: Images, repositories: Collection, read: Reading) -> Behaviour:
    def answer(project: Project, call: Call) -> Json:
        name, repository = _place(project, call, repositories)
        found = (one for one in read(images, repository) if unquote(one["name"]) == name)
        if one := next(found, None):
            return one
        raise not_found("Requested entity was not found.")

    return answer


def _list(images: Images, repositories: Collection, field: str, read: Reading) -> Behaviour:
    def answer(project: Project, call: Call) -> Json:
        for parameter in UNIMPLEMENTED:
            if call.query.get(parameter):
                raise unimplemented(f"{parameter} of {call.method.id}")
        name, repository = _place(project, call, repositories)
        below = (one for one in read(images, repository) if unquote(one["name"]).startswith(f"{name}/"))
        page = pages.cut({(one["name"],): one for one in below}, call.query)
        return pages.listing(page, **{field: page.values})

    return answer


def _create_tag(images: Images, repositories: Collection) -> Behaviour:
    def answer(project: Project, call: Call) -> Json:
        name, repository = _place(project, call, repositories)
        package = name.removesuffix("/tags")
        tag, version = call.query.get("tagId") or "", call.body.get("version") or ""
        if not TAG.fullmatch(tag):
            raise invalid(f"Invalid tag id '{tag}': it must match {TAG.pattern}")
        if any(unquote(one["name"]) == f"{name}/{tag}" for one in _tags(images, repository)):
            raise conflict(f"the tag {name}/{tag} already exists.")
        if not any(unquote(one["name"]) == unquote(version) for one in _versions(images, repository)):
            raise not_found("Requested entity was not found.")
        if not version.startswith(f"{package}/versions/"):
            raise invalid(f"The version '{version}' is not one of {package}.")
        images.tag(_prefix(repository) + package.rpartition("/packages/")[2], version.rpartition("/")[2], tag)
        return {"name": f"{name}/{tag}", "version": version}

    return answer


def _place(project: Project, call: Call, repositories: Collection) -> tuple[str, str]:
    """Return the name that a call is about, and that of the repository; raises CloudError: 404."""
    name = project.canonical(call.name, call.document.host)
    repository = "/".join(name.split("/")[:6])
    resources.found(repositories, project, repository)
    return name, repository


def _prefix(repository: str) -> str:
    """Return how the names of a repository's images begin."""
    _, project, _, location, _, name = repository.split("/")
    return f"{location}-docker.pkg.dev/{project}/{name}/"


def _read(images: Images, repository: str) -> Iterator[tuple[str, str, Image, list[str]]]:
    """Yield the name below the repository, a slash in it escaped, the address, the image and its tags."""
    prefix = _prefix(repository)
    for name, image, tags in images.images(prefix):
        yield quote(name.removeprefix(prefix), safe=""), f"{name}@{image.digest}", image, tags


def _docker_images(images: Images, repository: str) -> Iterator[Json]:
    for package, uri, image, tags in _read(images, repository):
        yield {
            "name": f"{repository}/dockerImages/{package}@{image.digest}",
            "uri": uri,
            **({"tags": tags} if tags else {}),
            "imageSizeBytes": str(image.size_bytes),
            "uploadTime": _time(image),
            "updateTime": _time(image),
            "mediaType": MEDIA_TYPE,
        }


def _packages(images: Images, repository: str) -> Iterator[Json]:
    times: dict[str, list[str]] = {}
    for package, _, image, _ in _read(images, repository):
        times.setdefault(package, []).append(_time(image))
    for package, known in times.items():
        yield {"name": f"{repository}/packages/{package}", "createTime": min(known), "updateTime": max(known)}


def _versions(images: Images, repository: str) -> Iterator[Json]:
    for package, _, image, _ in _read(images, repository):
        name = f"{repository}/packages/{package}/versions/{image.digest}"
        metadata = {"imageSizeBytes": str(image.size_bytes), "mediaType": MEDIA_TYPE}
        yield {"name": name, "createTime": _time(image), "updateTime": _time(image), "metadata": metadata}


def _tags(images: Images, repository: str) -> Iterator[Json]:
    for package, _, image, tags in _read(images, repository):
        below = f"{repository}/packages/{package}"
        yield from ({"name": f"{below}/tags/{tag}", "version": f"{below}/versions/{image.digest}"} for tag in tags)


def _time(image: Image) -> str:
    return image.uploaded.isoformat(timespec="microseconds").replace("+00:00", "Z")


READINGS: dict[str, Reading] = {
    "dockerImages": _docker_images,
    "packages": _packages,
    "packages.tags": _tags,
    "packages.versions": _versions,
}
