"""What an endpoint says of itself: its model for people and programs, and its OpenAPI 3.1 description."""

from typing import Any

from function.contract import Feature, Manifest, Output, Signature
from function.dialects.native import available_outputs
from function.errors import (
    BodyTimeout,
    BodyTooLarge,
    InvalidBody,
    InvalidInstances,
    MethodNotAllowed,
    ModelUnavailable,
    Overloaded,
    PilotlightError,
    PredictionFailed,
    UnknownPath,
    UnsupportedMediaType,
)
from function.validation import MAX_DETAILS, accepted_range, expected

JSON_TYPES = {"integer": "integer", "number": "number", "boolean": "boolean", "text": "string", "datetime": "string"}

_PREDICT_ERRORS: tuple[type[PilotlightError], ...] = (
    InvalidBody,
    MethodNotAllowed,
    BodyTimeout,
    BodyTooLarge,
    UnsupportedMediaType,
    InvalidInstances,
    Overloaded,
    PredictionFailed,
    ModelUnavailable,
)
_READ_ERRORS: tuple[type[PilotlightError], ...] = (UnknownPath, MethodNotAllowed, PilotlightError, ModelUnavailable)


def describe_model(manifest: Manifest, engine: str, card: str) -> dict[str, Any]:
    """Return what GET /model answers: identity, signature with typed classes, and the card."""
    signature = manifest.signature
    return {
        "model": manifest.model,
        "version": manifest.version,
        "engine": engine,
        "purpose": manifest.purpose,
        "owner": manifest.owner,
        "task": signature.task,
        "created_at": manifest.created_at,
        "features": [_describe_feature(feature) for feature in signature.features],
        "targets": [{"name": output.name, "classes": output.classes} for output in signature.outputs],
        "classes": signature.outputs[0].classes if len(signature.outputs) == 1 else None,
        "outputs": available_outputs(signature),
        "example": {"instances": [example_instance(signature)]},
        "metrics": {name: metric.model_dump() for name, metric in manifest.metrics.items()},
        "card": card,
    }


def example_instance(signature: Signature) -> dict[str, Any]:
    """Return an instance that is valid, made of each feature's usual value."""
    return {feature.name: feature.example for feature in signature.features}


