"""Where a LogSink leads to BigQuery: entries become rows, and tables are made and grow for them."""

from __future__ import annotations

import re

from tests.cloud import access
from tests.cloud.bigquery import rows, tables
from tests.cloud.bigquery.big_query import BigQuery
from tests.cloud.bigquery.catalog import HOST, ProjectCatalog
from tests.cloud.bigquery.datasets import TABLES, milliseconds
from tests.cloud.bigquery.fields import fields_of
from tests.cloud.bigquery.rows import ERRORS, Row
from tests.cloud.project import Project
from tests.cloud.schemas import Json

DESTINATION = re.compile(rf"{HOST}/projects/([^/]+)/datasets/([^/]+)")


def deliver(big_query: BigQuery, project: Project, sink: Json, entry: Json) -> None:
    """Write an entry that a sink takes, if it leads to BigQuery and may write there; else the entry is lost.

    Raises CloudError: 501 for an entry or a table that is not known here.
    """
    found = DESTINATION.fullmatch(sink.get("destination", ""))
    if not found or found[1] not in (project.id, project.number):
        return
    dataset, catalog = found[2], ProjectCatalog(project)
    with project.lock:
        row = rows.written(entry, sink, lambda table: _fields(catalog, dataset, table))
        if catalog.location(dataset) is None or not _may_write(project, sink, catalog.table(dataset, row.table), row):
            return
        _prepare(project, catalog, sink, dataset, row)
    big_query.warehouse.insert(dataset, row.table, [row.values])


def _fields(catalog: ProjectCatalog, dataset: str, table: str) -> list[Json] | None:
    found = catalog.table(dataset, table)
    return None if found is None else fields_of(found)


def _may_write(project: Project, sink: Json, table: Json | None, row: Row) -> bool:
    """Tell whether a sink's identity may write a row, and make or change the table where the row asks for that."""
    needed = ["bigquery.tables.updateData"]
    if table is None:
        needed.append("bigquery.tables.create")
    elif fields_of(table) != row.fields:
        needed.append("bigquery.tables.update")
    writer = sink["writerIdentity"].partition(":")[2]
    _, _, dataset = sink["destination"].rpartition("/datasets/")
    resource = f"//{HOST}/projects/{project.id}/datasets/{dataset}/tables/{row.table}"
    return all(access.holds(project, writer, permission, resource) for permission in needed)


def _prepare(project: Project, catalog: ProjectCatalog, sink: Json, dataset: str, row: Row) -> None:
    """Make the table of a row, or bring it to the schema that it must have."""
    name = f"projects/{project.id}/datasets/{dataset}/tables/{row.table}"
    old = catalog.table(dataset, row.table)
    if old is not None and fields_of(old) == row.fields:
        return
    new = {**(old or _partitioning(sink, row)), "schema": {"fields": row.fields}}
    location = catalog.location(dataset) or ""
    project.resources(TABLES)[name] = tables.described(new, name, old, location, milliseconds())


def _partitioning(sink: Json, row: Row) -> Json:
    options = sink.get("bigqueryOptions") or {}
    if not options.get("usePartitionedTables") or row.table.startswith(ERRORS):
        return {}
    return {"timePartitioning": {"type": "DAY", "field": "timestamp"}}
