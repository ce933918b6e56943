"""IAM conditions: the part of the Common Expression Language that grants on prefixes and times need.

https://cloud.google.com/iam/docs/conditions-attribute-reference
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from lark import Lark, Token, Transformer, Tree, UnexpectedInput
from lark.exceptions import VisitError

from tests.cloud.errors import invalid, unimplemented

GRAMMAR = r"""
?start: either
?either: both ("||" both)*
?both: comparison ("&&" comparison)*
?comparison: value OPERATOR value -> compare
    | value "in" value -> within
    | value
?value: "!" value -> negation
    | value "." NAME "(" [either ("," either)*] ")" -> method
    | NAME "(" [either ("," either)*] ")" -> function
    | path
    | STRING -> text
    | NUMBER -> number
    | "[" [either ("," either)*] "]" -> series
    | "(" either ")"
path: NAME ("." NAME)*
OPERATOR: "==" | "!=" | "<=" | ">=" | "<" | ">"
STRING: /"([^"\\]|\\.)*"/ | /'([^'\\]|\\.)*'/
NUMBER: /-?\d+(\.\d+)?/
NAME: /[a-zA-Z_][a-zA-Z0-9_]*/
%import common.WS
%ignore WS
"""
METHODS = {
    "contains": lambda text, part: part in text,
    "endsWith": lambda text, part: text.endswith(part),
    "matches": lambda text, pattern: re.search(pattern, text) is not None,
    "startsWith": lambda text, part: text.startswith(part),
}
COMPARISONS = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def check(expression: str) -> None:
    """Refuse an expression that is none.

    Raises CloudError: 400.
    """
    _parse(expression)


def holds(expression: str, attributes: Mapping[str, Any]) -> bool:
    """Tell whether a condition holds for attributes such as `resource.name`.

    Raises CloudError: 501 for a function or attribute that is not known here.
    """
    try:
        return bool(_Evaluation(attributes).transform(_parse(expression)))
    except VisitError as fault:
        raise fault.orig_exc from None


@cache
def _parser() -> Lark:
    return Lark(GRAMMAR, maybe_placeholders=False)


@cache
def _parse(expression: str) -> Tree[Token]:
    try:
        return _parser().parse(expression)
    except UnexpectedInput:
        raise invalid(f"Condition expression compilation failed: {expression}") from None


class _Evaluation(Transformer[Token, Any]):
    """Computes an expression from its leaves; && and || know both sides, which conditions do not mind."""

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        super().__init__()
        self._attributes = attributes

    def either(self, values: list[Any]) -> bool:
        return any(values)

    def both(self, values: list[Any]) -> bool:
        return all(values)

    def negation(self, values: list[Any]) -> bool:
        return not values[0]

    def compare(self, values: list[Any]) -> bool:
        left, operator, right = values
        return bool(COMPARISONS[operator](left, right))

    def within(self, values: list[Any]) -> bool:
        return values[0] in values[1]

    def series(self, values: list[Any]) -> list[Any]:
        return values

    def text(self, values: list[Any]) -> str:
        quoted = values[0]
        inner = quoted[1:-1].replace("\\'", "'")
        return str(json.loads(f'"{inner}"' if quoted[0] == '"' else json.dumps(inner)))

    def number(self, values: list[Any]) -> float:
        return float(values[0])

    def path(self, values: list[Any]) -> Any:
        name = ".".join(values)
        if name in ("true", "false"):
            return name == "true"
        if name not in self._attributes:
            raise unimplemented(f"the attribute {name} in conditions")
        return self._attributes[name]

    def method(self, values: list[Any]) -> Any:
        subject, name, *arguments = values
        if name not in METHODS:
            raise unimplemented(f"the function {name} in conditions")
        return METHODS[name](subject, *arguments)

    def function(self, values: list[Any]) -> Any:
        if values[0] != "timestamp":
            raise unimplemented(f"the function {values[0]} in conditions")
        return datetime.fromisoformat(values[1])
