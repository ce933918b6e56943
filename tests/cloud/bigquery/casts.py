"""Casts and number literals as GoogleSQL's conversion rules have them; duckdb's differ in rounding and in texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from sqlglot import exp

from tests.cloud.bigquery.json_text import Listed, bad_value
from tests.cloud.bigquery.types import STORED, UNKNOWN, kind_of
from tests.cloud.errors import unimplemented
from tests.cloud.instants import SECOND, read_instant, write_instant

Node = exp.Expression
Writer = Callable[[Any], Node]


def call(name: str, *arguments: Node) -> exp.Anonymous:
    """Return a call of one of duckdb's functions."""
    return exp.Anonymous(this=name, expressions=list(arguments))


def native_cast(value: Node, stored: str) -> Node:
    """Return duckdb's own cast."""
    return exp.Cast(this=value, to=exp.DataType.build(stored, dialect="duckdb"))


def number(node: exp.Literal) -> Node:
    """Return a literal; one with a fraction is a FLOAT64, for duckdb it would be a DECIMAL."""
    if node.is_string or node.this.isdigit() or "e" in node.this.lower():
        return node
    return exp.Literal.number(f"{node.this}e0")


def cast(value: Node, kind: str) -> Node:
    """Return a cast as GoogleSQL means it.

    Raises CloudError: 400 where there is no such cast, 501 where it is not known here.
    """
    source = kind_of(value)
    if source in (kind, UNKNOWN):
        return value if source == kind else native_cast(value, _stored(kind))
    if (source, kind) in CASTS:
        return CASTS[source, kind](value)
    if {source, kind} & {"JSON", "ARRAY", "STRUCT"}:
        raise bad_value(f"Invalid cast from {source} to {kind}")
    raise unimplemented(f"casts from {source} to {kind}")


def _stored(kind: str) -> str:
    if kind not in STORED:
        raise unimplemented(f"casts to {kind}")
    return STORED[kind]


CASTS: dict[tuple[str, str], Writer] = {
    ("INT64", "FLOAT64"): lambda value: native_cast(value, "DOUBLE"),
    ("INT64", "STRING"): lambda value: native_cast(value, "VARCHAR"),
    ("INT64", "BOOL"): lambda value: native_cast(value, "BOOLEAN"),
    ("FLOAT64", "INT64"): lambda value: call("bq_float_to_int", value),
    ("FLOAT64", "STRING"): lambda value: call("bq_text_of_float", value),
    ("BOOL", "INT64"): lambda value: native_cast(value, "BIGINT"),
    ("BOOL", "STRING"): lambda value: native_cast(value, "VARCHAR"),
    ("STRING", "INT64"): lambda value: call("bq_int_of_text", value),
    ("STRING", "FLOAT64"): lambda value: call("bq_float_of_text", value),
    ("STRING", "BOOL"): lambda value: call("bq_bool_of_text", value),
    ("STRING", "TIMESTAMP"): lambda value: call("bq_timestamp_of_text", value),
    ("STRING", "DATE"): lambda value: call("bq_date_of_text", value),
    ("TIMESTAMP", "STRING"): lambda value: call("bq_text_of_timestamp", value),
    ("TIMESTAMP", "DATE"): lambda value: native_cast(value, "DATE"),
    ("DATE", "TIMESTAMP"): lambda value: native_cast(value, "TIMESTAMP"),
    ("DATE", "STRING"): lambda value: native_cast(value, "VARCHAR"),
}


def _text_of_float(value: float) -> str:
    """Return the shortest of 15 and 17 digits that reads back as the same number."""
    if value != value or value in (float("inf"), float("-inf")):
        return {"nan": "NaN"}.get(str(value), str(value))
    short = f"{value:.15g}"
    return short if float(short) == value else f"{value:.17g}"


def _int_of_text(text: str) -> int:
    try:
        number = int(text.strip(), 16 if text.strip().lower().lstrip("+-").startswith("0x") else 10)
    except ValueError:
        raise bad_value(f"Bad int64 value: {text}") from None
    if "_" in text or not -(2**63) <= number < 2**63:
        raise bad_value(f"Bad int64 value: {text}")
    return number


def _float_of_text(text: str) -> float:
    try:
        if "_" in text:
            raise ValueError
        return float(text)
    except ValueError:
        raise bad_value(f"Bad double value: {text}") from None


def _bool_of_text(text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError:
        raise bad_value(f"Bad bool value: {text}") from None


def timestamp_of_text(text: str) -> datetime:
    """Return a time without zone, in UTC."""
    spelled = re.sub(r"(:\d\d(?:\.\d+)?[+-]\d\d)$", r"\1:00", re.sub(r"\s*UTC$", "Z", text.strip()))
    try:
        nanoseconds = read_instant(spelled)
    except ValueError:
        raise bad_value(f"Invalid timestamp: '{text}'") from None
    seconds, rest = divmod(nanoseconds, SECOND)
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None, microsecond=rest // 1000)


def _date_of_text(text: str) -> date:
    try:
        return datetime.strptime(text.strip()[:10], "%Y-%m-%d").date()
    except ValueError:
        raise bad_value(f"Invalid date: '{text}'") from None


def _text_of_timestamp(moment: datetime) -> str:
    instant = int(moment.replace(tzinfo=UTC, microsecond=0).timestamp()) * SECOND + moment.microsecond * 1000
    return write_instant(instant).replace("T", " ").replace("Z", "+00")


FUNCTIONS: tuple[Listed, ...] = (
    ("bq_text_of_float", _text_of_float, ("DOUBLE",), "VARCHAR"),
    ("bq_int_of_text", _int_of_text, ("VARCHAR",), "BIGINT"),
    ("bq_float_of_text", _float_of_text, ("VARCHAR",), "DOUBLE"),
    ("bq_bool_of_text", _bool_of_text, ("VARCHAR",), "BOOLEAN"),
    ("bq_timestamp_of_text", timestamp_of_text, ("VARCHAR",), "TIMESTAMP"),
    ("bq_date_of_text", _date_of_text, ("VARCHAR",), "DATE"),
    ("bq_text_of_timestamp", _text_of_timestamp, ("TIMESTAMP",), "VARCHAR"),
)
