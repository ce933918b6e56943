"""Cloud Build as services of the double: v1 for triggers, v2 for repositories; nothing is built here."""

from __future__ import annotations

from tests.cloud.cloudbuild import repositories, triggers
from tests.cloud.discovery import Document
from tests.cloud.project import Project
from tests.cloud.service import ResourceService


def services(project: Project) -> list[ResourceService]:
    """Return both versions of the API, served below /cloudbuild."""
    old, new = (Document.load("cloudbuild", version, "/cloudbuild") for version in ("v1", "v2"))
    second = (repositories.CONNECTION, repositories.REPOSITORY)
    return [ResourceService(project, old, (triggers.COLLECTION,)), ResourceService(project, new, second)]
