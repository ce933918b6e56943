"""Cloud Logging as a service of the double."""

from __future__ import annotations

from tests.cloud.discovery import Document
from tests.cloud.logging import buckets, metrics, sinks
from tests.cloud.project import Project
from tests.cloud.service import ResourceService

COLLECTIONS = (metrics.COLLECTION, sinks.COLLECTION, buckets.COLLECTION)


def service(project: Project) -> ResourceService:
    """Return the API, served below /logging."""
    buckets.seed(project)
    return ResourceService(project, Document.load("logging", "v2", "/logging"), COLLECTIONS, buckets.BEHAVIOUR)
