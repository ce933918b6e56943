"""JSON schemas of what a model takes and gives, made from its signature, for the OpenAPI of every dialect."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from function.call import JSON
from function.contract import Feature, Output, Signature
from function.validation import MAX_DETAILS, accepted_range, expected

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
ANYTHING: Schema = {}
INSTANCE: Schema = {"$ref": "#/components/schemas/Instance"}
ROW: Schema = {"$ref": "#/components/schemas/Row"}
PREDICTION: Schema = {"$ref": "#/components/schemas/Prediction"}
PROBABILITIES: Schema = {"$ref": "#/components/schemas/Probabilities"}
ERROR: Schema = {"$ref": "#/components/schemas/Error"}
DETAILS: Schema = {"type": "array", "items": {"$ref": "#/components/schemas/Detail"}, "maxItems": MAX_DETAILS}
JSON_TYPES = {"integer": "integer", "number": "number", "boolean": "boolean", "text": "string", "datetime": "string"}


class Description(NamedTuple):
    """What one dialect sends and gets: schemas, an example that works, and what its other paths answer."""

    request: Schema
    answer: Schema
    error: Schema
    example: Any = None
    answer_media: str = JSON
    more_answers: Mapping[str, Schema] = {}  # in other media types, where the header Accept asks for one
    reads: Mapping[str, tuple[str, Schema]] = {}  # media type and schema, by the name of the function that reads it


def object_of(properties: Mapping[str, Schema], required: list[str] | None = None, **more: Any) -> Schema:
    """Return the schema of an object of these keys and no others; all are required unless some are named."""
    names = list(properties) if required is None else required
    return {
        "type": "object",
        "properties": dict(properties),
        "required": names,
        "additionalProperties": False,
        **more,
    }


def list_of(items: Schema, **limits: Any) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items, **limits}


def any_of(schemas: list[Schema]) -> Schema:
    """Return the schema of what fits one of several."""
    different = [schema for index, schema in enumerate(schemas) if schema not in schemas[:index]]
    return different[0] if len(different) == 1 else {"anyOf": different}


def example(signature: Signature) -> dict[str, Any]:
    """Return an instance that is valid, made of each feature's usual value."""
    return {feature.name: feature.example for feature in signature.features}


def components(signature: Signature) -> dict[str, Schema]:
    """Return the schemas that all dialects refer to, by name."""
    values = {feature.name: _value(feature) for feature in signature.features}
    row = {
        "type": "array",
        "description": "The features' values in the order of GET /model",
        "prefixItems": list(values.values()),
        "items": False,
        "minItems": len(values),
        "maxItems": len(values),
    }
    return {
        "Instance": object_of(values, example=example(signature)),
        "Row": row,
        "Prediction": _by_target([label(output) for output in signature.outputs]),
        "Probabilities": _by_target([_chances(output) for output in signature.outputs]),
        "Detail": object_of({"at": TEXT, "expected": TEXT, "found": TEXT}),
        "Error": object_of({"error": object_of({"code": TEXT, "message": TEXT, "details": DETAILS})}),
    }


def _value(feature: Feature) -> Schema:
    schema: Schema = {"description": expected(feature), "examples": [feature.example]}
    if feature.categories is not None and feature.unseen == "reject":
        return schema | {"enum": [*feature.categories, *([None] if feature.nullable else [])]}
    name = JSON_TYPES[feature.type]
    schema["type"] = [name, "null"] if feature.nullable else name
    if feature.type == "datetime":
        schema["format"] = "date-time"
    low, high = accepted_range(feature)
    if low is not None:
        schema |= {"minimum": low, "maximum": high}
    return schema


def _by_target(schemas: list[Schema]) -> Schema:
    return schemas[0] if len(schemas) == 1 else {"type": "array", "prefixItems": schemas, "items": False}


def label(output: Output) -> Schema:
    """Return the schema of a target's value."""
    return {"enum": list(output.classes)} if output.classes else {"type": ["number", "null"]}


def _chances(output: Output) -> Schema:
    return object_of({key: {"type": "number", "minimum": 0, "maximum": 1} for key in output.keys})
