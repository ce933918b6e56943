"""Cloud Monitoring as services of the double: v3, and v1 for dashboards."""

from __future__ import annotations

from tests.cloud.discovery import Document
from tests.cloud.monitoring import alerts
from tests.cloud.project import Project
from tests.cloud.service import ResourceService


def services(project: Project) -> list[ResourceService]:
    """Return both versions of the API, served below /monitoring."""
    new = ResourceService(project, Document.load("monitoring", "v3", "/monitoring"), (alerts.COLLECTION,))
    old = ResourceService(project, Document.load("monitoring", "v1", "/monitoring"))
    return [new, old]
