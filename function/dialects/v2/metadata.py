"""What the protocol tells of a model: metadata, configuration, statistics, the repository's index; and its schemas."""

from typing import Any

import orjson

from function import __version__, schemas
from function.call import JSON, Incoming, Reply, Served
from function.contract import Feature
from function.dialects.v2.outputs import outputs
from function.dialects.v2.tensors import BYTES, DATATYPES

EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"]
FEATURE_DATATYPES = {"integer": "INT64", "number": "FP64", "boolean": "BOOL", "text": BYTES, "datetime": BYTES}


def server(_: Incoming, __: Served) -> Reply:
    """Return the server's name, version and extensions."""
    return _reply({"name": "pilotlight", "version": __version__, "extensions": EXTENSIONS})


def models(_: Incoming, served: Served) -> Reply:
    """Return the names of the models that are served: one."""
    return _reply({"models": [served.manifest.model]})


def index(_: Incoming, served: Served) -> Reply:
    """Return the repository's index: one version of one model."""
    return _reply([{"name": served.manifest.model, "version": str(served.manifest.version), "state": "READY"}])


def model(_: Incoming, served: Served) -> Reply:
    """Return the model's tensors."""
    manifest, signature = served.manifest, served.signature
    inputs = [
        {"name": feature.name, "datatype": FEATURE_DATATYPES[feature.type], "shape": [-1, 1]}
        for feature in signature.features
    ]
    made = [
        {"name": name, "datatype": one.datatype, "shape": [-1, *one.dimensions]}
        for name, one in outputs(signature).items()
    ]
    return _reply(
        {
            "name": manifest.model,
            "versions": [str(manifest.version)],
            "platform": f"pilotlight_{manifest.engine}",
            "inputs": inputs,
            "outputs": made,
        }
    )


def ready(_: Incoming, served: Served) -> Reply:
    """Return whether the model is ready; asking loads it."""
    return _reply({"name": served.manifest.model, "ready": True})


def config(_: Incoming, served: Served) -> Reply:
    """Return the model's configuration in the shape of Triton's ModelConfig."""
    manifest, signature = served.manifest, served.signature
    inputs = [
        {"name": feature.name, "data_type": _config_type(FEATURE_DATATYPES[feature.type]), "dims": [1]}
        for feature in signature.features
    ]
    made = [
        {"name": name, "data_type": _config_type(one.datatype), "dims": one.dimensions or [1]}
        for name, one in outputs(signature).items()
    ]
    return _reply(
        {
            "name": manifest.model,
            "platform": "",
            "backend": "pilotlight",
            "version_policy": {"specific": {"versions": [manifest.version]}},
            "max_batch_size": served.max_instances,
            "input": inputs,
            "output": made,
        }
    )


def statistics(_: Incoming, served: Served) -> Reply:
    """Return what this process has answered since it started, in the shape of Triton's statistics."""
    totals = served.totals
    nothing = {"count": 0, "ns": 0}
    stats = {
        "success": _spent(totals.answered, totals.total_ms),
        "fail": _spent(totals.failed, totals.failed_ms),
        "queue": nothing,
        "compute_input": _spent(totals.answered, totals.validate_ms),
        "compute_infer": _spent(totals.answered, totals.predict_ms),
        "compute_output": nothing,
        "cache_hit": nothing,
        "cache_miss": nothing,
    }
    of_model = {
        "name": served.manifest.model,
        "version": str(served.manifest.version),
        "last_inference": int(totals.last_answer * 1000),
        "inference_count": totals.instances,
        "execution_count": totals.answered,
        "inference_stats": stats,
        "response_stats": {},
        "batch_stats": [],
    }
    return _reply({"model_stats": [of_model]})


def regions(_: Incoming, __: Served) -> Reply:
    """Return the regions of shared memory that are known: none, for none can be registered."""
    return _reply([])


def describe(served: Served) -> schemas.Description:
    """Return the schemas of the protocol, with this model's tensors."""
    signature = served.signature
    parameters = {"type": "object"}
    shape = schemas.list_of({"type": "integer", "minimum": 0}, minItems=1, maxItems=8)
    tensor = {
        "type": "object",
        "properties": {
            "name": schemas.TEXT,
            "shape": shape,
            "datatype": {"enum": list(DATATYPES)},
            "parameters": parameters,
            "data": {"type": "array"},
        },
        "required": ["name", "shape", "datatype"],
    }
    wanted = {
        "type": "object",
        "properties": {"name": {"enum": list(outputs(signature))}, "parameters": parameters},
        "required": ["name"],
    }
    request = {
        "type": "object",
        "properties": {
            "id": schemas.TEXT,
            "parameters": parameters,
            "inputs": schemas.list_of(tensor, minItems=1),
            "outputs": schemas.list_of(wanted),
        },
        "required": ["inputs"],
    }
    answer = schemas.object_of(
        {
            "model_name": schemas.TEXT,
            "model_version": schemas.TEXT,
            "id": schemas.TEXT,
            "outputs": schemas.list_of(tensor),
        },
        ["model_name", "model_version", "outputs"],
    )
    example = {"inputs": [_example(feature) for feature in signature.features]}
    named = {"type": "object", "required": ["name"]}
    return schemas.Description(
        request,
        answer,
        schemas.object_of({"error": schemas.TEXT}),
        example,
        reads={
            "server": (JSON, named),
            "models": (JSON, schemas.object_of({"models": schemas.list_of(schemas.TEXT)})),
            "index": (JSON, schemas.list_of(named)),
            "model": (JSON, {"type": "object", "required": ["name", "versions", "platform", "inputs", "outputs"]}),
            "ready": (JSON, schemas.object_of({"name": schemas.TEXT, "ready": {"const": True}})),
            "config": (JSON, {"type": "object", "required": ["name", "max_batch_size", "input", "output"]}),
            "regions": (JSON, schemas.list_of({}, maxItems=0)),
            "statistics": (JSON, {"type": "object", "required": ["model_stats"]}),
        },
    )


def _reply(content: object) -> Reply:
    return Reply(orjson.dumps(content))


def _config_type(datatype: str) -> str:
    return "TYPE_STRING" if datatype == BYTES else f"TYPE_{datatype}"


def _spent(count: int, milliseconds: float) -> dict[str, int]:
    return {"count": count, "ns": int(milliseconds * 1e6)}


def _example(feature: Feature) -> dict[str, Any]:
    return {
        "name": feature.name,
        "shape": [1, 1],
        "datatype": FEATURE_DATATYPES[feature.type],
        "data": [feature.example],
    }
