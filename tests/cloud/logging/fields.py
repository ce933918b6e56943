"""Paths into a log entry: which there are, what type a field has, and what an entry holds there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from tests.cloud.discovery import Document
from tests.cloud.errors import invalid
from tests.cloud.schemas import Json

SEVERITIES = {
    name: 100 * index
    for index, name in enumerate(
        ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
    )
}


class Kind(Enum):
    """The type of a field, as far as comparing goes."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    SEVERITY = "severity"
    TIMESTAMP = "timestamp"
    DURATION = "duration"
    OBJECT = "object"
    NULL = "null"


# What a field that LogEntry defines has where an entry does not say; a payload's or a label's is missing instead.
DEFAULTS: dict[Kind, Any] = {
    Kind.STRING: "",
    Kind.NUMBER: 0,
    Kind.BOOLEAN: False,
    Kind.SEVERITY: "DEFAULT",
    Kind.TIMESTAMP: "1970-01-01T00:00:00Z",
    Kind.DURATION: "0s",
}
FORMS = {
    "google-datetime": Kind.TIMESTAMP,
    "google-duration": Kind.DURATION,
    "int64": Kind.NUMBER,
    "int32": Kind.NUMBER,
}
TYPES = {"string": Kind.STRING, "boolean": Kind.BOOLEAN, "integer": Kind.NUMBER, "number": Kind.NUMBER}


@dataclass(frozen=True)
class Found:
    """A value that an entry holds, or has by default, with the type by which it is compared."""

    kind: Kind
    value: Any


@dataclass(frozen=True)
class Field:
    """A place in a log entry; `kind` is None where the entry's own value tells the type."""

    steps: tuple[str, ...]
    kind: Kind | None
    has_default: bool

    def present(self, entry: Json) -> list[Found]:
        """Return what an entry explicitly holds; an array's members one by one."""
        return [self._found(value) for value in _walk(entry, self.steps)]

    def read(self, entry: Json) -> list[Found]:
        """Return what comparisons see: what the entry holds, else the default, else nothing."""
        found = self.present(entry)
        if found or not self.has_default or self.kind is None:
            return found
        return [Found(self.kind, DEFAULTS[self.kind])] if self.kind in DEFAULTS else []

    def _found(self, value: Any) -> Found:
        return Found(self.kind or kind_of(value), value)


def find(path: tuple[str, ...]) -> Field:
    """Return the field that a path names; names that LogEntry defines may be written in any case or with underscores.

    Raises CloudError: 400 where there is no such field.
    """
    schema: Json = _entry_schema()
    steps: list[str] = []
    for index, name in enumerate(path):
        if schema.get("type") != "object":
            raise _unknown(path)
        if "properties" not in schema:  # a map or a struct: any key, and as deep as the entry goes
            rest = path[index:]
            return Field((*steps, *rest), _kind_of_values(schema), False)
        known = {_fold(key): key for key in schema["properties"]}
        if _fold(name) not in known:
            raise _unknown(path)
        steps.append(known[_fold(name)])
        schema = _resolve(schema["properties"][steps[-1]])
    return Field(tuple(steps), _kind(schema), True)


def kind_of(value: Any) -> Kind:
    """Return the type of a value of JSON whose field has none."""
    if value is None:
        return Kind.NULL
    if isinstance(value, bool):
        return Kind.BOOLEAN
    if isinstance(value, int | float):
        return Kind.NUMBER
    return Kind.STRING if isinstance(value, str) else Kind.OBJECT


def scalars(value: Any) -> Iterator[Any]:
    """Yield every scalar below a value."""
    if isinstance(value, dict):
        for below in value.values():
            yield from scalars(below)
    elif isinstance(value, list):
        for below in value:
            yield from scalars(below)
    elif value is not None:
        yield value


def text_of(value: Any) -> str:
    """Return a scalar as the text that searches and labels see."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def read_boolean(value: Any) -> bool:
    """Return a truth value written in any case.

    Raises ValueError: it is none.
    """
    known = {"true": True, "false": False}
    try:
        return known[str(value).casefold()]
    except KeyError:
        raise ValueError(value) from None


def _walk(value: Any, steps: tuple[str, ...]) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _walk(item, steps)
    elif not steps:
        yield value
    elif isinstance(value, dict) and steps[0] in value:
        yield from _walk(value[steps[0]], steps[1:])


@cache
def _entry_schema() -> Json:
    return _resolve({"$ref": "LogEntry"})


@cache
def _document() -> Document:
    return Document.load("logging", "v2")


def _resolve(schema: Json) -> Json:
    schema = _document().schemas.resolve(schema)
    if schema.get("type") == "array":  # comparing looks at each member
        return _resolve(schema["items"])
    return schema


def _kind(schema: Json) -> Kind:
    if schema.get("type") == "object":
        return Kind.OBJECT
    if "EMERGENCY" in schema.get("enum", ()):
        return Kind.SEVERITY
    return FORMS.get(schema.get("format", ""), TYPES.get(schema.get("type", ""), Kind.STRING))


def _kind_of_values(schema: Json) -> Kind | None:
    return Kind.STRING if schema.get("additionalProperties", {}).get("type") == "string" else None


def _fold(name: str) -> str:
    return name.replace("_", "").casefold()


def _unknown(path: tuple[str, ...]) -> Exception:
    return invalid(f"Unparseable filter: Field not found: '{'.'.join(path)}'")
