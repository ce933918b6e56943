"""Tables and views: the schemas of tables grow and never shrink, those of views are what their queries give."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from tests.cloud import masks
from tests.cloud.bigquery.big_query import BigQuery
from tests.cloud.bigquery.datasets import DATASETS, TABLES, milliseconds
from tests.cloud.collection import Change, Collection, from_body
from tests.cloud.errors import invalid, unimplemented
from tests.cloud.schemas import Json

ID = re.compile(r"[\w\- ]{1,1024}")
COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,299}")
# A type may have two names: https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types
SYNONYMS = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}
TYPES = {"STRING", "BYTES", "INTEGER", "FLOAT", "BOOLEAN", "TIMESTAMP", "DATE", "TIME", "DATETIME", "GEOGRAPHY"}
TYPES |= {"NUMERIC", "BIGNUMERIC", "JSON", "RECORD", "RANGE", "INTERVAL"}
PARTITIONED_TYPES = {"TIMESTAMP", "DATE", "DATETIME"}
MOST_CLUSTERED = 4
# A required column may become nullable, never the other way round.
LOOSER = {("REQUIRED", "NULLABLE")}


def collection(big_query: BigQuery) -> Collection:
    """Return the collection of tables over the rows that there are."""
    return replace(COLLECTION, effect=_with_view(big_query), shown=_with_rows(big_query))


def described(new: Json, name: str, old: Json | None, location: str, moment: str) -> Json:
    """Return a table with what BigQuery adds, apart from the address that a client asks for it under."""
    _, project, _, dataset, _, table = name.split("/")
    completed = {
        **new,
        "kind": "bigquery#table",
        "id": f"{project}:{dataset}.{table}",
        "tableReference": {"projectId": project, "datasetId": dataset, "tableId": table},
        "creationTime": (old or {}).get("creationTime", moment),
        "lastModifiedTime": moment,
        "location": location,
        "type": "VIEW" if new.get("view") else "TABLE",
        "numBytes": (old or {}).get("numBytes", "0"),
        "numRows": "0",
    }
    if new.get("schema"):
        completed["schema"] = {"fields": [_field(field) for field in new["schema"].get("fields") or []]}
    if new.get("timePartitioning"):
        completed["timePartitioning"] = {"type": "DAY", **new["timePartitioning"]}
    return completed


def _check(new: Json, change: Change) -> None:
    fields = (new.get("schema") or {}).get("fields") or []
    _check_fields(fields, "")
    by_name = {field["name"].lower(): _type(field) for field in fields}
    column = (new.get("timePartitioning") or {}).get("field")
    if column and by_name.get(column.lower()) not in PARTITIONED_TYPES:
        raise invalid("The field specified for partitioning cannot be found in the schema or has an unfit type.")
    clustered = (new.get("clustering") or {}).get("fields") or []
    if len(clustered) > MOST_CLUSTERED or any(name.lower() not in by_name for name in clustered):
        raise invalid("The field specified for clustering cannot be found in the schema.")
    if new.get("view") and not new["view"].get("query"):
        raise invalid("Required parameter is missing: view.query")
    if change.old and not new.get("view"):
        _check_growth((change.old.get("schema") or {}).get("fields") or [], fields, change)
        _check_same_partitions(new, change.old)


def _check_fields(fields: list[Json], where: str) -> None:
    names = [field.get("name", "").lower() for field in fields]
    for field in fields:
        if not COLUMN.fullmatch(field.get("name") or ""):
            raise invalid(f'Invalid field name "{where}{field.get("name")}".')
        if names.count(field["name"].lower()) > 1:
            raise invalid(f"Field {where}{field['name']} already exists in schema")
        if _type(field) not in TYPES:
            raise invalid(f"Invalid value for type: {field.get('type')} is not a valid value")
        _check_fields(field.get("fields") or [], f"{where}{field['name']}.")


def _check_growth(before: list[Json], after: list[Json], change: Change) -> None:
    present = {field["name"].lower(): field for field in after}
    for field in before:
        name, found = field["name"], present.get(field["name"].lower())
        table = f"{change.project.id}:{change.name.split('/')[3]}.{change.id}"
        if found is None:
            raise invalid(f"Provided Schema does not match Table {table}. Field {name} is missing in new schema")
        if _type(found) != _type(field):
            raise invalid(f"Provided Schema does not match Table {table}. Field {name} has changed type")
        if _mode(found) != _mode(field) and (_mode(field), _mode(found)) not in LOOSER:
            raise invalid(f"Provided Schema does not match Table {table}. Field {name} has changed mode")
        _check_growth(field.get("fields") or [], found.get("fields") or [], change)


def _check_same_partitions(new: Json, old: Json) -> None:
    now_by, before_by = ((table.get("timePartitioning") or {}).get("field") for table in (new, old))
    if ("timePartitioning" in new) != ("timePartitioning" in old) or now_by != before_by:
        raise invalid("Cannot change partitioning spec for an existing table.")


def _type(field: Json) -> str:
    kind = (field.get("type") or "").upper()
    return SYNONYMS.get(kind, kind)


def _mode(field: Json) -> str:
    return (field.get("mode") or "NULLABLE").upper()


def _complete(new: Json, change: Change) -> Json:
    dataset = change.name.rpartition("/tables/")[0]
    location = change.project.resources(DATASETS)[dataset]["location"]
    table = described(new, change.name, change.old, location, milliseconds())
    return {**table, "selfLink": f"{change.call.request.root}/bigquery/bigquery/v2/{change.name}"}


def _with_view(big_query: BigQuery) -> Callable[[Json, Change], Json]:
    """Return what checks a view's query, as who writes the view may read, and fills in its schema."""

    def effect(table: Json, change: Change) -> Json:
        if not table.get("view"):
            return table
        if table["view"].get("useLegacySql", True):
            raise unimplemented("views in legacy SQL, which a view is in unless useLegacySql is false")
        return {**table, "schema": {"fields": big_query.view_fields(table["view"], change.call.request.principal)}}

    return effect


def _with_rows(big_query: BigQuery) -> Callable[[Json], Json]:
    """Return what adds the number of rows to a table; those that were streamed count at once."""

    def shown(table: Json) -> Json:
        if table["type"] != "TABLE":
            return table
        reference = table["tableReference"]
        return {**table, "numRows": str(big_query.count(reference["datasetId"], reference["tableId"]))}

    return shown


def _field(field: Json) -> Json:
    below = {"fields": [_field(one) for one in field["fields"]]} if field.get("fields") else {}
    return {**field, "type": _type(field), "mode": _mode(field), **below}


COLLECTION = Collection(
    methods=TABLES,
    new_id=from_body("tableReference", "tableId"),
    id_rule=ID,
    check=_check,
    complete=_complete,
    unmasked=masks.merged,
    schema="Table",
    parent=DATASETS,
)
