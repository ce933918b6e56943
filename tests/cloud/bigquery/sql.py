"""A project's BigQuery tables in duckdb, in memory: rows go in, queries in GoogleSQL are answered.

What there is (datasets, tables, schemas, views) is asked of the catalog each time; only rows are kept here, and a table
follows its schema when it is next used. googlesql.py says which GoogleSQL is understood: everything else is a 501.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import duckdb

from tests.cloud.bigquery import casts, functions, json_text, types
from tests.cloud.bigquery.fields import fields_of, name_of
from tests.cloud.bigquery.googlesql import Catalog, Compiled, TableName, compile_query, invalid_query
from tests.cloud.errors import CloudError, not_found, unimplemented
from tests.cloud.schemas import Json

UNGROUPED = re.compile(r'column "([^"]+)" must appear in the GROUP BY clause')


@dataclass(frozen=True)
class Result:
    """What a query or a table gives: its fields as a schema has them, and plain Python values."""

    fields: list[Json]
    rows: list[tuple[Any, ...]]


@dataclass
class _Kept:
    """A table in duckdb: which one of that name it is, and the schema that it has there."""

    identity: str
    fields: list[Json]


class Warehouse:
    """The rows of one project; safe for threads."""

    def __init__(self, catalog: Catalog) -> None:
        """Make an empty one over what the catalog says there is."""
        self._catalog = catalog
        self._lock = threading.RLock()
        self._kept: dict[TableName, _Kept] = {}
        self._faults: list[CloudError] = []  # raised inside of duckdb, which would only pass their texts on
        self._connection = duckdb.connect(":memory:")
        self._run("SET default_null_order = 'nulls_first_on_asc_last_on_desc'")
        for macro in functions.MACROS:
            self._run(macro)
        for name, function, parameters, returned in functions.PYTHON:
            self._add(name, _guarded(function, self._faults.append), parameters, returned)
            self._add(f"{name}_safe", _guarded(function, _ignore), parameters, returned)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *of_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget everything."""
        self._connection.close()

    def insert(self, dataset: str, table: str, rows: Iterable[Json]) -> None:
        """Append rows, by the names of their columns; what a row does not have is NULL.

        Raises CloudError: 404 for a table that is not there, 400 for a value that its column does not take.
        """
        resource = self._resource(dataset, table)
        fields = fields_of(resource)
        values = [[_stored_value(field, row) for field in fields] for row in map(_by_lower_name, rows)]
        with self._lock:
            name = self._follow(TableName(dataset, table), resource)
            marks = ", ".join("?" for _ in fields)
            for one in values:
                self._run(f"INSERT INTO {types.quoted(name)} VALUES ({marks})", one)

    def count(self, dataset: str, table: str) -> int:
        """Return how many rows a table has.

        Raises CloudError: 404 for a table that is not there.
        """
        resource = self._resource(dataset, table)
        with self._lock:
            name = self._follow(TableName(dataset, table), resource)
            number: int = self._run(f"SELECT count(*) FROM {types.quoted(name)}")[0][0]
            return number

    def rows(self, dataset: str, table: str) -> Result:
        """Return all rows of a table, as tabledata.list does.

        Raises CloudError: 404 for a table that is not there, 400 for a view.
        """
        resource = self._resource(dataset, table)
        with self._lock:
            name = self._follow(TableName(dataset, table), resource)
            return Result(fields_of(resource), self._run(f"SELECT * FROM {types.quoted(name)}"))

    def query(
        self,
        text: str,
        default_dataset: str | None = None,
        parameters: Mapping[str | int, Json] | None = None,
        seen: Catalog | None = None,
    ) -> Result:
        """Return what a query in GoogleSQL gives.

        Parameters are as the API has them ({"parameterType", "parameterValue"}), by name in lower case or by position;
        `seen` is the catalog as who asks sees it, where that is not everything.

        Raises CloudError: 400 and 404 as BigQuery refuses a query, 501 for what the double cannot do.
        """
        compiled = compile_query(text, seen or self._catalog, default_dataset, parameters)
        with self._lock:
            self._follow_all(compiled)
            rows = self._run(compiled.sql)
            fields = self._fields(compiled)
        _check_arrays(fields, rows)
        return Result(fields, rows)

    def dry_run(
        self,
        text: str,
        default_dataset: str | None = None,
        parameters: Mapping[str | int, Json] | None = None,
        seen: Catalog | None = None,
    ) -> list[Json]:
        """Return the schema of what a query gives, without running it: a dry run, and the check of a new view.

        Raises CloudError: as query() does.
        """
        compiled = compile_query(text, seen or self._catalog, default_dataset, parameters)
        with self._lock:
            self._follow_all(compiled)
            return self._fields(compiled)

    def _fields(self, compiled: Compiled) -> list[Json]:
        """Return the schema; where duckdb gives a wider number than was inferred, as a UNION may, its word counts."""
        described = self._run(f"DESCRIBE {compiled.sql}")
        fields = compiled.fields()
        for field, (_, kind, *_) in zip(fields, described, strict=True):
            if field["type"] == "INTEGER" and kind == "DOUBLE":
                field["type"] = "FLOAT"
        return fields

    def _resource(self, dataset: str, table: str) -> Json:
        resource = self._catalog.table(dataset, table)
        if resource is None:
            raise not_found(f"Not found: Table {self._catalog.project}:{dataset}.{table}")
        if resource.get("view"):
            message = f"Cannot list or change the rows of {self._catalog.project}:{dataset}.{table}: it is a view"
            raise CloudError(400, "invalid", message)
        return resource

    def _follow_all(self, compiled: Compiled) -> None:
        for table in compiled.tables.values():
            self._follow(table, self._resource(table.dataset, table.table))

    def _follow(self, table: TableName, resource: Json) -> str:
        """Bring a table in duckdb to the schema that it has by now, and return its name there."""
        name, identity, fields = f"{table.dataset}.{table.table}", resource.get("creationTime", ""), fields_of(resource)
        kept = self._kept.get(table)
        if kept is None or kept.identity != identity:
            columns = ", ".join(f"{types.quoted(field['name'])} {types.stored(field)}" for field in fields)
            self._run(f"CREATE OR REPLACE TABLE {types.quoted(name)} ({columns})")
        else:
            for path, field in _added(kept.fields, fields, ""):
                self._run(f"ALTER TABLE {types.quoted(name)} ADD COLUMN {path} {types.stored(field)}")
        self._kept[table] = _Kept(identity, fields)
        return name

    def _run(self, sql: str, values: list[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run one statement; duckdb's refusals become BigQuery's."""
        self._faults.clear()
        try:
            return self._connection.execute(sql, values or []).fetchall()
        except (duckdb.BinderException, duckdb.InvalidInputException, duckdb.ConversionException) as fault:
            raise self._refusal(invalid_query(_said(fault))) from None
        except duckdb.OutOfRangeException as fault:
            raise self._refusal(invalid_query(f"Numeric overflow: {_said(fault)}")) from None
        except duckdb.Error as fault:
            raise self._refusal(unimplemented(f"this query: duckdb says {_said(fault)}")) from None

    def _add(self, name: str, function: Callable[..., Any], parameters: tuple[str, ...], returned: str) -> None:
        self._connection.create_function(name, function, list(parameters), returned, null_handling="special")

    def _refusal(self, otherwise: CloudError) -> CloudError:
        return self._faults[0] if self._faults else otherwise


def _guarded(function: Callable[..., Any], refused: Callable[[CloudError], object]) -> Callable[..., Any]:
    """Return a function that gives NULL for a NULL and hands what it refuses on, or gives NULL for it as well.

    It must not know the connection, which holds it.
    """

    @functools.wraps(function)  # duckdb counts the parameters
    def guarded(*values: Any) -> Any:
        if None in values:
            return None
        try:
            return function(*values)
        except CloudError as fault:
            refused(fault)
            if refused is _ignore and fault.status == 400:
                return None
            raise

    return guarded


def _ignore(fault: CloudError) -> None:
    """Take no notice: SAFE_CAST and SAFE. give NULL."""


def _said(fault: duckdb.Error) -> str:
    """Return what duckdb says, in BigQuery's words where they are known."""
    said = str(fault).split("Error: ", 1)[-1].strip().splitlines()[0]
    if found := UNGROUPED.match(said):
        return f"SELECT list expression references column {found[1]} which is neither grouped nor aggregated"
    return said


def _added(before: list[Json], after: list[Json], path: str) -> Iterable[tuple[str, Json]]:
    """Yield the fields that are new, by their path in duckdb."""
    known = {field["name"].lower(): field for field in before}
    for field in after:
        here = path + types.quoted(field["name"])
        old = known.get(field["name"].lower())
        if old is None:
            yield here, field
        elif field.get("fields"):
            below = f"{here}.element." if field.get("mode") == "REPEATED" else f"{here}."
            yield from _added(old.get("fields") or [], field["fields"], below)


def _by_lower_name(row: Json) -> Json:
    return {name.lower(): value for name, value in row.items()}


def _stored_value(field: Json, row: Json) -> Any:
    """Return what duckdb stores for a field of a row whose names are in lower case."""
    value = row.get(field["name"].lower())
    if field.get("mode") == "REPEATED":
        return [_stored_one(field, one) for one in value or []]
    if value is None:
        return _nothing(field)
    return _stored_one(field, value)


def _nothing(field: Json) -> Any:
    if field.get("mode") == "REQUIRED":
        raise CloudError(400, "invalid", f"Missing required field: {field['name']}.")
    return None


def _stored_one(field: Json, value: Any) -> Any:
    kind = name_of(field)
    if kind == "STRUCT":
        below = _by_lower_name(value)
        return {one["name"]: _stored_value(one, below) for one in field["fields"]}
    if kind == "TIMESTAMP":
        return casts.timestamp_of_text(str(value))
    if kind == "JSON":
        return value if isinstance(value, str) else json_text.from_value(value)
    if not isinstance(value, ACCEPTED[kind]) or (isinstance(value, bool) and kind != "BOOL"):
        raise CloudError(400, "invalid", f"Cannot convert value to {kind.lower()} (bad value): {value}")
    return value


ACCEPTED: dict[str, type | tuple[type, ...]] = {
    "STRING": str,
    "FLOAT64": (int, float),
    "INT64": int,
    "BOOL": bool,
    "DATE": str,
}


def _check_arrays(fields: list[Json], rows: list[tuple[Any, ...]]) -> None:
    for index, field in enumerate(fields):
        if field["mode"] == "REPEATED" and any(None in (row[index] or ()) for row in rows):
            raise invalid_query(f"Array cannot have a null element; error in writing field {field['name']}")
