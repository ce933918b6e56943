"""Scalar values as Google's APIs read them from JSON, by the type and format of a discovery document."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
DURATION = re.compile(r"-?\d+(\.\d{1,9})?s")
LIMITS = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}
TYPE_NAMES = {"boolean": "TYPE_BOOL", "string": "TYPE_STRING", "number": "TYPE_DOUBLE", "integer": "TYPE_INT32"}


def read(kind: str, form: str | None, value: Any) -> Any:
    """Return a JSON value in the form in which Google echoes it.

    64-bit integers are decimal strings in JSON, but numbers are accepted for them (protobuf's JSON mapping).

    Raises ValueError: the value is not of this type and format.
    """
    if form in LIMITS:
        number = _integer(value, *LIMITS[form])
        return str(number) if kind == "string" else number
    return READERS.get((kind, form), READERS[(kind, None)])(value)


def read_text(kind: str, form: str | None, text: str) -> Any:
    """Return the value of a query parameter: numbers as int or float, booleans as bool, the rest as text.

    Raises ValueError: the text is not of this type and format.
    """
    if kind == "boolean":  # clients in Python send "True", and Google takes it
        return _boolean({"true": True, "false": False}.get(text.lower(), text))
    value = read(kind, form, text)
    return int(value) if form in LIMITS else value


def type_name(kind: str, form: str | None) -> str:
    """Return the name that Google's messages give a type."""
    return f"TYPE_{form.upper()}" if form in LIMITS else TYPE_NAMES.get(kind, kind)


def _integer(value: Any, lowest: int, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(value)
    number = int(value)
    if isinstance(value, float) and number != value:
        raise ValueError(value)
    if not lowest <= number <= highest:
        raise ValueError(value)
    return number


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(value)
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError(value)
    return value if isinstance(value, int | float) else float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def _instant(value: Any) -> str:
    text = _text(value)
    if not INSTANT.fullmatch(text):
        raise ValueError(value)
    datetime.fromisoformat(text)
    return text


def _date(value: Any) -> str:
    text = _text(value)
    date.fromisoformat(text)
    return text


def _duration(value: Any) -> str:
    text = _text(value)
    if not DURATION.fullmatch(text):
        raise ValueError(value)
    return text


def _bytes(value: Any) -> str:
    text = _text(value)
    try:
        base64.b64decode(text.translate({ord("-"): "+", ord("_"): "/"}), validate=True)
    except binascii.Error as fault:
        raise ValueError(value) from fault
    return text


READERS: dict[tuple[str, str | None], Callable[[Any], Any]] = {
    ("string", None): _text,
    ("string", "byte"): _bytes,
    ("string", "date"): _date,
    ("string", "date-time"): _instant,
    ("string", "google-datetime"): _instant,
    ("string", "google-duration"): _duration,
    ("boolean", None): _boolean,
    ("number", None): _number,
    ("integer", None): lambda value: _integer(value, *LIMITS["int64"]),
}
