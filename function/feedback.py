"""What really happened: true outcomes that callers send for the predictions they got, late, again or out of order."""

import re
import sys
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from function import schemas
from function.call import Reply, Served
from function.contract import Label, Output, Signature
from function.dialects.json_body import as_rows, invalid, read_json, unknown_names
from function.errors import Detail, InvalidOutcomes
from function.validation import CATEGORIES_SHOWN, MAX_DETAILS, escape, found, is_dated

MAX_OUTCOMES = 1_000  # in one request: as many records go out at once
FORMS = '{"prediction_id": ..., "outcome": ...} or {"outcomes": [...]} of such objects'
PREDICTION_ID = re.compile(r"[0-9a-f]{32}-(0|[1-9]\d{0,8})")
REQUIRED = ("prediction_id", "outcome")
KNOWN = (*REQUIRED, "observed_at")
_MOMENT = TypeAdapter(AwareDatetime)


class Outcome(NamedTuple):
    """The true outcome of one prediction; of several targets, a list in their order."""

    prediction_id: str
    value: Label | list[Label]
    observed_at: datetime | None


def read_outcomes(body: bytes, served: Served) -> list[Outcome]:
    """Read a body; raises MalformedJson, InvalidBody, TooManyInstances, or InvalidOutcomes with every fault."""
    content = read_json(body, MAX_OUTCOMES, 1 + len(served.signature.outputs))
    if not isinstance(content, dict):
        raise invalid("", FORMS, found(content))
    if "outcomes" in content:
        extra = [name for name in content if name != "outcomes"]
        if extra:
            raise unknown_names(extra, 'nothing beside "outcomes"')
        rows, at, _ = as_rows(content["outcomes"], "/outcomes", MAX_OUTCOMES, "outcomes")
    else:
        rows, at = [content], lambda _: ""
    details = [fault for index, row in enumerate(rows) for fault in _faults(row, at(index), served.signature)]
    if details:
        found_text = "1 fault was" if len(details) == 1 else f"{len(details)} faults were"
        raise InvalidOutcomes(
            f"{found_text} found, and nothing was recorded; send all of it again.", details[:MAX_DETAILS]
        )
    return [_outcome(row, served.signature.outputs) for row in rows]


def receipt(found: list[Outcome], served: Served) -> Reply:
    """Return the answer to outcomes that were recorded."""
    answer = {"model": served.manifest.model, "version": served.manifest.version, "recorded": len(found)}
    return Reply(orjson.dumps(answer))


def describe(served: Served) -> schemas.Description:
    """Return what feedback is sent and what it gets."""
    labels = [schemas.label(output) for output in served.signature.outputs]
    value = labels[0] if len(labels) == 1 else {"type": "array", "prefixItems": labels, "items": False}
    moment = {"type": ["string", "null"], "format": "date-time"}
    one = schemas.object_of(
        {
            "prediction_id": {"type": "string", "pattern": f"^{PREDICTION_ID.pattern}$"},
            "outcome": value,
            "observed_at": moment,
        },
        list(REQUIRED),
    )
    several = schemas.object_of({"outcomes": schemas.list_of(one, minItems=1, maxItems=MAX_OUTCOMES)})
    answer = schemas.object_of({"model": schemas.TEXT, "version": schemas.INTEGER, "recorded": schemas.INTEGER})
    known = [output.classes[0] if output.classes else 0.5 for output in served.signature.outputs]
    example = {"prediction_id": f"{'0' * 32}-0", "outcome": known[0] if len(known) == 1 else known}
    return schemas.Description(schemas.any_of([one, several]), answer, schemas.ERROR, example)


def _faults(row: Any, at: str, signature: Signature) -> list[Detail]:
    if not isinstance(row, dict):
        return [Detail(at=at, expected="an object with prediction_id and outcome", found=found(row))]
    faults = [
        Detail(
            at=f"{at}/{escape(name[:64])}", expected=f"one of {', '.join(KNOWN)}", found="a name that is not read here"
        )
        for name in list(row)[: MAX_DETAILS + len(KNOWN)]
        if name not in KNOWN
    ]
    faults += [Detail(at=f"{at}/{name}", expected="a value", found="nothing") for name in REQUIRED if name not in row]
    if "prediction_id" in row and not _is_prediction_id(row["prediction_id"]):
        expected = "an id as it stood in `prediction_ids`"
        faults.append(Detail(at=f"{at}/prediction_id", expected=expected, found=found(row["prediction_id"])))
    if "outcome" in row:
        faults += _value_faults(row["outcome"], f"{at}/outcome", signature.outputs)
    if row.get("observed_at") is not None and _moment(row["observed_at"]) is None:
        expected = "a date and time with offset, such as 2026-01-31T12:00:00Z"
        faults.append(Detail(at=f"{at}/observed_at", expected=expected, found=found(row["observed_at"])))
    return faults


def _outcome(row: dict[str, Any], outputs: tuple[Output, ...]) -> Outcome:
    value = row["outcome"]
    values = [value] if len(outputs) == 1 else value
    known = [_as_target(one, output) for one, output in zip(values, outputs, strict=True)]
    return Outcome(row["prediction_id"], known[0] if len(outputs) == 1 else known, _moment(row.get("observed_at")))


def _is_prediction_id(value: Any) -> bool:
    return isinstance(value, str) and PREDICTION_ID.fullmatch(value) is not None


def _value_faults(value: Any, at: str, outputs: tuple[Output, ...]) -> list[Detail]:
    if len(outputs) == 1:
        return [] if _fits(value, outputs[0]) else [Detail(at=at, expected=_text(outputs[0]), found=found(value))]
    if not isinstance(value, list) or len(value) != len(outputs):
        names = ", ".join(output.name for output in outputs)
        return [Detail(at=at, expected=f"a list of {len(outputs)} outcomes: {names}", found=found(value))]
    return [
        Detail(at=f"{at}/{index}", expected=_text(output), found=found(one))
        for index, (one, output) in enumerate(zip(value, outputs, strict=True))
        if not _fits(one, output)
    ]


def _fits(value: Any, output: Output) -> bool:
    """Tell whether a target can have this value: one of its classes, of their type, or a finite number."""
    if output.classes is not None:
        value = _as_target(value, output)
        return any(type(value) is type(one) and value == one for one in output.classes)
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _as_target(value: Any, output: Output) -> Any:
    """Return a value in the type of its target: whole floats are integers, as frames with missing values hold them."""
    whole = type(value) is float and value.is_integer() and any(type(one) is int for one in output.classes or ())
    return int(value) if whole else value


def _text(output: Output) -> str:
    if output.classes is None:
        return "a number"
    shown = ", ".join(found(one) for one in output.classes[:CATEGORIES_SHOWN])
    return f"one of {shown}" + (", ..." if len(output.classes) > CATEGORIES_SHOWN else "")


def _moment(value: Any) -> datetime | None:
    if not is_dated(value):
        return None
    try:
        return _MOMENT.validate_python(value)
    except ValidationError:
        return None
