"""GoogleSQL's JSON functions on texts, by https://cloud.google.com/bigquery/docs/reference/standard-sql/json_functions.

JSON is kept as its text, a STRING that holds JSON is one anyway. Where the two types differ there are two functions:
`_of_text` for STRING, `_of_json` for JSON. A STRING's numbers and keys stay as they were written; a JSON's were brought
into form by parse().
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

from tests.cloud.errors import CloudError, unimplemented

Step = str | int
LEAST_INTEGER, LARGEST_INTEGER = -(2**63), 2**64 - 1
LARGEST_INT64 = 2**63 - 1
LARGEST_EXACT = 2**53  # beyond it a FLOAT64 no longer holds every integer
DEEPEST = 500


class Number(str):
    """A number as it was written."""

    __slots__ = ()


class Members(list[tuple[str, Any]]):
    """An object's members as they were written, in their order and with repeated keys."""

    def first(self, key: str) -> Any:
        """Return the first value of a key, or MISSING."""
        return next((value for name, value in self if name == key), MISSING)


MISSING = object()


def bad_value(message: str) -> CloudError:
    """Return the refusal of a query that meets a value which a function cannot take."""
    return CloudError(400, "invalidQuery", message)


def parse(text: str, wide_numbers: str) -> str:
    """Return PARSE_JSON: members sorted and the first of a repeated key kept; `wide_numbers` is exact or round.

    Raises CloudError: 400 for what is no JSON or holds a number that cannot be stored.
    """
    try:
        value = _load(text)
    except ValueError as fault:
        raise bad_value(f"Invalid input: syntax error while parsing JSON - {fault}") from None
    return _write(_canonical(value, wide_numbers, 0))


def query_of_text(text: str, steps: str) -> str | None:
    """Return JSON_QUERY of a STRING; JSON null is NULL."""
    found = _find(_read_text(text), steps)
    return None if found is MISSING or found is None else _write(found)


def query_of_json(text: str, steps: str) -> str | None:
    """Return JSON_QUERY of a JSON; JSON null stays."""
    found = _find(_load(text), steps)
    return None if found is MISSING else _write(found)


def value_of_text(text: str, steps: str) -> str | None:
    """Return JSON_VALUE of a STRING: a scalar without its quotes."""
    return _scalar(_find(_read_text(text), steps))


def value_of_json(text: str, steps: str) -> str | None:
    """Return JSON_VALUE of a JSON."""
    return _scalar(_find(_load(text), steps))


def array_of_text(text: str, steps: str) -> list[str] | None:
    """Return JSON_QUERY_ARRAY of a STRING."""
    return _array(_find(_read_text(text), steps))


def array_of_json(text: str, steps: str) -> list[str] | None:
    """Return JSON_QUERY_ARRAY of a JSON."""
    return _array(_find(_load(text), steps))


def values_of_text(text: str, steps: str) -> list[str | None] | None:
    """Return JSON_VALUE_ARRAY of a STRING: NULL unless every element is a scalar."""
    return _scalars(_find(_read_text(text), steps))


def values_of_json(text: str, steps: str) -> list[str | None] | None:
    """Return JSON_VALUE_ARRAY of a JSON."""
    return _scalars(_find(_load(text), steps))


def kind(text: str) -> str:
    """Return JSON_TYPE."""
    value = _load(text)
    if value is None:
        return "null"
    if isinstance(value, Number | bool):
        return "boolean" if isinstance(value, bool) else "number"
    return "string" if isinstance(value, str) else "object" if isinstance(value, Members) else "array"


def to_float(text: str) -> float:
    """Return FLOAT64.

    Raises CloudError: 400 for another type, or an integer that would be rounded.
    """
    value = _load(text)
    if not isinstance(value, Number):
        raise bad_value("The provided JSON input is not a number")
    if _is_integer(value) and abs(int(value)) > LARGEST_EXACT:
        raise bad_value(f"JSON number: {value} cannot be converted to FLOAT64 without loss of precision")
    return float(value)


def to_int(text: str) -> int:
    """Return INT64.

    Raises CloudError: 400 for another type, or a number that is not whole.
    """
    value = _load(text)
    if not isinstance(value, Number):
        raise bad_value("The provided JSON input is not an integer")
    number = Decimal(value)
    if number != number.to_integral_value() or not LEAST_INTEGER <= number <= LARGEST_INT64:
        raise bad_value(f"The provided JSON number: {value} cannot be converted to an integer")
    return int(number)


def to_text(text: str) -> str:
    """Return STRING.

    Raises CloudError: 400 for another type.
    """
    value = _load(text)
    if not isinstance(value, str) or isinstance(value, Number):
        raise bad_value("The provided JSON input is not a string")
    return value


def to_bool(text: str) -> bool:
    """Return BOOL.

    Raises CloudError: 400 for another type.
    """
    value = _load(text)
    if not isinstance(value, bool):
        raise bad_value("The provided JSON input is not a boolean")
    return value


def lax_float(text: str) -> float | None:
    """Return LAX_FLOAT64: numbers, and strings that hold one."""
    value = _load(text)
    if not isinstance(value, str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def lax_int(text: str) -> int | None:
    """Return LAX_INT64: numbers and strings that hold one, rounded; booleans are 0 and 1."""
    value = _load(text)
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, str):
        return None
    try:
        number = int(Decimal(value).to_integral_value("ROUND_HALF_UP"))
    except (InvalidOperation, ValueError, OverflowError):
        return None
    return number if LEAST_INTEGER <= number <= LARGEST_INT64 else None


def lax_text(text: str) -> str | None:
    """Return LAX_STRING: any scalar but null."""
    return _scalar(_load(text))


