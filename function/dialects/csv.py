"""CSV: a row of features a line in, under a header or in the order of GET /model; a row of predictions a line out.

Format: https://www.rfc-editor.org/rfc/rfc4180, in UTF-8. Cells are text, and the signature says of what type they are:
numbers are written as in JSON, truth as `true` or `false`. An empty cell is a missing value, except where a feature is
text that is never missing. The parameter `header` of the content type says whether there is a header; without it, a
first line that names features is one. Empty lines are passed over; an empty text is written `""`.
"""

import csv
import io
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from function.call import Answered, Call, Headers, Incoming, Reply, Served, usual_methods
from function.contract import Feature, Signature
from function.dialects import native
from function.dialects.json_body import SPARE_BRACKETS, check_count, holds_more, invalid
from function.dialects.native import refuse
from function.dialects.table import check_names, columns, wants_json
from function.errors import MalformedBody, TooManyInstances, UnsupportedMediaType
from function.validation import Instances

if TYPE_CHECKING:
    from function.schemas import Description

__all__ = ["MEDIA_TYPE", "describe", "instances", "parse", "refuse", "render"]

MEDIA_TYPE = "text/csv"
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")  # RFC 8259, section 6
BOOLEANS = {"true": True, "false": False, "": None}
OF_NUMBERS = b"0123456789-+.eE,"
# Up to a quote that stands where neither a cell begins nor a quoted one goes on, or that is never closed.
QUOTED_RIGHTLY = re.compile(r'(?:[^"]*+(?<![^",\r\n])"[^"]*+")*+[^"]*+')
TO_COMMA = re.compile(rb'(?:[^",]++|"[^"]*+(?:"|\Z))*+,')  # that stands outside of quotes
ADVICE = " If the first line holds values, send it with `content-type: text/csv; header=absent`."

# The module's own limit, 131,072 characters a cell, is one of the process, so it is set once: the body's limit is
# enough, and nothing else in the process reads CSV.
csv.field_size_limit(sys.maxsize)


class Lines(NamedTuple):
    """The rows of a body as they stand: cells, the number of the line that each starts at, and how many there are."""

    rows: list[list[str]]  # one more than are taken, at most
    numbers: list[int]
    total: int


def parse(incoming: Incoming, served: Served) -> Call:
    """Read a body; raises MalformedBody, InvalidBody, TooManyInstances or UnsupportedMediaType."""
    rows = instances(incoming, served)
    return Call(rows, usual_methods(served.signature), kept=wants_json(incoming.headers, MEDIA_TYPE))


def instances(incoming: Incoming, served: Served) -> Instances:
    """Return a body's instances, each at its line; raises as `parse` does."""
    signature = served.signature
    said = _said_header(incoming.headers)
    _check_cells(incoming.body, served)
    rows, numbers, total = _lines(_text(incoming.body), served.max_instances + 1)
    names = [feature.name for feature in signature.features]
    _check_separator(rows[0], names)
    if _has_header(rows[0], said, signature):
        names = rows[0]
        check_names(names, signature, f"line {numbers[0]}", _advice(names, said))
        rows, numbers, total = rows[1:], numbers[1:], total - 1
    if not rows:
        raise invalid("", "at least one line of values", "a header alone", "There is nothing to predict.")
    check_count(total, served.max_instances)
    return Instances(_typed_rows(rows, names, signature), lambda index: f"line {numbers[index]}")


def render(answered: Answered, served: Served) -> Reply:
    """Return the answer as CSV, or in the native format where that was asked for."""
    if answered.kept:
        return native.render(answered, served)
    given = columns(answered, served.signature)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(column.name for column in given)
    writer.writerows(zip(*(map(_cell, column.values) for column in given), strict=True))
    return Reply(text.getvalue().encode(), media_type=f"{MEDIA_TYPE}; charset=utf-8; header=present")


def describe(served: Served) -> "Description":
    """Return what this dialect sends and gets."""
    from function import schemas  # here alone: the rest of this module is needed at the first request

    names = ", ".join(feature.name for feature in served.signature.features)
    return schemas.Description(
        {"type": "string", "description": f"A row a line, under a header of names or in the order {names}"},
        {"type": "string", "description": "prediction, probability_<class> and prediction_id under a header of them"},
        schemas.ERROR,
        answer_media=MEDIA_TYPE,
    )


def _said_header(headers: Headers) -> str | None:
    """Return what the content type says of a header: present, absent or nothing."""
    for parameter in headers.get(b"content-type", b"").decode("latin-1").lower().split(";")[1:]:
        name, _, value = parameter.partition("=")
        value = value.strip('" ')
        if name.strip() == "header":
            if value not in ("present", "absent"):
                raise UnsupportedMediaType("The content type's `header` is `present` or `absent`.")
            return value
    return None


