"""Partial responses: the `fields` parameter, for example `items(name,size),nextPageToken`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.cloud.errors import invalid
from tests.cloud.schemas import Json, Schemas

Selection = dict[str, "Selection"]
TOKEN = re.compile(r"[A-Za-z0-9_.@$-]+|[*/(),]")


def parse(text: str) -> Selection:
    """Return the tree of selected names; an empty branch means everything below.

    Raises CloudError: 400 when the text is no selector.
    """
    tokens = TOKEN.findall(text)
    if "".join(tokens) != text:
        raise _invalid(text)
    try:
        parser = _Parser(tokens)
        selection = parser.names()
    except StopIteration:
        raise _invalid(text) from None
    if parser.token:
        raise _invalid(text)
    return selection


def check(selection: Selection, schemas: Schemas, schema: Json) -> None:
    """Refuse a name that the response's schema does not have.

    Raises CloudError: 400, naming the field.
    """
    schema = schemas.resolve(schema)
    if schema.get("type") == "array":
        return check(selection, schemas, schema["items"])
    if "properties" not in schema:
        return None
    for name, below in selection.items():
        if name != "*" and name not in schema["properties"]:
            raise _invalid(name)
        if name != "*":
            check(below, schemas, schema["properties"][name])
    return None


def select(selection: Selection, value: Any) -> Any:
    """Return what the selection leaves of a JSON value."""
    if not selection or selection.get("*") == {}:
        return value
    if isinstance(value, list):
        return [select(selection, item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: select(selection.get(name, selection.get("*", {})), value[name])
        for name in value
        if name in selection or "*" in selection
    }


class _Parser:
    """Recursive descent over the tokens of one selector."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens: Iterator[str] = iter(tokens)
        self.token: str | None = None
        self._advance()

    def names(self) -> Selection:
        selection: Selection = {}
        _join(selection, *self._name())
        while self.token == ",":
            self._advance()
            _join(selection, *self._name())
        return selection

    def _name(self) -> tuple[str, Selection]:
        name = self.token
        if name is None or name in "/(),":
            raise StopIteration
        self._advance()
        if self.token == "/":
            self._advance()
            return name, dict([self._name()])
        if self.token == "(":
            return name, self._group()
        return name, {}

    def _group(self) -> Selection:
        self._advance()
        selection = self.names()
        if self.token != ")":
            raise StopIteration
        self._advance()
        return selection

    def _advance(self) -> None:
        self.token = next(self._tokens, None)


def _join(selection: Selection, name: str, below: Selection) -> None:
    """Add a name; `items/name,items/size` means both, and `items,items/size` everything."""
    if name in selection and not (selection[name] and below):
        selection[name] = {}
        return
    known = selection.setdefault(name, {})
    for inner, deeper in below.items():
        _join(known, inner, deeper)


def _invalid(text: str) -> Exception:
    return invalid(f"Invalid field selection {text}")
