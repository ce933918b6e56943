"""BigQuery as a service of the double: datasets and tables; nothing is queried here."""

from __future__ import annotations

from tests.cloud.bigquery import datasets, tables
from tests.cloud.discovery import Document
from tests.cloud.project import Project
from tests.cloud.service import ResourceService


def service(project: Project) -> ResourceService:
    """Return the API, served below /bigquery."""
    document = Document.load("bigquery", "v2", "/bigquery")
    return ResourceService(project, document, (datasets.COLLECTION, tables.COLLECTION))
