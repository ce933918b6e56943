"""Log entries as the rows that a sink writes, by https://cloud.google.com/logging/docs/export/bigquery."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote

from tests.cloud.discovery import Document
from tests.cloud.errors import unimplemented
from tests.cloud.instants import read_duration, read_instant, write_instant
from tests.cloud.schemas import Json

LONGEST_NAME = 128
UNSUPPORTED = re.compile(r"[^A-Za-z0-9_]")
# By the type and format that the API's description has.
SCALARS = {
    "boolean": "BOOLEAN",
    "google-datetime": "TIMESTAMP",
    "google-duration": "FLOAT",
    "int32": "INTEGER",
    "int64": "INTEGER",
    "string": "STRING",
}
ERRORS = "export_errors_"
ERROR_FIELDS = (
    ("logEntry", "STRING"),  # the whole entry, as JSON
    ("schemaErrorDetail", "STRING"),
    ("sink", "STRING"),
    ("logName", "STRING"),
    ("timestamp", "TIMESTAMP"),
    ("receiveTimestamp", "TIMESTAMP"),
    ("severity", "STRING"),
    ("insertId", "STRING"),
    ("trace", "STRING"),
)


class Mismatch(Exception):
    """A value that the table's column cannot take."""


@dataclass(frozen=True)
class Row:
    """A row for a table, and the schema that the table must have for it."""

    table: str
    fields: list[Json]
    values: Json


def written(entry: Json, sink: Json, fields_of: Callable[[str], list[Json] | None]) -> Row:
    """Return the row that a sink writes for an entry.

    `fields_of` gives a table's schema, or None where there is no such table yet: then the row brings its first one. An
    entry that does not fit goes to the table of errors instead, and nothing but that table tells of it.

    Raises CloudError: 501 for payloads with @type.
    """
    table = table_name(entry, sink)
    try:
        fields, values = columns(entry)
        return Row(table, merged(fields_of(table) or [], fields), values)
    except Mismatch as fault:
        return _error(entry, sink, str(fault))


def table_name(entry: Json, sink: Json) -> str:
    """Return the table of an entry's log: one for all days where the sink partitions, else one a day."""
    log = unquote(entry["logName"].rpartition("/logs/")[2])
    name = UNSUPPORTED.sub("_", log)
    partitioned = (sink.get("bigqueryOptions") or {}).get("usePartitionedTables")
    return name if partitioned else f"{name}_{_day(entry)}"


def column_name(name: str) -> str:
    """Return the column of a field that a user named."""
    return UNSUPPORTED.sub("_", name).lower().lstrip("_")[:LONGEST_NAME]


def columns(entry: Json) -> tuple[list[Json], Json]:
    """Return an entry's columns with their types, and its values by column.

    Raises Mismatch: an array of arrays, or of values of several types, or two fields with one column.
    """
    if "protoPayload" in entry or "@type" in entry.get("jsonPayload", {}):
        raise unimplemented("payloads with @type in BigQuery")
    return _record(entry, _document().schemas.resolve({"$ref": "LogEntry"})["properties"], "")


def merged(present: list[Json], needed: list[Json], where: str = "") -> list[Json]:
    """Return a schema with the fields that it lacks.

    Raises Mismatch: a field is of another type.
    """
    by_name = {field["name"].lower(): field for field in present}
    for field in needed:
        old = by_name.get(field["name"].lower())
        by_name[field["name"].lower()] = _joined(old, field, where + field["name"]) if old else field
    return list(by_name.values())


def _joined(old: Json, new: Json, path: str) -> Json:
    if (old["type"], _is_repeated(old)) != (new["type"], _is_repeated(new)):
        raise Mismatch(f"Field {path} is {_kind(old)} in the table's schema, but {_kind(new)} in the log entry")
    if "fields" not in new:
        return old
    return {**old, "fields": merged(old["fields"], new["fields"], f"{path}.")}


def _is_repeated(field: Json) -> bool:
    return bool(field.get("mode") == "REPEATED")


def _kind(field: Json) -> str:
    return f"REPEATED {field['type']}" if _is_repeated(field) else str(field["type"])


def _record(value: Json, properties: Json | None, path: str) -> tuple[list[Json], Json]:
    """Return the columns of an object; where the API does not describe it, its names are a user's."""
    fields: list[Json] = []
    values: Json = {}
    for key, below in value.items():
        name = key if properties else column_name(key)
        found = _column(name, below, (properties or {}).get(key), f"{path}{key}")
        if found is None:
            continue
        if name in values:
            raise Mismatch(f"Field {path}{key} has the column of another field, {name}")
        field, values[name] = found
        fields.append(field)
    return fields, values


def _column(name: str, value: Any, schema: Json | None, path: str) -> tuple[Json, Any] | None:
    """Return a column and its value, or None for what leaves no column: null, and what is empty."""
    if value is None or value == {} or value == [] or not name:
        return None
    if not isinstance(value, list):
        return _single(name, value, schema, path)
    schema = _document().schemas.resolve(schema)["items"] if schema else None
    elements = [_element(name, one, schema, path) for one in value if one is not None]
    if not elements:
        return None
    field = elements[0][0]
    for other, _ in elements[1:]:
        field = _joined(field, other, path)
    return {**field, "mode": "REPEATED"}, [one for _, one in elements]


def _element(name: str, value: Any, schema: Json | None, path: str) -> tuple[Json, Any]:
    found = None if isinstance(value, list) else _column(name, value, schema, path)
    if found is None:
        raise Mismatch(f"Field {path} is an array with an element that BigQuery has no place for")
    return found


def _single(name: str, value: Any, schema: Json | None, path: str) -> tuple[Json, Any] | None:
    schema = _document().schemas.resolve(schema) if schema else {}
    if isinstance(value, dict):
        fields, values = _record(value, schema.get("properties"), f"{path}.")
        return ({"name": name, "type": "RECORD", "mode": "NULLABLE", "fields": fields}, values) if fields else None
    kind = SCALARS.get(schema.get("format") or schema.get("type") or "") or _kind_of_json(value)
    return {"name": name, "type": kind, "mode": "NULLABLE"}, READERS.get(kind, lambda one: one)(value)


def _kind_of_json(value: Any) -> str:
    """Return the type of what a payload holds: every number of JSON is a FLOAT."""
    if isinstance(value, bool):
        return "BOOLEAN"
    return "STRING" if isinstance(value, str) else "FLOAT"


READERS: dict[str, Callable[[Any], Any]] = {
    "FLOAT": lambda value: read_duration(value) if isinstance(value, str) else float(value),
    "INTEGER": int,
}


def _error(entry: Json, sink: Json, detail: str) -> Row:
    """Return the row that says why an entry did not enter."""
    fields = [{"name": name, "type": kind, "mode": "NULLABLE"} for name, kind in ERROR_FIELDS]
    own = {name: entry[name] for name, _ in ERROR_FIELDS if name in entry}
    values = {"logEntry": json.dumps(entry), "schemaErrorDetail": detail, "sink": sink["name"], **own}
    return Row(f"{ERRORS}{_day(entry)}", fields, values)


def _day(entry: Json) -> str:
    return write_instant(read_instant(entry["timestamp"]))[:10].replace("-", "")


@cache
def _document() -> Document:
    return Document.load("logging", "v2")
