"""MLflow's scoring server, which SageMaker's containers resemble: POST /invocations, GET /ping and GET /version.

Formats: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally and
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html. A body holds exactly one of
`dataframe_split` (`data`, mostly with `columns`; `index` is passed over), `dataframe_records`, `instances` and `inputs`
(rows, for a model of one feature bare values, for `inputs` also columns by name), or is CSV, or SageMaker's bare array
of rows. An answer is `{"predictions": [...]}`, or CSV without header where the header Accept begins with text/csv.
MLflow chooses between methods when a model is logged, by `pyfunc_predict_fn`; here `params` takes that name, so
`{"params": {"pyfunc_predict_fn": "predict_proba"}}` gets lists of probabilities in the order of the classes; CSV and
bare arrays have no room for it, so SageMaker's header for custom attributes takes `pyfunc_predict_fn=predict_proba`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import orjson

from function import __version__
from function.call import JSON, Answered, Call, Headers, Incoming, Reply, Served
from function.contract import Method, Signature
from function.dialects.json_body import check_beside, find_wrapper, invalid, unknown_names
from function.dialects.layouts import chosen_method, read_columns, read_records, read_rows, read_table, unnamed
from function.errors import PilotlightError, RequestError
from function.routes import media_types
from function.validation import Instances, found

if TYPE_CHECKING:
    from function.schemas import Description, Schema

CSV = "text/csv"
QUOTE = '"'
WRAPPERS = ("dataframe_split", "dataframe_records", "instances", "inputs")
FORMS = f"an object with exactly one of {', '.join(WRAPPERS)}"
CHOICE = "pyfunc_predict_fn"
ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
# https://github.com/mlflow/mlflow/blob/master/mlflow/exceptions.py, ERROR_CODE_TO_HTTP_STATUS
CODES = {
    404: "ENDPOINT_NOT_FOUND",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    501: "NOT_IMPLEMENTED",
    503: "TEMPORARILY_UNAVAILABLE",
}


def parse(incoming: Incoming, served: Served) -> Call:
    """Read a body; raises InvalidBody, MalformedBody or TooManyInstances."""
    wants_csv = media_types(incoming.headers, b"accept")[0] == CSV
    if media_types(incoming.headers, b"content-type")[0] == CSV:
        from function.dialects import csv

        return Call(csv.instances(incoming, served), (_attribute(incoming.headers, served.signature),), wants_csv)
    content, signature = incoming.content, served.signature
    if isinstance(content, list):
        return Call(read_rows(content, "", served), (_attribute(incoming.headers, signature),), wants_csv)
    wrapper = find_wrapper(content, WRAPPERS, FORMS, signature.names)
    check_beside(content, wrapper, ["params"])
    instances = _instances(content[wrapper], wrapper, served)
    return Call(instances, (_method(content.get("params"), signature),), wants_csv)


def render(answered: Answered, served: Served) -> Reply:
    """Return the answer's JSON or CSV."""
    (method,) = answered.outputs
    predictions = unnamed(answered, method, served.signature)
    if answered.kept:
        lines = "".join(",".join(map(_cell, _flat(prediction))) + "\n" for prediction in predictions)
        return Reply(lines.encode(), media_type=CSV)
    return Reply(orjson.dumps({"predictions": predictions}))


def refuse(error: PilotlightError) -> Reply:
    """Return an error with MLflow's code; what a caller can mend in a body is a bad request there."""
    status = 400 if error.status == 422 else error.status
    code = CODES.get(status, "BAD_REQUEST" if isinstance(error, RequestError) else "INTERNAL_ERROR")
    return Reply(orjson.dumps({"error_code": code, "message": error.text()}), status)


def ping(_: Incoming, __: Served) -> Reply:
    """Return that the model is loaded, in vetiver's words; MLflow and SageMaker look at the status alone."""
    return Reply(orjson.dumps({"ping": "pong"}))


def version(_: Incoming, __: None) -> Reply:
    """Return the version of the server, as plain text."""
    return Reply(__version__.encode(), media_type="text/plain")


