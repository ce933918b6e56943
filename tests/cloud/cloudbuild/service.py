"""Cloud Build as services of the double: v1 for triggers and their builds, v2 for repositories; no step runs here."""

from __future__ import annotations

from tests.cloud.cloudbuild import builds, repositories, triggers
from tests.cloud.cloudbuild.cloud_build import CloudBuild
from tests.cloud.discovery import Document
from tests.cloud.project import Project
from tests.cloud.service import ResourceService


def services(project: Project, cloud_build: CloudBuild) -> list[ResourceService]:
    """Return both versions of the API, served below /cloudbuild."""
    old, new = (Document.load("cloudbuild", version, "/cloudbuild") for version in ("v1", "v2"))
    second = (repositories.CONNECTION, repositories.REPOSITORY)
    return [
        ResourceService(project, old, (triggers.COLLECTION,), builds.behaviour(cloud_build)),
        ResourceService(project, new, second),
    ]
