"""Cloud Logging as a service of the double."""

from __future__ import annotations

from tests.cloud.discovery import Document
from tests.cloud.logging import metrics
from tests.cloud.project import Project
from tests.cloud.service import ResourceService


def service(project: Project) -> ResourceService:
    """Return the API, served below /logging."""
    return ResourceService(project, Document.load("logging", "v2", "/logging"), (metrics.COLLECTION,))
