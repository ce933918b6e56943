"""The functions of the logging query language, and what stands on the left of its operators.

https://cloud.google.com/logging/docs/view/logging-query-language#functions
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.cloud.errors import CloudError, invalid, unimplemented
from tests.cloud.logging import fields
from tests.cloud.logging.fields import Found, Kind
from tests.cloud.re2 import compile_extractor
from tests.cloud.schemas import Json

Predicate = Callable[[Json], bool]
# What stands on the left of an operator, read from an entry: no value where the field is missing.
Reader = Callable[[Json], list[Found]]
WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Route:
    """A path as it was written, not yet looked up."""

    steps: tuple[str, ...]


@dataclass(frozen=True)
class Call:
    """A function with its arguments, not yet looked up."""

    name: str
    arguments: tuple[Route | Call, ...]


def reader(operand: Route | Call) -> Reader:
    """Return what reads an operand's values from an entry.

    Raises CloudError: 400 for a field or function that there is not, 501 for a cast that the double does not do.
    """
    if isinstance(operand, Route):
        return fields.find(operand.steps).read
    if operand.name.lower() not in READING:
        raise unknown_function(operand)
    return READING[operand.name.lower()](operand)


def predicate(call: Call) -> Predicate:
    """Return what a function that stands alone means.

    Raises CloudError: 400 for a function that there is not.
    """
    if call.name.lower() not in PREDICATES:
        raise unknown_function(call)
    return PREDICATES[call.name.lower()](call)


def extractor(call: Call) -> Reader:
    """Return what reads the value of EXTRACT(field) or REGEXP_EXTRACT(field, regex).

    Raises CloudError: 400 where the call is neither.
    """
    if call.name == "EXTRACT" and len(call.arguments) == 1:
        return fields.find(_path(call, 0)).present
    if call.name == "REGEXP_EXTRACT":
        return _regexp_extract(call)
    raise invalid("Failed to parse extractor expression: it must be EXTRACT(field) or REGEXP_EXTRACT(field, regex).")


def unknown_function(call: Call) -> CloudError:
    """Return the refusal of a function that there is not."""
    return invalid(f"Unparseable filter: unknown function '{call.name}'")


def _path(call: Call, index: int) -> tuple[str, ...]:
    """Return an argument as a path."""
    argument = call.arguments[index] if index < len(call.arguments) else None
    if not isinstance(argument, Route):
        raise invalid(f"Unparseable filter: invalid arguments of function '{call.name}'")
    return argument.steps


def _literal(call: Call, index: int) -> str:
    return ".".join(_path(call, index))


def _regexp_extract(call: Call) -> Reader:
    if len(call.arguments) != 2:
        raise invalid(f"Unparseable filter: {call.name} takes a field and a regular expression")
    read, pattern = reader(call.arguments[0]), compile_extractor(_literal(call, 1))

    def extract(entry: Json) -> list[Found]:
        texts = [fields.text_of(found.value) for found in read(entry) if found.kind not in (Kind.OBJECT, Kind.NULL)]
        matches = [pattern.search(text) for text in texts]
        return [Found(Kind.STRING, match[1] or "") for match in matches if match]

    return extract


def _cast(call: Call) -> Reader:
    if len(call.arguments) != 2:
        raise unimplemented("cast with options")
    name = _literal(call, 1).upper()
    if name not in CASTS:
        raise unimplemented(f"cast to {name}")
    read, (kind, convert) = reader(call.arguments[0]), CASTS[name]

    def cast(entry: Json) -> list[Found]:
        return [Found(kind, value) for found in read(entry) for value in _converted(convert, found.value)]

    return cast


def _converted(convert: Callable[[str], Any], value: Any) -> list[Any]:
    try:
        return [convert(fields.text_of(value))]
    except ValueError:
        return []


CASTS: dict[str, tuple[Kind, Callable[[str], Any]]] = {
    "STRING": (Kind.STRING, str),
    "INT64": (Kind.NUMBER, int),
    "FLOAT64": (Kind.NUMBER, float),
    "BOOL": (Kind.BOOLEAN, fields.read_boolean),
}
READING: dict[str, Callable[[Call], Reader]] = {"regexp_extract": _regexp_extract, "cast": _cast}


def _log_id(call: Call) -> Predicate:
    wanted = _literal(call, 0).replace("/", "%2F").casefold()
    return lambda entry: str(entry.get("logName", "")).partition("/logs/")[2].casefold() == wanted


def _source(call: Call) -> Predicate:
    wanted = _literal(call, 0) + "/"
    return lambda entry: str(entry.get("logName", "")).startswith(wanted)


def _sample(call: Call) -> Predicate:
    """Take a share of the entries, always the same ones; Google's hash is not known, only that it is one."""
    read, share = fields.find(_path(call, 0)).read, float(_literal(call, 1))
    if not 0 < share <= 1:
        raise invalid("Unparseable filter: the fraction of sample() must be greater than 0.0 and no greater than 1.0")

    def chosen(entry: Json) -> bool:
        return any(_fraction(fields.text_of(found.value)) <= share for found in read(entry))

    return chosen


def _fraction(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / (2**64 - 1)


def _ip_in_net(call: Call) -> Predicate:
    read = fields.find(_path(call, 0)).present
    try:
        net = ipaddress.ip_network(_literal(call, 1), strict=False)
    except ValueError:
        raise invalid(f"Unparseable filter: '{_literal(call, 1)}' is no subnet") from None
    return lambda entry: any(_inside(str(found.value), net) for found in read(entry))


def _inside(address: str, net: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return ipaddress.ip_address(address) in net
    except ValueError:
        return False


def _search(call: Call) -> Predicate:
    query = _literal(call, len(call.arguments) - 1)
    if "`" in query:
        raise unimplemented("phrases in backticks in SEARCH()")
    wanted = set(WORD.findall(query.casefold()))
    read = fields.find(_path(call, 0)).read if len(call.arguments) == 2 else None

    def matches(entry: Json) -> bool:
        values = [found.value for found in read(entry)] if read else [entry]
        texts = (fields.text_of(below).casefold() for value in values for below in fields.scalars(value))
        return wanted <= {word for text in texts for word in WORD.findall(text)}

    return matches


PREDICATES: dict[str, Callable[[Call], Predicate]] = {
    "ip_in_net": _ip_in_net,
    "log_id": _log_id,
    "sample": _sample,
    "search": _search,
    "source": _source,
}
