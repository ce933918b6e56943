"""KServe's v1 protocol and TensorFlow Serving's REST API: rows to predictions, columns to outputs.

Formats: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol and
https://www.tensorflow.org/tfx/serving/api_rest. `{"instances": [...]}` holds rows and gets `{"predictions": [...]}`;
`{"inputs": ...}` holds columns by name, or rows, and gets `{"outputs": [...]}`. A row is an object, a list in the order
of GET /model or, for a model of one feature, its bare value; a value may stand in a list of its own, as tensors of
shape [1] and [n, 1] have it. `signature_name` names what is answered, as /metadata lists it: `serving_default` or
`predict` for labels and numbers, `predict_proba` for lists of probabilities in the order of the classes,
`decision_function`; as far as the model has them.
"""

from typing import TYPE_CHECKING, Any

import orjson

from function.call import JSON, Answered, Call, Incoming, Reply, Served
from function.contract import Label, Method, Output, Signature
from function.dialects.json_body import as_rows, check_beside, find_wrapper
from function.dialects.layouts import chosen_method, read_columns, read_rows, unnamed, unnested
from function.errors import InvalidInstances, NotOffered, PilotlightError
from function.validation import Instances

if TYPE_CHECKING:
    from function.schemas import Description, Schema

ANSWERS = {"instances": "predictions", "inputs": "outputs"}
FORMS = '{"instances": [...]} or {"inputs": ...}, "signature_name" beside it'
DEFAULT = "serving_default"
DTYPES = {
    "integer": "DT_INT64",
    "number": "DT_DOUBLE",
    "boolean": "DT_BOOL",
    "text": "DT_STRING",
    "datetime": "DT_STRING",
}


def parse(incoming: Incoming, served: Served) -> Call:
    """Read a body; raises InvalidBody or TooManyInstances."""
    content, signature = incoming.content, served.signature
    wrapper = find_wrapper(content, ANSWERS, FORMS, signature.names)
    check_beside(content, wrapper, ["signature_name"])
    instances = _instances(content[wrapper], f"/{wrapper}", served)
    return Call(instances, (_method(content.get("signature_name"), signature),), ANSWERS[wrapper])


def render(answered: Answered, served: Served) -> Reply:
    """Return the answer's JSON."""
    (method,) = answered.outputs
    return Reply(orjson.dumps({answered.kept: unnamed(answered, method, served.signature)}))


def refuse(error: PilotlightError) -> Reply:
    """Return an error as one text; instances that do not fit are a bad request here."""
    status = 400 if isinstance(error, InvalidInstances) else error.status
    return Reply(orjson.dumps({"error": error.text()}), status)


def models(_: Incoming, served: Served) -> Reply:
    """Return the names of the models, which is one."""
    return Reply(orjson.dumps({"models": [served.manifest.model]}))


def status(_: Incoming, served: Served) -> Reply:
    """Return that the model is ready, in the words of both protocols."""
    manifest = served.manifest
    okay = {"error_code": "OK", "error_message": ""}
    available = {"version": str(manifest.version), "state": "AVAILABLE", "status": okay}
    return Reply(orjson.dumps({"name": manifest.model, "ready": True, "model_version_status": [available]}))


def metadata(_: Incoming, served: Served) -> Reply:
    """Return the signatures of the model as TensorFlow Serving writes them."""
    manifest, signature = served.manifest, served.signature
    inputs = {feature.name: _tensor(feature.name, DTYPES[feature.type]) for feature in signature.features}
    signatures = {
        name: {"inputs": inputs, "outputs": _outputs(method, signature), "method_name": "tensorflow/serving/predict"}
        for name, method in _signatures(signature).items()
    }
    model_spec = {"name": manifest.model, "signature_name": "", "version": str(manifest.version)}
    described = {"model_spec": model_spec, "metadata": {"signature_def": {"signature_def": signatures}}}
    return Reply(orjson.dumps(described))


def explain(_: Incoming, __: Served) -> Reply:
    """Return that this is not offered; raises NotOffered."""
    raise NotOffered("Explanations are not offered, nor :classify and :regress of examples; :predict is.")


def describe(served: Served) -> "Description":
    """Return what this dialect sends and gets."""
    from function import schemas  # here alone: predictions are answered without it
    from function.dialects.layouts import columns_schema, rows_schema

    signature = served.signature
    rows = rows_schema(served)
    name = {"signature_name": {"enum": ["", *_signatures(signature)]}}
    request = schemas.any_of(
        [
            schemas.object_of({"instances": rows, **name}, ["instances"]),
            schemas.object_of({"inputs": schemas.any_of([rows, columns_schema(served)]), **name}, ["inputs"]),
        ]
    )
    entries = schemas.list_of({})
    return schemas.Description(
        request,
        schemas.any_of([schemas.object_of({answer: entries}) for answer in ANSWERS.values()]),
        schemas.object_of({"error": schemas.TEXT}),
        {"instances": [schemas.example(signature)]},
        reads={
            "models": (JSON, schemas.object_of({"models": schemas.list_of(schemas.TEXT)})),
            "status": (JSON, _status_schema()),
            "metadata": (JSON, {"type": "object", "required": ["model_spec", "metadata"]}),
            "explain": (JSON, {"not": {}}),  # never answered
        },
    )


def _status_schema() -> "Schema":
    from function import schemas

    text = schemas.object_of({"error_code": schemas.TEXT, "error_message": schemas.TEXT})
    version = schemas.object_of({"version": schemas.TEXT, "state": {"const": "AVAILABLE"}, "status": text})
    versions = schemas.list_of(version, minItems=1)
    return schemas.object_of({"name": schemas.TEXT, "ready": {"const": True}, "model_version_status": versions})


def _instances(value: Any, at: str, served: Served) -> Instances:
    if at == "/inputs" and isinstance(value, dict):
        return read_columns({name: unnested(column) for name, column in value.items()}, at, served)
    rows = as_rows(value, at, served.max_instances).rows
    return read_rows([unnested(row) for row in rows], at, served)


def _method(word: Any, signature: Signature) -> Method:
    return "predict" if word in (None, "", DEFAULT) else chosen_method(word, "/signature_name", signature)


def _signatures(signature: Signature) -> dict[str, Method]:
    """Return the names that `signature_name` takes, and the methods that they stand for."""
    return {DEFAULT: "predict", **{method: method for method in signature.methods}}


def _outputs(method: Method, signature: Signature) -> dict[str, Any]:
    outputs = signature.outputs
    if method == "predict":
        dtypes = {_dtype(output) for output in outputs}
        dtype = dtypes.pop() if len(dtypes) == 1 else "DT_VARIANT"
        return {method: _tensor(method, dtype, *([len(outputs)] if len(outputs) > 1 else []))}
    if method == "predict_proba" and len(outputs) == 1:
        return {method: _tensor(method, "DT_DOUBLE", len(outputs[0].keys))}
    unknown = {"dtype": "DT_DOUBLE", "tensor_shape": {"dim": [], "unknown_rank": True}, "name": method}
    return {method: unknown}


def _tensor(name: str, dtype: str, *sizes: int) -> dict[str, Any]:
    dim = [{"size": str(size), "name": ""} for size in (-1, *sizes)]
    return {"dtype": dtype, "tensor_shape": {"dim": dim, "unknown_rank": False}, "name": name}


def _dtype(output: Output) -> str:
    """Return the type of a target's values; classes are of one type."""
    kinds: dict[type[Label], str] = {bool: "DT_BOOL", int: "DT_INT64", str: "DT_STRING"}
    return kinds.get(type(output.classes[0]), "DT_DOUBLE") if output.classes else "DT_DOUBLE"
