"""Cloud Monitoring as services of the double: v3, and v1 for dashboards and PromQL."""

from __future__ import annotations

from tests.cloud.discovery import Document
from tests.cloud.monitoring import alerts, answers, channels, dashboards, objectives, uptime
from tests.cloud.project import Project
from tests.cloud.service import ResourceService
from tests.cloud.signals import Signals

COLLECTIONS = (alerts.COLLECTION, channels.COLLECTION, uptime.COLLECTION)
COLLECTIONS += (objectives.SERVICE_COLLECTION, objectives.COLLECTION)


def services(project: Project, signals: Signals) -> list[ResourceService]:
    """Return both versions of the API, served below /monitoring."""
    new, old = (Document.load("monitoring", version, "/monitoring") for version in ("v3", "v1"))
    return [
        ResourceService(project, new, COLLECTIONS, answers.time_series(signals)),
        ResourceService(project, old, (dashboards.COLLECTION,), answers.prometheus(signals)),
    ]
