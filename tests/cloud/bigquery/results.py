"""Results as BigQuery's API writes them: https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/getQueryResults."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal

from tests.cloud.bigquery.fields import name_of
from tests.cloud.instants import write_instant
from tests.cloud.schemas import Json

if TYPE_CHECKING:
    from tests.cloud.bigquery.sql import Result

# DataFormatOptions: client libraries ask for useInt64Timestamp; FLOAT64 is what the API gives by itself.
TimestampFormat = Literal["FLOAT64", "INT64", "ISO8601_STRING"]


def page(result: Result, start: int = 0, size: int | None = None, timestamps: TimestampFormat = "INT64") -> Json:
    """Return the schema, the rows from `start` on, how many there are in all, and a token where there are more."""
    end = len(result.rows) if size is None else min(start + size, len(result.rows))
    rows = [_cells(result.fields, row, timestamps) for row in result.rows[start:end]]
    found: Json = {
        "schema": {"fields": result.fields},
        **({"rows": rows} if rows else {}),
        "totalRows": str(len(result.rows)),
    }
    return {**found, "pageToken": str(end)} if end < len(result.rows) else found


def plain(result: Result) -> list[Json]:
    """Return the rows by name: numbers, texts, times in UTC, JSON as text."""
    return [
        {field["name"]: _plain(field, one) for field, one in zip(result.fields, row, strict=True)}
        for row in result.rows
    ]


def _plain(field: Json, value: Any) -> Any:
    return (
        [] if value is None and field.get("mode") == "REPEATED" else value
    )  # an array that is NULL is written as empty


def _cells(fields: list[Json], values: Any, timestamps: TimestampFormat) -> Json:
    return {"f": [{"v": _value(field, one, timestamps)} for field, one in zip(fields, values, strict=True)]}


def _value(field: Json, value: Any, timestamps: TimestampFormat) -> Any:
    if field.get("mode") == "REPEATED":
        return [{"v": _one(field, element, timestamps)} for element in value or ()]
    return None if value is None else _one(field, value, timestamps)


def _one(field: Json, value: Any, timestamps: TimestampFormat) -> Any:
    kind = name_of(field)
    if kind == "STRUCT":
        return _cells(field["fields"], value.values(), timestamps)
    if kind == "TIMESTAMP":
        return TIMESTAMPS[timestamps](value)
    return WRITERS.get(kind, str)(value)


def _micros(moment: datetime) -> int:
    return (int(moment.replace(tzinfo=UTC, microsecond=0).timestamp())) * 10**6 + moment.microsecond


def _float(value: float) -> str:
    return {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}.get(str(value), str(float(value)))


def _date(value: date) -> str:
    return value.isoformat()


TIMESTAMPS: dict[TimestampFormat, Callable[[datetime], str]] = {
    "FLOAT64": lambda moment: repr(_micros(moment) / 1e6),
    "INT64": lambda moment: str(_micros(moment)),
    "ISO8601_STRING": lambda moment: write_instant(_micros(moment) * 1000),
}
WRITERS: dict[str, Callable[[Any], str]] = {
    "BOOL": lambda value: "true" if value else "false",
    "DATE": _date,
    "FLOAT64": _float,
}
