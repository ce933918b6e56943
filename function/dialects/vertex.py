"""Vertex AI's custom containers, at the path that AIP_PREDICT_ROUTE names.

Format: https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements. `{"instances": [...]}` gets
the native answer; `predict` of Vertex AI hands on `predictions` alone, `rawPredict` all of it. So where
`parameters.outputs` lists words of the native format, `predictions` holds what they ask for: the one output of each
instance, or an object of several by these words.
"""

from typing import TYPE_CHECKING, Any

import orjson

from function.call import Answered, Call, Incoming, Reply, Served
from function.dialects import native
from function.dialects.json_body import OUTPUTS, available_outputs, check_beside, find_wrapper, output
from function.dialects.layouts import read_rows
from function.dialects.native import chosen_methods, refuse

if TYPE_CHECKING:
    from function.schemas import Description

__all__ = ["describe", "parse", "refuse", "render"]

FORMS = '{"instances": [...]}, "parameters" beside it'


def parse(incoming: Incoming, served: Served) -> Call:
    """Read a body; raises InvalidBody or TooManyInstances."""
    content, signature = incoming.content, served.signature
    find_wrapper(content, ["instances"], FORMS, signature.names)
    check_beside(content, "instances", ["parameters"])
    parameters = content.get("parameters")
    methods = chosen_methods(parameters, signature)
    words = list(dict.fromkeys(parameters["outputs"])) if parameters else None
    return Call(read_rows(content["instances"], "/instances", served), methods, words)


def render(answered: Answered, served: Served) -> Reply:
    """Return the answer's JSON."""
    answer = native.answer(answered, served)
    words: list[str] | None = answered.kept
    if words is not None:
        rest = {name: value for name, value in answer.items() if name not in OUTPUTS}
        answer = {"predictions": _asked_for(words, answered), **rest}
    return Reply(orjson.dumps(answer))


def describe(served: Served) -> "Description":
    """Return what this dialect sends and gets."""
    from function import schemas  # here alone: predictions are answered without it
    from function.dialects.layouts import rows_schema

    described = native.describe(served)
    words = {"type": "array", "items": {"enum": available_outputs(served.signature)}, "minItems": 1}
    parameters = {**schemas.object_of({"outputs": words}, []), "type": ["object", "null"]}
    request = schemas.object_of({"instances": rows_schema(served), "parameters": parameters}, ["instances"])
    properties = {**described.answer["properties"], "predictions": schemas.list_of({})}
    required = ["model", "version", "predictions", "prediction_ids"]
    return described._replace(request=request, answer=schemas.object_of(properties, required), reads={})


def _asked_for(words: list[str], answered: Answered) -> list[Any]:
    outputs = [output(word, answered) for word in words]
    if len(words) == 1:
        return list(outputs[0])
    return [dict(zip(words, row, strict=True)) for row in zip(*outputs, strict=True)]