def describe(served: Served) -> "Description":
    """Return what this dialect sends and gets."""
    from function import schemas  # here alone: predictions are answered without it
    from function.dialects.layouts import columns_schema, rows_schema

    signature = served.signature
    rows = rows_schema(served)
    forms = {
        "dataframe_split": _split_schema(served),
        "dataframe_records": schemas.list_of(schemas.INSTANCE, minItems=1, maxItems=served.max_instances),
        "instances": rows,
        "inputs": schemas.any_of([rows, columns_schema(served)]),
    }
    params = schemas.object_of({CHOICE: {"enum": list(signature.methods)}}, [])
    params["type"] = ["object", "null"]
    wrapped = [schemas.object_of({wrapper: schema, "params": params}, [wrapper]) for wrapper, schema in forms.items()]
    request = schemas.any_of([*wrapped, rows])
    return schemas.Description(
        request,
        schemas.object_of({"predictions": schemas.list_of({})}),
        schemas.object_of({"error_code": schemas.TEXT, "message": schemas.TEXT}),
        {"dataframe_records": [schemas.example(signature)]},
        more_answers={CSV: {"type": "string", "description": "A line an instance, without header"}},
        reads={
            "ping": (JSON, schemas.object_of({"ping": {"const": "pong"}})),
            "version": ("text/plain", schemas.TEXT),
        },
    )


def _instances(value: Any, wrapper: str, served: Served) -> Instances:
    at = f"/{wrapper}"
    if wrapper == "dataframe_split":
        return _split(value, at, served)
    if wrapper == "dataframe_records":
        return read_records(value, at, served)
    if wrapper == "inputs" and isinstance(value, dict):
        return read_columns(value, at, served)
    return read_rows(value, at, served)


def _split(value: Any, at: str, served: Served) -> Instances:
    """Return the rows of a frame as pandas writes it with orient="split"."""
    if not isinstance(value, dict) or "data" not in value:
        raise invalid(at, 'an object with "columns" and "data"', found(value))
    if extra := [name for name in value if name not in ("columns", "index", "data")]:
        raise unknown_names(extra, 'only "columns", "index" and "data"', at)
    instances = _table(value["data"], value.get("columns"), at, served)
    index = value.get("index")
    if index is not None and (not isinstance(index, list) or len(index) != len(value["data"])):
        raise invalid(f"{at}/index", f"a list of {len(value['data'])} entries, as many as rows", found(index))
    return instances


def _table(rows: Any, columns: Any, at: str, served: Served) -> Instances:
    positions = list(range(len(served.signature.features)))
    if columns is None or (columns == positions and set(map(type, columns)) == {int}):  # of a frame made from a matrix
        return read_rows(rows, f"{at}/data", served)
    if not isinstance(columns, list):
        raise invalid(f"{at}/columns", "a list of names", found(columns))
    return read_table(columns, rows, f"{at}/columns", f"{at}/data", served)


def _split_schema(served: Served) -> "Schema":
    from function import schemas
    from function.dialects.layouts import rows_schema

    names = [feature.name for feature in served.signature.features]
    columns = {"const": names, "description": "In any order, as long as the values of data stand in the same"}
    rows = schemas.list_of(schemas.ROW, minItems=1, maxItems=served.max_instances)
    table = schemas.object_of({"columns": columns, "data": rows})
    return schemas.any_of([table, schemas.object_of({"data": rows_schema(served)})])


def _method(params: Any, signature: Signature) -> Method:
    if params is None:
        return "predict"
    if not isinstance(params, dict):
        raise invalid("/params", "an object", found(params))
    if extra := [name for name in params if name != CHOICE]:
        raise unknown_names(extra, f'only "{CHOICE}"', "/params")
    return chosen_method(params[CHOICE], f"/params/{CHOICE}", signature) if params else "predict"


def _attribute(headers: Headers, signature: Signature) -> Method:
    """Return the method that SageMaker's header asks for, the one of its caller's that it passes on."""
    name, _, value = headers.get(ATTRIBUTES.encode(), b"").decode("latin-1").partition("=")
    return chosen_method(value.strip(), ATTRIBUTES, signature) if name.strip() == CHOICE else "predict"


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def _cell(value: Any) -> str:
    """Return a value as RFC 4180 has it; a missing one is empty."""
    text = value if isinstance(value, str) else "" if value is None else orjson.dumps(value).decode()
    return f'"{text.replace(QUOTE, QUOTE * 2)}"' if any(mark in text for mark in ',"\r\n') else text
