"""What an endpoint says of itself: its model for people and programs, and its OpenAPI 3.1 description."""

import functools
import importlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson

from function import feedback
from function.call import JSON, Incoming, Reply, Served
from function.contract import CARD, Feature, Manifest, Signature
from function.dialects import load_dialect
from function.dialects.json_body import available_outputs
from function.errors import (
    BodyTimeout,
    BodyTooLarge,
    InvalidBody,
    InvalidInstances,
    InvalidOutcomes,
    MethodNotAllowed,
    ModelUnavailable,
    NotOffered,
    NotRecorded,
    Overloaded,
    PilotlightError,
    PredictionFailed,
    UnknownModel,
    UnknownPath,
    UnsupportedMediaType,
)
from function.routes import TABLES, Route
from function.schemas import Description, Schema, any_of, components, example
from function.validation import expected

_written: dict[Signature, bytes] = {}  # the document of the one signature that a process serves
Describe = Callable[[str], Description]

TITLES = {
    "native": "Pilotlight",
    "ndjson": "NDJSON",
    "csv": "CSV",
    "arrow": "Arrow",
    "parquet": "Parquet",
    "v2": "Open Inference Protocol v2",
    "v1": "KServe v1, TensorFlow Serving",
    "mlflow": "MLflow, SageMaker",
    "vetiver": "vetiver",
    "bigquery": "BigQuery remote functions",
    "vertex": "Vertex AI",
}
STATUSES = {
    400: "The body is not what it is said to be, or has no form that is read here",
    404: "Nothing lives at this path, or another model or version is meant",
    405: "The path takes another method",
    408: "The body did not arrive in time",
    413: "More bytes or more instances than one request may have",
    415: "A content type or encoding that is not read here",
    422: "Values that do not fit the model; each is named",
    429: "Too much is under way; try again",
    500: "The fault is ours, and was recorded",
    501: "The protocol has this, but this endpoint does not",
    503: "Not just now: the model is not loaded, or feedback could not be written",
}
READ_ERRORS = (UnknownModel, UnknownPath, MethodNotAllowed, PilotlightError, ModelUnavailable)
BODY_ERRORS = (InvalidBody, MethodNotAllowed, BodyTimeout, BodyTooLarge, UnsupportedMediaType, Overloaded)
PREDICT_ERRORS = (*BODY_ERRORS, UnknownModel, InvalidInstances, PredictionFailed, ModelUnavailable)
FEEDBACK_ERRORS = (*BODY_ERRORS, InvalidOutcomes, PilotlightError, ModelUnavailable, NotRecorded)


def model(_: Incoming, served: Served) -> Reply:
    """Return the model: its identity, its signature with typed classes, and its card."""
    manifest, signature = served.manifest, served.signature
    description = {
        "model": manifest.model,
        "version": manifest.version,
        "engine": manifest.engine,
        "purpose": manifest.purpose,
        "owner": manifest.owner,
        "task": signature.task,
        "created_at": manifest.created_at,
        "features": [_describe_feature(feature) for feature in signature.features],
        "targets": [{"name": output.name, "classes": output.classes} for output in signature.outputs],
        "classes": signature.outputs[0].classes if len(signature.outputs) == 1 else None,
        "outputs": available_outputs(signature),
        "example": {"instances": [example(signature)]},
        "metrics": {name: metric.model_dump() for name, metric in manifest.metrics.items()},
        "card": served.read(CARD).decode(),
    }
    return Reply(orjson.dumps(description))


def openapi(incoming: Incoming, served: Served) -> Reply:
    """Return this document."""
    content = _written.get(served.signature)
    if content is None:  # it takes some tens of milliseconds, and is always the same
        _written[served.signature] = content = orjson.dumps(document(incoming.routes, served))
    return Reply(content)


