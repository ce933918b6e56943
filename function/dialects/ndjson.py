"""Newline-delimited JSON: an instance a line in, an answer or an error a line out, each line on its own.

Format: https://github.com/ndjson/ndjson-spec. A line is an object by name, a list in the order of GET /model, or either
of them under `features`. Lines of white space alone are passed over. Answers come in the order of the lines; `line`
counts from 1.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from function import schemas
from function.call import Answered, Incoming, Served
from function.dialects.json_body import read_json
from function.dialects.native import refuse as refuse
from function.errors import MalformedBody, PilotlightError, TooManyInstances
from function.routes import LINE_MEDIA, is_wrapper, media_types
from function.validation import Columns, Marks

MEDIA_TYPE = "application/x-ndjson"
FILLED = re.compile(rb"^[ \t\r\f\v]*+[^\s][^\n]*+", re.MULTILINE)  # a line with more than white space
LINES_AT_ONCE = 256  # answered together: enough to spread a call's cost, few enough for the first answer to come soon


Line = tuple[int, bytes]  # its number and its bytes


class Chunk(NamedTuple):
    """Some lines of a body: the values of those that are JSON, the faults of the others, by line number."""

    numbers: list[int]
    values: list[Any]
    faults: dict[int, PilotlightError]


class Part(NamedTuple):
    """A chunk's answer: that of its valid lines, and an error for each other line, by line number."""

    numbers: list[int]  # of the valid lines
    answered: Answered
    faults: Mapping[int, PilotlightError]


def chunks(incoming: Incoming, served: Served) -> list[list[Line]]:
    """Return a body's lines in the portions that are answered together.

    Raises MalformedBody for none at all, TooManyInstances for too many.
    """
    lines: list[Line] = []
    number, counted = 1, 0
    for match in FILLED.finditer(incoming.body):
        number += incoming.body.count(b"\n", counted, match.start())
        counted = match.start()
        lines.append((number, match[0]))
        if len(lines) > served.max_instances:
            raise TooManyInstances(f"One request takes at most {served.max_instances} instances, one a line.")
    if not lines:
        raise MalformedBody("The body is empty; expected an instance a line.")
    return [lines[start : start + LINES_AT_ONCE] for start in range(0, len(lines), LINES_AT_ONCE)]


def read(lines: Sequence[Line], served: Served) -> Chunk:
    """Return what some lines hold."""
    names = served.signature.names
    chunk = Chunk([], [], {})
    for number, line in lines:
        try:
            value = read_json(line, 1, lists_per_instance=2)
        except PilotlightError as error:
            chunk.faults[number] = error
            continue
        wrapped = isinstance(value, dict) and len(value) == 1 and is_wrapper(value, "features", names)
        chunk.values.append(value["features"] if wrapped else value)
        chunk.numbers.append(number)
    return chunk


def media_type(incoming: Incoming) -> str:
    """Return the name of the format that a request used: it has several."""
    media = media_types(incoming.headers, b"content-type")[0]
    return media if media in LINE_MEDIA else MEDIA_TYPE


def render(part: Part) -> bytes:
    """Return a chunk's answers, a line each, in the order of its lines."""
    answers = {number: _refuse_line(error, number) for number, error in part.faults.items()}
    answers |= dict(zip(part.numbers, _answers(part), strict=True))
    return b"".join(answers[number] for number in sorted(answers))


def refuse_all(lines: Sequence[Line], error: PilotlightError) -> bytes:
    """Return an error for every one of some lines."""
    return b"".join(_refuse_line(error, number) for number, _ in lines)


def joined(parts: Sequence[Answered], request_id: str) -> Answered:
    """Return several answers of one request as one, for its record."""
    full = [part for part in parts if part.rows]
    marks = Marks([], sum(part.marks.total for part in full))
    if not full:
        return Answered({}, {}, marks, 0, request_id)
    columns: Columns = {name: _chained(part.columns[name] for part in full) for name in full[0].columns}
    outputs = {method: _chained(part.outputs[method] for part in full) for method in full[0].outputs}
    by_class = None if full[0].chances is None else _chained(part.chances or [] for part in full)
    return Answered(columns, outputs, marks, sum(part.rows for part in full), request_id, by_class)


def describe(served: Served) -> schemas.Description:
    """Return what a line holds, and what each line of the answer does."""
    signature = served.signature
    answer = {
        "prediction": schemas.PREDICTION,
        "probabilities": schemas.PROBABILITIES,
        "prediction_id": schemas.TEXT,
        "marks": schemas.DETAILS,
        "line": schemas.INTEGER,
    }
    if "predict_proba" not in signature.methods:
        del answer["probabilities"]
    lines = [schemas.object_of(answer, ["prediction", "prediction_id", "line"]), {"required": ["error", "line"]}]
    request = {"type": "string", "description": "An instance a line, by name or in the order of GET /model"}
    return schemas.Description(
        request,
        {"type": "string", "description": "An answer a line", "x-lines": schemas.any_of(lines)},
        schemas.ERROR,
        answer_media=MEDIA_TYPE,
    )


def _answers(part: Part) -> Iterator[bytes]:
    answered = part.answered
    names = {"predict": "prediction", "decision_function": "decision_function"}
    marks = _marks_by_row(answered.marks)
    for row, prediction_id in enumerate(answered.prediction_ids):
        answer = {name: answered.outputs[method][row] for method, name in names.items() if method in answered.outputs}
        if answered.chances is not None:
            answer["probabilities"] = answered.chances[row]
        answer["prediction_id"] = prediction_id
        if row in marks:
            answer["marks"] = marks[row]
        yield orjson.dumps({**answer, "line": part.numbers[row]}) + b"\n"


def _refuse_line(error: PilotlightError, number: int) -> bytes:
    return orjson.dumps({**error.body(), "line": number}) + b"\n"


def _marks_by_row(marks: Marks) -> dict[int, list[Any]]:
    """Return marks by the row that their pointer begins with, the pointer without it."""
    rows: dict[int, list[Any]] = {}
    for mark in marks.details:
        row, _, at = mark["at"][1:].partition("/")
        rows.setdefault(int(row), []).append({**mark, "at": f"/{at}"})
    return rows


def _chained(lists: Iterable[list[Any]]) -> list[Any]:
    return list(itertools.chain.from_iterable(lists))
