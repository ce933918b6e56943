"""Cloud Logging as a service of the double."""

from __future__ import annotations

from tests.cloud.discovery import Document
from tests.cloud.logging import buckets, metrics, sinks
from tests.cloud.project import Project
from tests.cloud.service import Behaviour, ResourceService
from tests.cloud.signals import Signals

COLLECTIONS = (metrics.COLLECTION, sinks.COLLECTION, buckets.COLLECTION)


def service(project: Project, signals: Signals) -> ResourceService:
    """Return the API, served below /logging."""
    buckets.seed(project)
    behaviour = {**buckets.BEHAVIOUR, **_behaviour(signals)}
    return ResourceService(project, Document.load("logging", "v2", "/logging"), COLLECTIONS, behaviour)


def _behaviour(signals: Signals) -> dict[str, Behaviour]:
    return {
        "logging.entries.list": lambda _, call: signals.entries.list_entries(call.body),
        "logging.entries.write": lambda _, call: signals.entries.write_entries(call.body),
    }