def openapi(manifest: Manifest, max_instances: int) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of an endpoint that serves this version."""
    return {
        "openapi": "3.1.0",
        "info": {"title": manifest.model, "version": str(manifest.version), "description": manifest.purpose},
        "paths": {
            "/predict": {"post": _predict_operation(manifest.signature)},
            "/model": {"get": _read_operation("read_model", "Signature and card of the model", _MODEL)},
            "/health/live": {"get": _read_operation("read_live", "Whether the process answers", _LIVE)},
            "/health/ready": {"get": _read_operation("read_ready", "Whether the model is loaded", _READY)},
            "/openapi.json": {"get": _read_operation("read_openapi", "This document", {"type": "object"})},
            "/": {"get": _read_operation("read_index", "What lives here", _INDEX)},
        },
        "components": {
            "schemas": {
                "Instance": _instance_schema(manifest.signature),
                "Row": _row_schema(manifest.signature),
                "Request": _request_schema(manifest.signature, max_instances),
                "Answer": _answer_schema(manifest),
                "Error": _ERROR,
            }
        },
    }


def _describe_feature(feature: Feature) -> dict[str, Any]:
    return {
        "name": feature.name,
        "type": feature.type,
        "nullable": feature.nullable,
        "expected": expected(feature),
        "categories": feature.categories,
        "minimum": feature.minimum,
        "maximum": feature.maximum,
        "example": feature.example,
    }


def _predict_operation(signature: Signature) -> dict[str, Any]:
    body = {"schema": _ref("Request"), "example": {"instances": [example_instance(signature)]}}
    return {
        "operationId": "predict",
        "summary": "Predict",
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {"200": _answer("The predictions, in the order of the instances", _ref("Answer"))}
        | _errors(_PREDICT_ERRORS),
    }


def _read_operation(name: str, summary: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": _answer(summary, schema)} | _errors(_READ_ERRORS),
    }


def _errors(errors: tuple[type[PilotlightError], ...]) -> dict[str, Any]:
    return {str(error.status): _answer((error.__doc__ or "").split("\n")[0], _ref("Error")) for error in errors}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _instance_schema(signature: Signature) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {feature.name: _feature_schema(feature) for feature in signature.features},
        "required": [feature.name for feature in signature.features],
        "additionalProperties": False,
        "example": example_instance(signature),
    }


def _row_schema(signature: Signature) -> dict[str, Any]:
    count = len(signature.features)
    return {
        "type": "array",
        "description": "The features' values in the order of GET /model",
        "prefixItems": [_feature_schema(feature) for feature in signature.features],
        "items": False,
        "minItems": count,
        "maxItems": count,
    }


def _request_schema(signature: Signature, max_instances: int) -> dict[str, Any]:
    either = {"anyOf": [_ref("Instance"), _ref("Row")]}
    parameters = {
        "type": "object",
        "properties": {
            "outputs": {"type": "array", "items": {"enum": available_outputs(signature)}, "minItems": 1},
        },
        "additionalProperties": False,
    }
    instances = {"type": "array", "items": either, "minItems": 1, "maxItems": max_instances}
    return {
        "anyOf": [
            _object({"instances": instances, "parameters": parameters}, ["instances"]),
            _object({"features": either, "parameters": parameters}, ["features"]),
            _ref("Instance"),
        ]
    }


def _feature_schema(feature: Feature) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": expected(feature), "examples": [feature.example]}
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


def _answer_schema(manifest: Manifest) -> dict[str, Any]:
    signature = manifest.signature
    row = _by_target([_prediction(output) for output in signature.outputs])
    chances = _by_target([_probabilities(output) for output in signature.outputs])
    properties = {
        "model": {"const": manifest.model},
        "version": {"const": manifest.version},
        "predictions": {"type": "array", "items": row},
        "probabilities": {"type": "array", "items": chances},
        "decision_function": {"type": "array"},
        "prediction_ids": {"type": "array", "items": {"type": "string"}},
        "marks": {"type": "array", "items": _DETAIL, "maxItems": MAX_DETAILS},
        "marks_total": {"type": "integer", "minimum": 1},
    }
    absent = {"probabilities", "decision_function"} - set(available_outputs(signature))
    kept = {name: schema for name, schema in properties.items() if name not in absent}
    return _object(kept, ["model", "version", "prediction_ids"])


def _by_target(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    return schemas[0] if len(schemas) == 1 else {"type": "array", "prefixItems": schemas, "items": False}


def _prediction(output: Output) -> dict[str, Any]:
    return {"enum": list(output.classes)} if output.classes else {"type": ["number", "null"]}


def _probabilities(output: Output) -> dict[str, Any]:
    keys = list(output.keys)
    return _object({key: {"type": "number", "minimum": 0, "maximum": 1} for key in keys}, keys)


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_TEXT = {"type": "string"}
_DETAIL = _object({"at": _TEXT, "expected": _TEXT, "found": _TEXT}, ["at", "expected", "found"])
_ERROR = _object(
    {
        "error": _object(
            {"code": _TEXT, "message": _TEXT, "details": {"type": "array", "items": _DETAIL, "maxItems": MAX_DETAILS}},
            ["code", "message", "details"],
        )
    },
    ["error"],
)
_INDEX = _object({"status": {"const": "alive"}, "paths": {"type": "array", "items": _TEXT}}, ["status", "paths"])
_LIVE = _object({"status": {"const": "alive"}, "live": {"const": True}}, ["status", "live"])
_READY = _object(
    {"status": {"const": "ready"}, "ready": {"const": True}, "model": _TEXT, "version": {"type": "integer"}},
    ["status", "ready", "model", "version"],
)
_MODEL = {
    "type": "object",
    "required": ["model", "version", "engine", "task", "features", "targets", "classes", "outputs", "example", "card"],
}
