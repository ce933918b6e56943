"""A project's datasets and tables as queries find them: all that there are, or what one caller may read."""

from __future__ import annotations

from tests.cloud import access
from tests.cloud.bigquery.datasets import DATASETS, TABLES
from tests.cloud.errors import CloudError, unimplemented
from tests.cloud.project import Project
from tests.cloud.schemas import Json

HOST = "bigquery.googleapis.com"
# Entries of a dataset's access that let a view, a routine or another dataset read in the place of who asks.
AUTHORIZED = {"dataset", "routine", "view"}


class ProjectCatalog:
    """Everything that the project has; nothing here waits for the project's lock."""

    def __init__(self, project: Project) -> None:
        self._project = project

    @property
    def project(self) -> str:
        """The project that runs the query."""
        return self._project.id

    def location(self, dataset: str) -> str | None:
        """Return where a dataset is, or None where there is none."""
        found = self._project.resources(DATASETS).get(self._name(dataset))
        return found and found["location"]

    def table(self, dataset: str, table: str) -> Json | None:
        """Return a table or view, or None where there is none."""
        return self._project.resources(TABLES).get(f"{self._name(dataset)}/tables/{table}")

    def _name(self, dataset: str) -> str:
        return f"projects/{self._project.id}/datasets/{dataset}"


class CallersCatalog(ProjectCatalog):
    """What one caller may read, from one location: the one that was asked for, or that of the first dataset."""

    def __init__(self, project: Project, caller: str | None, place: str | None) -> None:
        super().__init__(project)
        self._caller = caller
        self._place = place

    @property
    def place(self) -> str:
        """Where the query runs; without a dataset in the United States."""
        return self._place or "US"

    def location(self, dataset: str) -> str | None:
        """Return where a dataset is, or None where it is not in the query's location."""
        found = super().location(dataset)
        self._place = self._place or found
        return found if found and found.lower() == self.place.lower() else None

    def table(self, dataset: str, table: str) -> Json | None:
        """Return a table or view, or None where there is none.

        Raises CloudError: 403 where the caller may not read it, there or not; 501 where the dataset lets views read.
        """
        resource = f"//{HOST}/{self._name(dataset)}/tables/{table}"
        if not access.holds(self._project, self._caller, "bigquery.tables.getData", resource):
            raise self._refusal(dataset, f"{self.project}:{dataset}.{table}")
        return super().table(dataset, table)

    def _refusal(self, dataset: str, table: str) -> CloudError:
        entries = self._project.resources(DATASETS)[self._name(dataset)]["access"]
        if any(AUTHORIZED & entry.keys() for entry in entries):
            return unimplemented("authorized views, routines and datasets")
        text = f"User does not have permission to query table {table}, or perhaps it does not exist."
        return CloudError(403, "accessDenied", f"Access Denied: Table {table}: {text}")
