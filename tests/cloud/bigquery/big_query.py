"""What BigQuery holds beside its resources: the rows of tables, and the jobs that asked for some."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.cloud.bigquery.catalog import CallersCatalog, ProjectCatalog
from tests.cloud.errors import CloudError
from tests.cloud.project import Project
from tests.cloud.schemas import Json

if TYPE_CHECKING:
    from tests.cloud.bigquery.sql import Result, Warehouse


@dataclass(frozen=True)
class Job:
    """A job that is done: as the API describes it, with what it gave or why it failed."""

    resource: Json
    outcome: Result | CloudError


class BigQuery:
    """The rows and jobs of one project; safe for threads."""

    def __init__(self, project: Project) -> None:
        """Make one without rows; the warehouse is made when something is first asked of it."""
        self._project = project
        self._lock = threading.Lock()
        self._warehouse: Warehouse | None = None
        self.jobs: dict[str, Job] = {}

    @property
    def warehouse(self) -> Warehouse:
        """The rows; made here, because duckdb and sqlglot take a while to import and most tests query nothing."""
        from tests.cloud.bigquery.sql import Warehouse

        with self._lock:
            if self._warehouse is None:
                self._warehouse = Warehouse(ProjectCatalog(self._project))
            return self._warehouse

    def close(self) -> None:
        """Forget all rows."""
        with self._lock:
            warehouse, self._warehouse = self._warehouse, None
        if warehouse is not None:
            warehouse.close()

    def count(self, dataset: str, table: str) -> int:
        """Return how many rows a table has; there is none where nothing was ever asked."""
        if self._warehouse is None:
            return 0
        try:
            return self._warehouse.count(dataset, table)
        except CloudError as fault:
            if fault.status != 501:
                raise
            return 0  # a type of column that is not kept: no row was ever taken

    def view_fields(self, view: Json, caller: str | None) -> list[Json]:
        """Return the schema of what a view gives.

        Raises CloudError: as BigQuery refuses the view's query, 501 for legacy SQL.
        """
        seen = CallersCatalog(self._project, caller, None)
        return self.warehouse.dry_run(view["query"], seen=seen)
