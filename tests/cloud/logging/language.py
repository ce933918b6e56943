"""Google's logging query language: a filter becomes a predicate over log entries.

Semantics are those of https://cloud.google.com/logging/docs/view/logging-query-language: values are converted to the
field's type, text is compared without regard to case, comparisons with a missing field fail, arrays match where any
member does.
"""

from __future__ import annotations

import operator
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput, VisitError

from tests.cloud.errors import CloudError, invalid, unimplemented
from tests.cloud.instants import read_duration, read_instant
from tests.cloud.logging import fields, functions
from tests.cloud.logging.fields import Found, Kind
from tests.cloud.logging.functions import Call, Predicate, Reader, Route
from tests.cloud.re2 import compile_pattern
from tests.cloud.schemas import Json

LONGEST = 20_000
ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|([0-7]{3})|([nrt"\'\\]))')
ESCAPED = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "'": "'", "\\": "\\"}


@dataclass(frozen=True)
class Value:
    """A value on the right of an operator."""

    text: str
    quoted: bool

    @property
    def is_null(self) -> bool:
        """Whether it stands for JSON's null."""
        return self.text == "NULL_VALUE" and not self.quoted


@dataclass(frozen=True)
class Group:
    """A Boolean combination, of predicates or of values."""

    kind: str
    members: tuple[Any, ...]


@lru_cache(maxsize=512)
def compile_filter(text: str) -> Predicate:
    """Return the predicate that a filter means; the empty filter takes every entry.

    Raises CloudError: 400 where Google would not accept it, 501 for what the double cannot evaluate.
    """
    if len(text) > LONGEST:
        raise invalid(f"The filter has {len(text)} characters; the maximum length is {LONGEST}.")
    tree = _parse(text, "start")
    return tree if tree is not None else lambda entry: True


@lru_cache(maxsize=512)
def compile_extractor_expression(text: str) -> Reader:
    """Return what reads the value of EXTRACT(field) or REGEXP_EXTRACT(field, regex) from an entry.

    Raises CloudError: 400 where the expression is neither.
    """
    return functions.extractor(_parse(text, "extractor"))


def _parse(text: str, start: str) -> Any:
    try:
        return _Building().transform(GRAMMAR.parse(text, start=start))
    except UnexpectedInput as fault:
        raise _syntax_error(text, fault) from None
    except VisitError as fault:
        if isinstance(fault.orig_exc, CloudError):
            raise fault.orig_exc from None
        raise


def _syntax_error(text: str, fault: UnexpectedInput) -> CloudError:
    token = getattr(fault, "token", None)
    found = str(token) if token is not None else text[fault.pos_in_stream : fault.pos_in_stream + 1]
    where = f"line {max(fault.line, 1)}, column {max(fault.column, 1)}"
    return invalid(f"Unparseable filter: syntax error at {where}, token '{found}'")


class _Building(Transformer[Any, Any]):
    """Builds predicates from the bottom up; values and paths stay what they are until an operator takes them."""

    def start(self, members: list[Any]) -> Predicate | None:
        return members[0]

    def extractor(self, members: list[Any]) -> Call:
        return members[0]

    def all_of(self, members: list[Any]) -> Any:
        return _group("all", members)

    def any_of(self, members: list[Any]) -> Any:
        return _group("any", members)

    def negation(self, members: list[Any]) -> Any:
        return _group("none", members)

    def comparison(self, members: list[Any]) -> Predicate:
        operand, sign, argument = members
        read = functions.reader(operand)
        return _spread(argument, lambda value: _comparison(read, str(sign), value))

    def presence(self, members: list[Any]) -> Predicate:
        operand = members[0]
        if isinstance(operand, Call):
            raise unimplemented("field presence of a function")
        return _presence(fields.find(operand.steps))

    def function(self, members: list[Any]) -> Predicate:
        return functions.predicate(members[0])

    def anywhere(self, members: list[Any]) -> Predicate:
        wanted = _fold(members[0].text)
        return lambda entry: any(wanted in _fold(fields.text_of(value)) for value in fields.scalars(entry))

    def path(self, members: list[Any]) -> Route:
        return Route(tuple(members))

    def segment(self, members: list[Token]) -> str:
        return _text(members[0])

    def call(self, members: list[Any]) -> Call:
        name, *arguments = members
        return Call(name[:-1], tuple(argument for argument in arguments if argument is not None))

    def value(self, members: list[Token]) -> Value:
        return Value(_text(members[0]), members[0].type == "STRING")


def _group(kind: str, members: list[Any]) -> Any:
    if callable(members[0]):
        return COMBINED[kind](members)
    return Group(kind, tuple(members))


def _spread(argument: Value | Group, make: Callable[[Value], Predicate]) -> Predicate:
    """Apply one operator to each value of a parenthesised combination."""
    if isinstance(argument, Value):
        return make(argument)
    return COMBINED[argument.kind]([_spread(member, make) for member in argument.members])


COMBINED: dict[str, Callable[[list[Predicate]], Predicate]] = {
    "all": lambda members: lambda entry: all(member(entry) for member in members),
    "any": lambda members: lambda entry: any(member(entry) for member in members),
    "none": lambda members: lambda entry: not members[0](entry),
}


def _presence(field: fields.Field) -> Predicate:
    return lambda entry: bool(field.present(entry))


def _comparison(read: Reader, sign: str, value: Value) -> Predicate:
    if sign in ("=~", "!~"):
        return _matching(read, compile_pattern(value.text), wanted=sign == "=~")
    return lambda entry: any(_holds(sign, found, value) for found in read(entry))


def _matching(read: Reader, pattern: re.Pattern[str], *, wanted: bool) -> Predicate:
    def matches(entry: Json) -> bool:
        texts = [found.value for found in read(entry) if found.kind is Kind.STRING]
        return any((pattern.search(text) is not None) == wanted for text in texts)

    return matches


def _holds(sign: str, found: Found, value: Value) -> bool:
    if value.is_null or found.kind is Kind.NULL:
        return value.is_null and (found.kind is Kind.NULL) == (sign in ("=", ":"))
    if found.kind is Kind.OBJECT:
        return sign == ":" and any(
            _holds(sign, Found(Kind.STRING, fields.text_of(below)), value) for below in _below(found)
        )
    try:
        left, right = READERS[found.kind](found.value), READERS[found.kind](value.text)
    except ValueError:  # "if an attempted conversion fails, then the comparison fails"
        return False
    if sign == ":" and found.kind is Kind.STRING:
        return right in left
    return SIGNS[sign](left, right)


def _below(found: Found) -> Iterator[Any]:
    return fields.scalars(found.value)


SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    ":": operator.eq,  # of anything but text
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _severity(value: Any) -> int:
    name = str(value).upper()
    return fields.SEVERITIES[name] if name in fields.SEVERITIES else int(name)


def _fold(text: str) -> str:
    """Normalise text as NFKC_Casefold does, near enough."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


READERS: dict[Kind, Callable[[Any], Any]] = {
    Kind.STRING: lambda value: _fold(str(value)),
    Kind.NUMBER: float,
    Kind.BOOLEAN: fields.read_boolean,
    Kind.SEVERITY: _severity,
    Kind.TIMESTAMP: read_instant,
    Kind.DURATION: read_duration,
}


def _text(token: Token) -> str:
    if token.type != "STRING":
        return str(token)
    # An escape that is none stays as it is, so that "\d" and "\\d" are the same regular expression.
    return ESCAPE.sub(_unescaped, token[1:-1])


def _unescaped(found: re.Match[str]) -> str:
    if found[1] or found[2]:
        return chr(int(found[1], 16) if found[1] else int(found[2], 8))
    return ESCAPED[found[3]]


GRAMMAR = Lark(
    (Path(__file__).parent / "filter.lark").read_text(encoding="utf-8"),
    parser="lalr",
    start=["start", "extractor"],
    propagate_positions=True,
    maybe_placeholders=True,
)
