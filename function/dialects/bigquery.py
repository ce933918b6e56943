"""BigQuery's remote functions: a call a row in, a reply a call out.

Format: https://cloud.google.com/bigquery/docs/remote-functions. A call holds the features' values in the order of
GET /model, or one argument of type JSON that holds them by name. `outputs` of the user-defined context, which CREATE
FUNCTION sets, chooses what a reply is: `predictions` (without it), `probabilities` by class, or `decision_function`.

Values come as TO_JSON_STRING writes them: https://cloud.google.com/bigquery/docs/reference/standard-sql/json_functions
So some numbers are text, and where the model takes a number, such text is read as one, if BigQuery writes that number
so: whole numbers beyond 2^53, numbers with decimals as NUMERIC has them ("123.56"), "NaN" (missing, where that is
allowed), "Infinity" and "-Infinity" (faults). Any other text, "3" too, came from a column of text and is a fault.
"""

import re
from typing import TYPE_CHECKING, Any

import orjson

from function.call import Answered, Call, Incoming, Reply, Served
from function.contract import Signature
from function.dialects.json_body import OUTPUTS, as_rows, available_outputs, invalid, output
from function.dialects.layouts import check_faults
from function.errors import Detail, PilotlightError
from function.validation import EXACT, Instances, found

if TYPE_CHECKING:
    from function.schemas import Description

DECIMAL = re.compile(r"-?(?:0|[1-9]\d{0,38})(\.\d{0,37}[1-9])?", re.ASCII)
NOT_FINITE = ("NaN", "Infinity", "-Infinity")
MAX_MESSAGE_BYTES = 1000  # BigQuery shows messages below 1 KB
CONTEXT = "userDefinedContext"


def parse(incoming: Incoming, served: Served) -> Call:
    """Read a body; raises InvalidBody or TooManyInstances."""
    content, signature = incoming.content, served.signature
    word = _word(content.get(CONTEXT), signature)
    calls = as_rows(content["calls"], "/calls", served.max_instances)
    check_faults(
        Detail(at=f"/calls/{index}", expected="a list of arguments", found=found(call))
        for index, call in enumerate(calls.rows)
        if not isinstance(call, list)
    )
    numeric = [feature.type in ("integer", "number") for feature in signature.features]
    by_name = dict(zip([feature.name for feature in signature.features], numeric, strict=True))
    rows = [_row(call, numeric, by_name) for call in calls.rows]

    def at(index: int) -> str:
        return f"/calls/{index}/0" if isinstance(rows[index], dict) else f"/calls/{index}"

    return Call(Instances(rows, at), (OUTPUTS[word],), word)


def render(answered: Answered, _: Served) -> Reply:
    """Return the answer's JSON."""
    return Reply(orjson.dumps({"replies": output(answered.kept, answered)}))


def refuse(error: PilotlightError) -> Reply:
    """Return an error; BigQuery tries 408, 429, 500, 503 and 504 again, which no mistake of a caller has."""
    message = error.text().encode()
    if len(message) > MAX_MESSAGE_BYTES:
        message = message[: MAX_MESSAGE_BYTES - 3] + b"..."
    return Reply(orjson.dumps({"errorMessage": message.decode(errors="ignore")}), error.status)


def describe(served: Served) -> "Description":
    """Return what this dialect sends and gets."""
    from function import schemas  # here alone: predictions are answered without it

    signature = served.signature
    call = schemas.any_of([schemas.ROW, schemas.list_of(schemas.INSTANCE, minItems=1, maxItems=1)])
    context = {
        "type": ["object", "null"],
        "properties": {"outputs": {"enum": available_outputs(signature)}},
    }
    anything: dict[str, Any] = {}
    request = {
        "type": "object",
        "properties": {
            "calls": schemas.list_of(call, minItems=1, maxItems=served.max_instances),
            CONTEXT: context,
            "requestId": anything,
            "caller": anything,
            "sessionUser": anything,
        },
        "required": ["calls"],
    }
    return schemas.Description(
        request,
        schemas.object_of({"replies": schemas.list_of(anything)}),
        schemas.object_of({"errorMessage": schemas.TEXT}),
        {"requestId": "124ab1c", "calls": [list(schemas.example(signature).values())]},
    )


def _word(context: Any, signature: Signature) -> str:
    if context is None:
        return "predictions"
    if not isinstance(context, dict):
        raise invalid(f"/{CONTEXT}", "an object", found(context))
    word = context.get("outputs", "predictions")
    available = available_outputs(signature)
    if not isinstance(word, str) or word not in available:
        raise invalid(f"/{CONTEXT}/outputs", f"one of {', '.join(available)}", found(word))
    return word


def _row(call: list[Any], numeric: list[bool], by_name: dict[str, bool]) -> Any:
    """Return a call as an instance, its numbers read."""
    if len(call) == 1 and isinstance(call[0], dict):
        return {name: _number(value) if by_name.get(name) else value for name, value in call[0].items()}
    if len(call) == len(numeric):
        return [_number(value) if is_number else value for value, is_number in zip(call, numeric, strict=True)]
    return call


def _number(value: Any) -> Any:
    """Return the number that a text is, where BigQuery writes it so."""
    if not isinstance(value, str):
        return value
    if value in NOT_FINITE:
        return float(value)
    match = DECIMAL.fullmatch(value)
    if match is None:
        return value
    if match[1]:
        return float(value)
    return int(value) if abs(int(value)) > EXACT else value
