"""Cloud Logging as a service of the double."""

from __future__ import annotations

from tests.cloud.discovery import Document
from tests.cloud.logging import metrics
from tests.cloud.project import Project
from tests.cloud.service import Behaviour, ResourceService
from tests.cloud.signals import Signals


def service(project: Project, signals: Signals) -> ResourceService:
    """Return the API, served below /logging."""
    document = Document.load("logging", "v2", "/logging")
    return ResourceService(project, document, (metrics.COLLECTION,), _behaviour(signals))


def _behaviour(signals: Signals) -> dict[str, Behaviour]:
    return {
        "logging.entries.list": lambda _, call: signals.entries.list_entries(call.body),
        "logging.entries.write": lambda _, call: signals.entries.write_entries(call.body),
    }