def document(routes: Iterable[Route], served: Served) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of all that an endpoint speaks."""
    manifest = served.manifest
    describe: Describe = functools.cache(lambda dialect: _module(f"dialects.{dialect}").describe(served))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        item = paths.setdefault(route.path, {})
        item[route.method.lower()] = _operation(route, served, describe)
        if places := re.findall(r"{(\w+)}", route.path):
            item["parameters"] = [_parameter(name, manifest) for name in places]
    return {
        "openapi": "3.1.0",
        "info": {"title": manifest.model, "version": str(manifest.version), "description": manifest.purpose},
        "paths": paths,
        "components": {"schemas": components(manifest.signature)},
        "tags": [{"name": title} for title in TITLES.values()],
    }


def _operation(route: Route, served: Served, describe: Describe) -> dict[str, Any]:
    name = re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_")
    operation = {"operationId": name, "tags": [TITLES[route.dialect]]}
    if route.kind == "predict":
        return operation | _predicting(route, describe)
    if route.kind == "feedback":
        return operation | _feedback(served, describe)
    module, _, name = route.reads.partition(":")
    dialect = module.split(".")[1] if module.startswith("dialects.") else "native"
    media, schema = describe(dialect).reads[name]
    errors = (*READ_ERRORS, NotOffered) if name == "explain" else READ_ERRORS
    return operation | {
        "summary": _first_line(getattr(_module(module), name)),
        "responses": {"200": _content({media: schema}, "The answer")} | _errors(errors, [route.dialect], describe),
    }


def _predicting(route: Route, describe: Describe) -> dict[str, Any]:
    """Describe a path of predictions: what any of its dialects takes and gives."""
    takes, dialects = route.takes, route.takes.dialects
    requests = {JSON: [{"title": TITLES[dialect], **describe(dialect).request} for dialect in takes.of_json]}
    for media, dialect in takes.media.items():  # a table is the same, whichever dialect answers it
        requests[media] = [describe(TABLES.get(media, dialect)).request]
    answers: dict[str, list[Schema]] = {}
    for described in map(describe, dialects):
        for media, schema in {described.answer_media: described.answer, **described.more_answers}.items():
            answers.setdefault(media, []).append(schema)
    summaries = " / ".join(TITLES[dialect] for dialect in dict.fromkeys([route.dialect, *dialects]))
    content = {media: {"schema": any_of(schemas)} for media, schemas in requests.items()}
    content[JSON] |= {"example": describe(route.dialect).example}
    answer = _content({media: any_of(schemas) for media, schemas in answers.items()}, "The predictions, in order")
    return {
        "summary": f"Predictions: {summaries}",
        "requestBody": {"required": True, "content": content},
        "responses": {"200": answer} | _errors(PREDICT_ERRORS, dialects, describe),
    }


def _feedback(served: Served, describe: Describe) -> dict[str, Any]:
    described = feedback.describe(served)
    return {
        "summary": "True outcomes of predictions, recorded so that performance can be measured",
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": described.request, "example": described.example}},
        },
        "responses": {"200": _content({JSON: described.answer}, "All of it was recorded")}
        | _errors(FEEDBACK_ERRORS, ["native"], describe),
    }


def _errors(kinds: Sequence[type[PilotlightError]], dialects: Sequence[str], describe: Describe) -> dict[str, Any]:
    """Describe errors: each kind has in each dialect its own status and shape."""
    schemas: dict[int, list[Schema]] = {}
    for kind in kinds:
        for dialect in dialects:
            status = load_dialect(dialect).refuse(kind("")).status
            schemas.setdefault(status, []).append(describe(dialect).error)
    return {str(status): _content({JSON: any_of(schemas[status])}, STATUSES[status]) for status in sorted(schemas)}


def _content(schemas: Mapping[str, Schema], text: str) -> dict[str, Any]:
    return {"description": text, "content": {media: {"schema": schema} for media, schema in schemas.items()}}


def _parameter(name: str, manifest: Manifest) -> dict[str, Any]:
    known = {"model": manifest.model, "version": str(manifest.version)}
    example = {"example": known[name]} if name in known else {}
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, **example}


def _first_line(documented: Any) -> str:
    line = (documented.__doc__ or "").split("\n")[0].removeprefix("Return ")
    return line[:1].upper() + line[1:]


def _module(name: str) -> Any:
    return importlib.import_module(f"function.{name}")


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