def _check_cells(body: bytes, served: Served) -> None:
    """Refuse what holds far more cells than instances have, before they cost memory."""
    most = (served.max_instances + 1) * len(served.signature.features) + SPARE_BRACKETS
    if body.count(b",") > most and holds_more(TO_COMMA, body, most):
        raise TooManyInstances(
            f"The body holds more than {most} cells; one request takes at most {served.max_instances} instances."
        )


def _text(body: bytes) -> str:
    if b"\0" in body:
        raise MalformedBody("The body is not CSV: it holds a NUL byte.")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise MalformedBody(f"The body is not UTF-8, at byte {error.start}, in line {line}.") from None
    if not text.strip("\r\n"):
        raise MalformedBody("The body is empty; expected a row a line.")
    match = QUOTED_RIGHTLY.match(text)
    if match and match.end() < len(text):
        line = text.count("\n", 0, match.end()) + 1
        raise MalformedBody(f"The body is not CSV: a quote in line {line} neither begins nor ends a cell.")
    return text


def _lines(text: str, most: int) -> Lines:
    """Return a body's rows, at most so many of them, and their number; empty lines are passed over."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[list[str]] = []
    numbers = []
    total, number = 0, 1
    try:
        for row in reader:
            if row:
                total += 1
                if total <= most:
                    rows.append(row)
                    numbers.append(number)
            number = reader.line_num + 1
    except csv.Error:
        raise MalformedBody(f"The body is not CSV: a quoted cell of line {number} goes on after its end.") from None
    return Lines(rows, numbers, total)


def _check_separator(first: list[str], names: list[str]) -> None:
    """Raise MalformedBody for a first line of one cell that others would separate otherwise."""
    other = next((mark for mark in ";\t|" if mark in first[0]), None)
    if other and len(first) == 1 and len(names) > 1:
        raise MalformedBody(f"The body is not CSV: cells are separated by commas, found {other!r} in the first line.")


def _advice(names: list[str], said: str | None) -> str:
    """Return what to do about a header that does not name the features."""
    if "" in names:
        return " A column has no name: pandas writes its index so, unless it is asked to_csv(index=False)."
    return "" if said else ADVICE


def _has_header(first: list[str], said: str | None, signature: Signature) -> bool:
    """Tell whether the first row names features; names that read as numbers count only where all names are there."""
    if said is not None:
        return said == "present"
    if signature.names == set(first):
        return True
    return any(cell in signature.names and not NUMBER.fullmatch(cell) for cell in first)


def _typed_rows(rows: list[list[str]], names: list[str], signature: Signature) -> list[Any]:
    """Return rows by name, cells typed; one of another number of cells stays a list, for the validator to refuse."""
    features = {feature.name: feature for feature in signature.features}
    width = len(names)
    whole = [row for row in rows if len(row) == width]
    by_name = zip(names, zip(*whole, strict=True), strict=True) if whole else ()
    typed = zip(*(_typed(features[name], cells) for name, cells in by_name), strict=True)
    return [dict(zip(names, next(typed), strict=True)) if len(row) == width else row for row in rows]


def _typed(feature: Feature, cells: Sequence[str]) -> Sequence[Any]:
    """Return a column's values; what cannot be typed stays text, for the validator to refuse."""
    match feature.type:
        case "integer" | "number":
            return _numbers(cells)
        case "boolean":
            known = {cell: BOOLEANS.get(cell.lower(), cell) for cell in set(cells)}
            return [known[cell] for cell in cells]
        case "text" if not feature.nullable:
            return cells
        case _:
            return [cell or None for cell in cells]


def _numbers(cells: Sequence[str]) -> list[Any]:
    """Return a column's numbers: as one JSON list, which is quick, or where it is none cell by cell."""
    if not ",".join(cells).encode().translate(None, OF_NUMBERS):
        try:
            values: list[Any] = orjson.loads(f"[{','.join([cell or 'null' for cell in cells])}]")
        except orjson.JSONDecodeError:
            values = []
        if len(values) == len(cells):  # a cell may hold a comma
            return values
    return [_number(cell) for cell in cells]


def _number(cell: str) -> Any:
    if not cell or cell.lower() == "nan":
        return None
    if not NUMBER.fullmatch(cell):
        return cell
    try:
        return orjson.loads(cell)
    except orjson.JSONDecodeError:  # beyond a float
        return cell


def _cell(value: Any) -> Any:
    """Return a value as csv writes it: it writes floats by repr, and None as nothing."""
    return str(value).lower() if isinstance(value, bool) else value
