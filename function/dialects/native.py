"""The native format: instances, features or one bare object in; predictions, probabilities and their ids out."""

from typing import TYPE_CHECKING, Any

import orjson

from function.call import JSON, Answered, Call, Incoming, Reply, Served, usual_methods
from function.contract import Method, Signature
from function.dialects.json_body import OUTPUTS, as_rows, available_outputs, check_beside, invalid
from function.errors import InvalidBody, PilotlightError
from function.routes import is_wrapper, media_types
from function.validation import Instances, found

if TYPE_CHECKING:
    from function.schemas import Description

PARAMETERS_FAULT = "The parameters ask for what this model does not give."
# Forms of other paths, so that whoever sends them here is told the way.
ELSEWHERE = {
    "inputs": "at POST /invocations, /v1/models/{model}:predict or /v2/models/{model}/infer",
    "dataframe_split": "at POST /invocations",
    "dataframe_records": "at POST /invocations",
}
FORMS = '{"instances": [...]}, {"features": {...}}, {"features": [...]} or one bare object of features'


def parse(incoming: Incoming, served: Served) -> Call:
    """Read a body; raises InvalidBody or TooManyInstances."""
    content, signature = incoming.content, served.signature
    if not isinstance(content, dict):
        raise invalid("", FORMS, found(content))
    if is_wrapper(content, "instances", signature.names):
        _only(content, "instances")
        rows = as_rows(content["instances"], "/instances", served.max_instances)
        return Call(rows, chosen_methods(content.get("parameters"), signature))
    if is_wrapper(content, "features", signature.names):
        _only(content, "features")
        return Call(_single(content["features"], "/features"), chosen_methods(content.get("parameters"), signature))
    for name, elsewhere in ELSEWHERE.items():
        if is_wrapper(content, name, signature.names):
            raise InvalidBody(f'The body holds "{name}", which is read elsewhere: {elsewhere}.')
    return Call(_single(content, ""), usual_methods(signature))


def render(answered: Answered, served: Served) -> Reply:
    """Return the answer's JSON."""
    return Reply(orjson.dumps(answer(answered, served)))


def refuse(error: PilotlightError) -> Reply:
    """Return the one error shape."""
    return Reply(orjson.dumps(error.body()), error.status)


def answer(answered: Answered, served: Served) -> dict[str, Any]:
    """Return the answer: what was asked for, by the words of the format."""
    outputs = answered.outputs
    answer: dict[str, Any] = {"model": served.manifest.model, "version": served.manifest.version}
    if "predict" in outputs:
        answer["predictions"] = outputs["predict"]
    if answered.chances is not None:
        answer["probabilities"] = answered.chances
    if "decision_function" in outputs:
        answer["decision_function"] = outputs["decision_function"]
    answer["prediction_ids"] = answered.prediction_ids
    if answered.marks.total:
        answer["marks"] = answered.marks.details
        answer["marks_total"] = answered.marks.total
    return answer


def chosen_methods(parameters: Any, signature: Signature) -> tuple[Method, ...]:
    """Return the methods that `parameters.outputs` asks for, or the usual ones; raises InvalidBody."""
    if parameters is None:
        return usual_methods(signature)
    if not isinstance(parameters, dict) or set(parameters) - {"outputs"}:
        raise invalid("/parameters", 'an object that holds "outputs" alone', found(parameters), PARAMETERS_FAULT)
    if "outputs" not in parameters:
        return usual_methods(signature)
    words = parameters["outputs"]
    available = available_outputs(signature)
    if not isinstance(words, list) or not words or not all(word in available for word in words):
        text = f"a list of at least one of {', '.join(available)}"
        what = _first(words, available) if isinstance(words, list) else found(words)
        raise invalid("/parameters/outputs", text, what, PARAMETERS_FAULT)
    return tuple(OUTPUTS[word] for word in dict.fromkeys(words))


def describe(served: Served) -> "Description":
    """Return what this dialect sends and gets."""
    from function import schemas  # here alone: the rest of this module is needed at the first request

    signature = served.signature
    words = {"type": "array", "items": {"enum": available_outputs(signature)}, "minItems": 1}
    parameters = schemas.object_of({"outputs": words}, [])
    either = schemas.any_of([schemas.INSTANCE, schemas.ROW])
    instances = schemas.list_of(either, minItems=1, maxItems=served.max_instances)
    request = schemas.any_of(
        [
            schemas.object_of({"instances": instances, "parameters": parameters}, ["instances"]),
            schemas.object_of({"features": either, "parameters": parameters}, ["features"]),
            schemas.INSTANCE,
        ]
    )
    absent = {"probabilities", "decision_function"} - set(available_outputs(signature))
    answer = {
        "model": schemas.TEXT,
        "version": schemas.INTEGER,
        "predictions": schemas.list_of(schemas.PREDICTION),
        "probabilities": schemas.list_of(schemas.PROBABILITIES),
        "decision_function": schemas.list_of({}),
        "prediction_ids": schemas.list_of(schemas.TEXT),
        "marks": schemas.DETAILS,
        "marks_total": {"type": "integer", "minimum": 1},
    }
    kept = {name: schema for name, schema in answer.items() if name not in absent}
    paths = schemas.object_of({"status": {"const": "alive"}, "paths": schemas.list_of(schemas.TEXT)})
    alive = schemas.object_of({"status": {"const": "alive"}, "live": {"const": True}})
    is_ready = schemas.object_of(
        {
            "status": {"const": "ready"},
            "ready": {"const": True},
            "model": schemas.TEXT,
            "version": schemas.INTEGER,
        }
    )
    return schemas.Description(
        request,
        schemas.object_of(kept, ["model", "version", "prediction_ids"]),
        schemas.ERROR,
        {"instances": [schemas.example(signature)]},
        reads={
            "index": (JSON, paths),
            "live": (JSON, alive),
            "ready": (JSON, is_ready),
            "model": (JSON, {"type": "object", "required": ["model", "version", "features", "example", "card"]}),
            "openapi": (JSON, {"type": "object", "required": ["openapi", "paths"]}),
            "page": ("text/html", {}),
            "asset": ("*/*", {}),
        },
    )


def index(incoming: Incoming, _: None) -> Reply:
    """Return what lives here; a browser is led to the page for people."""
    if "text/html" in media_types(incoming.headers, b"accept"):
        return Reply(b"", 307, {"location": "docs"})
    paths = list(dict.fromkeys(route.path for route in incoming.routes))
    return Reply(orjson.dumps({"status": "alive", "paths": paths}))


def live(_: Incoming, __: None) -> Reply:
    """Return whether the process answers."""
    return Reply(orjson.dumps({"status": "alive", "live": True}))


def ready(_: Incoming, served: Served) -> Reply:
    """Return whether the model is loaded."""
    manifest = served.manifest
    return Reply(orjson.dumps({"status": "ready", "ready": True, "model": manifest.model, "version": manifest.version}))


def _only(content: dict[str, Any], key: str) -> None:
    check_beside(content, key, ("parameters",))
    if not isinstance(content[key], (list, dict)):  # a union would be made anew at each request
        raise invalid(f"/{key}", "a list" if key == "instances" else "an object or a list", found(content[key]))


def _first(words: list[Any], available: list[str]) -> str:
    wrong = [word for word in words if word not in available]
    return f"a list that holds {found(wrong[0])}" if wrong else "an empty list"


def _single(instance: Any, where: str) -> Instances:
    return Instances([instance], lambda _: where)