def lax_bool(text: str) -> bool | None:
    """Return LAX_BOOL: booleans, their names, and numbers other than 0."""
    value = _load(text)
    if isinstance(value, bool):
        return value
    if isinstance(value, Number):
        return float(value) != 0
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None


def from_value(value: Any) -> str:
    """Return a plain value as the text of a JSON."""
    return parse(json.dumps(value, ensure_ascii=False), "round")


def _load(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=Members, parse_int=Number, parse_float=Number, parse_constant=_refuse)
    except RecursionError:
        raise bad_value("JSON parsing failed due to deeply nested array/struct.") from None


def _refuse(constant: str) -> Any:
    raise ValueError(constant)  # NaN and the infinities are no JSON


def _read_text(text: str) -> Any:
    """Return what a STRING holds; Google reads a broken text as far as it has to, which is not done here."""
    try:
        return _load(text)
    except ValueError:
        raise unimplemented(f"JSON functions on a text that is no JSON: {text[:80]!r}") from None


def _find(value: Any, steps: str) -> Any:
    for step in json.loads(steps):
        value = _below(value, step)
    return value


def _below(value: Any, step: Step) -> Any:
    if isinstance(step, str):
        return value.first(step) if isinstance(value, Members) else MISSING
    is_array = isinstance(value, list) and not isinstance(value, Members)
    return value[step] if is_array and 0 <= step < len(value) else MISSING


def _scalar(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str) else None


def _array(value: Any) -> list[str] | None:
    if not isinstance(value, list) or isinstance(value, Members):
        return None
    return [_write(element) for element in value]


def _scalars(value: Any) -> list[str | None] | None:
    if not isinstance(value, list) or isinstance(value, Members):
        return None
    if any(isinstance(element, list) for element in value):
        return None
    return [_scalar(element) for element in value]


def _write(value: Any) -> str:
    if isinstance(value, Members):
        return _joined("{}", (f"{json.dumps(name, ensure_ascii=False)}:{_write(below)}" for name, below in value))
    if isinstance(value, list):
        return _joined("[]", map(_write, value))
    if isinstance(value, Number):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def _joined(brackets: str, parts: Iterable[str]) -> str:
    return f"{brackets[0]}{','.join(parts)}{brackets[1]}"


def _canonical(value: Any, wide_numbers: str, depth: int) -> Any:
    if depth > DEEPEST:
        raise bad_value(f"JSON parsing failed due to deeply nested array/struct. Maximum nesting depth is {DEEPEST}.")
    if isinstance(value, Members):
        firsts = dict(reversed(value))
        return Members((name, _canonical(firsts[name], wide_numbers, depth + 1)) for name in sorted(firsts))
    if isinstance(value, list):
        return [_canonical(below, wide_numbers, depth + 1) for below in value]
    return _stored(value, wide_numbers) if isinstance(value, Number) else value


def _stored(number: Number, wide_numbers: str) -> Number:
    """Return a number as a JSON holds it: a 64-bit integer, else the nearest FLOAT64."""
    if _is_integer(number) and LEAST_INTEGER <= int(number) <= LARGEST_INTEGER:
        return Number(int(number))
    rounded = repr(float(number))
    if "inf" in rounded:
        raise bad_value(f"Invalid input: Input number: {number} cannot be stored")
    if wide_numbers == "exact" and Decimal(number) != Decimal(rounded):
        raise bad_value(f"Invalid input: Input number: {number} cannot round-trip through string representation")
    return Number(rounded)


def _is_integer(number: Number) -> bool:
    return number.lstrip("-").isdigit()


# Name in duckdb, function, its parameters' types and what it gives; every one gives NULL for a NULL.
Listed = tuple[str, Callable[..., Any], tuple[str, ...], str]
FUNCTIONS: tuple[Listed, ...] = (
    ("bq_parse_json", parse, ("VARCHAR", "VARCHAR"), "VARCHAR"),
    ("bq_query_of_text", query_of_text, ("VARCHAR", "VARCHAR"), "VARCHAR"),
    ("bq_query_of_json", query_of_json, ("VARCHAR", "VARCHAR"), "VARCHAR"),
    ("bq_value_of_text", value_of_text, ("VARCHAR", "VARCHAR"), "VARCHAR"),
    ("bq_value_of_json", value_of_json, ("VARCHAR", "VARCHAR"), "VARCHAR"),
    ("bq_array_of_text", array_of_text, ("VARCHAR", "VARCHAR"), "VARCHAR[]"),
    ("bq_array_of_json", array_of_json, ("VARCHAR", "VARCHAR"), "VARCHAR[]"),
    ("bq_values_of_text", values_of_text, ("VARCHAR", "VARCHAR"), "VARCHAR[]"),
    ("bq_values_of_json", values_of_json, ("VARCHAR", "VARCHAR"), "VARCHAR[]"),
    ("bq_json_type", kind, ("VARCHAR",), "VARCHAR"),
    ("bq_float64", to_float, ("VARCHAR",), "DOUBLE"),
    ("bq_int64", to_int, ("VARCHAR",), "BIGINT"),
    ("bq_string", to_text, ("VARCHAR",), "VARCHAR"),
    ("bq_bool", to_bool, ("VARCHAR",), "BOOLEAN"),
    ("bq_lax_float64", lax_float, ("VARCHAR",), "DOUBLE"),
    ("bq_lax_int64", lax_int, ("VARCHAR",), "BIGINT"),
    ("bq_lax_string", lax_text, ("VARCHAR",), "VARCHAR"),
    ("bq_lax_bool", lax_bool, ("VARCHAR",), "BOOLEAN"),
)
