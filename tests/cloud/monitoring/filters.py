"""Cloud Monitoring's filters: which time series a query, a condition or an SLI means.

The language is https://cloud.google.com/monitoring/api/v3/filters; it is another one than Cloud Logging's.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput, VisitError

from tests.cloud.errors import CloudError, invalid, unimplemented
from tests.cloud.monitoring.series import Series
from tests.cloud.re2 import compile_pattern

Predicate = Callable[[Series], bool]
Reader = Callable[[Series], str | None]
Test = Callable[[str], bool]


@lru_cache(maxsize=256)
def compile_filter(text: str) -> Predicate:
    """Return the predicate that a filter means.

    Raises CloudError: 400 where Google would not accept it, 501 for selectors that the double does not keep.
    """
    if not text.strip():
        raise invalid("The filter must not be empty.")
    try:
        predicate: Predicate = _Building().transform(GRAMMAR.parse(text))
    except UnexpectedInput:
        raise invalid(f'Field filter had an invalid value of "{text}": Could not parse filter "{text}"') from None
    except VisitError as fault:
        if isinstance(fault.orig_exc, CloudError):
            raise fault.orig_exc from None
        raise
    return predicate


def field_reader(path: str) -> Reader:
    """Return what reads a field, written as in groupByFields, from a series; None where a series has no such label.

    Raises CloudError: 400 where there is no such field.
    """
    return _reader(tuple(part.strip('"') for part in path.split(".", 2)))


class _Building(Transformer[Any, Any]):
    def start(self, members: list[Any]) -> Predicate:
        return members[0]

    def combination(self, members: list[Any]) -> Predicate:
        predicates = [member for member in members if not isinstance(member, Token)]
        words = [str(member) for member in members if isinstance(member, Token)]
        if "OR" not in words:
            return lambda series: all(member(series) for member in predicates)
        if len(words) < len(predicates) - 1 or "AND" in words:
            raise unimplemented("AND and OR side by side in Monitoring's filters; use parentheses")
        return lambda series: any(member(series) for member in predicates)

    def negation(self, members: list[Predicate]) -> Predicate:
        return lambda series: not members[0](series)

    def presence(self, members: list[Any]) -> Predicate:
        read = _reader(members[0])
        return lambda series: read(series) is not None

    def comparison(self, members: list[Any]) -> Predicate:
        path, sign, argument = members
        return _comparison(_reader(path), str(sign), argument)

    def path(self, members: list[str]) -> tuple[str, ...]:
        return tuple(members)

    def segment(self, members: list[Token]) -> str:
        return _text(members[0])

    def value(self, members: list[Token]) -> str:
        return _text(members[0])

    def call(self, members: list[Any]) -> Test:
        name, *arguments = members
        if str(name)[:-1] not in FUNCTIONS:
            raise invalid(f"Field filter had an invalid value: unknown function '{str(name)[:-1]}'.")
        return FUNCTIONS[str(name)[:-1]](*arguments)


def _comparison(read: Reader, sign: str, argument: str | Test) -> Predicate:
    test = _test(sign, argument)
    # A label that a series does not have is the empty string.
    return lambda series: test(read(series) or "")


def _test(sign: str, argument: str | Test) -> Test:
    if callable(argument):
        if sign not in ("=", "!="):
            raise invalid(f"Field filter had an invalid value: a function cannot follow '{sign}'.")
        return argument if sign == "=" else lambda text: not argument(text)
    if sign == ":":
        return lambda text: argument in text
    if sign in ("=", "!="):
        return lambda text: (text == argument) == (sign == "=")
    return lambda text: _ordered(sign, text, argument)


def _ordered(sign: str, text: str, argument: str) -> bool:
    try:
        return ORDER[sign](float(text), float(argument))
    except ValueError:
        return False


ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _full_match(pattern: str) -> Test:
    compiled = compile_pattern(pattern)
    return lambda text: compiled.fullmatch(text) is not None


FUNCTIONS: dict[str, Callable[..., Test]] = {
    "starts_with": lambda start: lambda text: text.startswith(start),
    "ends_with": lambda end: lambda text: text.endswith(end),
    "has_substring": lambda part: lambda text: part in text,
    "one_of": lambda *values: lambda text: text in values,
    "monitoring.regex.full_match": _full_match,
}


def _reader(path: tuple[str, ...]) -> Reader:
    match path:
        case ("metric", "type"):
            return lambda series: series.descriptor.type
        case ("resource", "type"):
            return lambda series: series.resource.type
        case ("project",):
            return lambda series: dict(series.resource.labels).get("project_id")
        case ("metric", "label" | "labels", label):
            return lambda series: dict(series.labels).get(label)
        case ("resource", "label" | "labels", label):
            return lambda series: dict(series.resource.labels).get(label)
        case ("metadata" | "group", *_):
            raise unimplemented(f"the selector {'.'.join(path)}")
    raise invalid(f"Field filter had an invalid value: '{'.'.join(path)}' is not a valid selector.")


def _text(token: Token) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1]) if token.type == "STRING" else str(token)


GRAMMAR = Lark((Path(__file__).parent / "filter.lark").read_text(encoding="utf-8"), parser="lalr")
