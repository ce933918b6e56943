"""Rows over HTTP: tabledata.insertAll, which takes all of them or says of each what is wrong, and tabledata.list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.cloud.bigquery import results
from tests.cloud.bigquery.big_query import BigQuery
from tests.cloud.bigquery.catalog import HOST, ProjectCatalog
from tests.cloud.bigquery.fields import fields_of, name_of
from tests.cloud.bigquery.queries import format_of, start_of
from tests.cloud.discovery import Call
from tests.cloud.errors import invalid, required, unimplemented
from tests.cloud.project import Project
from tests.cloud.schemas import Json

TRUTHS = {"true": True, "false": False}


class Misfit(Exception):
    """A value that its column does not take."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(message)
        self.where = where


def insert_all(big_query: BigQuery, project: Project, call: Call) -> Json:
    """Answer tabledata.insertAll.

    Raises CloudError: 400 without rows or for a view, 404 without the table.
    """
    if call.body.get("templateSuffix"):
        raise unimplemented("template tables")
    if not call.body.get("rows"):
        raise required("rows")
    dataset, table = _table(project, call)
    fields = fields_of(ProjectCatalog(project).table(dataset, table) or {})
    taken: list[Json] = []
    faults: dict[int, Json] = {}
    for index, row in enumerate(call.body["rows"]):
        try:
            taken.append(_record(fields, row.get("json") or {}, "", bool(call.body.get("ignoreUnknownValues"))))
        except Misfit as fault:
            faults[index] = _error("invalid", fault.where, str(fault))
    if faults and not call.body.get("skipInvalidRows"):
        stopped = _error("stopped", "", "")
        faults, taken = {index: faults.get(index, stopped) for index in range(len(call.body["rows"]))}, []
    big_query.warehouse.insert(dataset, table, taken)
    errors = [{"index": index, "errors": [fault]} for index, fault in faults.items()]
    return {"kind": "bigquery#tableDataInsertAllResponse", **({"insertErrors": errors} if errors else {})}


def list_rows(big_query: BigQuery, project: Project, call: Call) -> Json:
    """Answer tabledata.list.

    Raises CloudError: 400 for a view or a field that is not there, 404 without the table.
    """
    found = big_query.warehouse.rows(*_table(project, call))
    if call.query.get("selectedFields"):
        places = _places(call.query["selectedFields"].split(","), found.fields)
        chosen = [tuple(row[place] for place in places) for row in found.rows]
        found = replace(found, fields=[found.fields[place] for place in places], rows=chosen)
    page = results.page(found, start_of(call), call.query.get("maxResults"), format_of(call))
    del page["schema"]
    return {"kind": "bigquery#tableDataList", **page}


def _table(project: Project, call: Call) -> tuple[str, str]:
    project.canonical(f"projects/{call.path['projectId']}", HOST)
    return call.path["datasetId"], call.path["tableId"]


def _places(names: list[str], fields: list[Json]) -> list[int]:
    """Return the columns that are named, in the table's order."""
    wanted = {name.strip().lower() for name in names}
    if any("." in name for name in wanted):
        raise unimplemented("selectedFields below a RECORD")
    unknown = wanted - {field["name"].lower() for field in fields}
    if unknown:
        raise invalid(f"Selected field {min(unknown)} was not found in the table's schema.")
    return [place for place, field in enumerate(fields) if field["name"].lower() in wanted]


def _record(fields: list[Json], row: Json, where: str, takes_unknown: bool) -> Json:
    """Return a row with the values that its columns keep.

    Raises Misfit: a column is unknown, a value is none of its type, a required one is missing.
    """
    by_name = {field["name"].lower(): field for field in fields}
    record: Json = {}
    for name, value in row.items():
        field = by_name.get(name.lower())
        if field is not None:
            record[field["name"]] = _value(field, value, f"{where}{name}", takes_unknown)
        elif not takes_unknown:
            raise Misfit(f"{where}{name}", f"no such field: {where}{name}.")
    for field in fields:
        if field.get("mode") == "REQUIRED" and record.get(field["name"]) is None:
            raise Misfit("", f"Missing required field: {where}{field['name']}.")
    return record


def _value(field: Json, value: Any, where: str, takes_unknown: bool) -> Any:
    if value is None:
        return None
    if field.get("mode") != "REPEATED":
        return _one(field, value, where, takes_unknown)
    if not isinstance(value, list):
        raise Misfit(where, f"Array specified for non-repeated field or value for repeated field: {where}.")
    return [_one(field, one, where, takes_unknown) for one in value]


def _one(field: Json, value: Any, where: str, takes_unknown: bool) -> Any:
    kind = name_of(field)
    if kind == "STRUCT":
        if not isinstance(value, dict):
            raise Misfit(where, f"This field: {field['name']} is not a record.")
        return _record(field["fields"], value, f"{where}.", takes_unknown)
    try:
        return READERS[kind](value) if kind in READERS else value
    except (TypeError, ValueError, KeyError):
        raise Misfit(where, f"Cannot convert value to {kind.lower()} (bad value): {value}") from None


def _integer(value: Any) -> int:
    if isinstance(value, bool) or int(value) != float(value):
        raise ValueError(value)
    return int(value)


def _float(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError(value)
    return float(value)


def _truth(value: Any) -> bool:
    return value if isinstance(value, bool) else TRUTHS[value.lower()]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


# Client libraries write numbers and truths as text, which keeps 64 bits whole.
READERS: dict[str, Callable[[Any], Any]] = {
    "BOOL": _truth,
    "DATE": _text,
    "FLOAT64": _float,
    "INT64": _integer,
    "STRING": _text,
}


def _error(reason: str, where: str, message: str) -> Json:
    return {"reason": reason, "location": where, "debugInfo": "", "message": message}
