"""vetiver's format: an array of records in, `{"predict": [...]}` out; GET /metadata and GET /prototype.

Format: https://rstudio.github.io/vetiver-python. Its client posts a frame as pandas writes it, so dates may come as
milliseconds since 1970, and loads the answer into a frame. Errors have FastAPI's shape.
"""

import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from function.call import JSON, Answered, Call, Incoming, Reply, Served
from function.dialects.layouts import read_records
from function.errors import Detail, InvalidBody, InvalidInstances, PilotlightError
from function.validation import Instances, is_aware

if TYPE_CHECKING:
    from function.schemas import Description, Schema

EPOCH = datetime(1970, 1, 1)


def parse(incoming: Incoming, served: Served) -> Call:
    """Read a body; raises InvalidBody or TooManyInstances."""
    instances = read_records(incoming.content, "", served)
    offsets = {
        feature.name: "Z" if is_aware(feature) else ""
        for feature in served.signature.features
        if feature.type == "datetime"
    }
    if offsets:
        instances = Instances([_dated(row, offsets) for row in instances.rows], instances.at)
    return Call(instances, ("predict",))


def render(answered: Answered, _: Served) -> Reply:
    """Return the answer's JSON."""
    return Reply(orjson.dumps({"predict": answered.outputs["predict"]}))


def refuse(error: PilotlightError) -> Reply:
    """Return an error as FastAPI does: a list of what is wrong with the body, or one text."""
    if isinstance(error, InvalidBody | InvalidInstances):
        faults = [_fault(detail) for detail in error.details]
        return Reply(
            orjson.dumps({"detail": faults or [{"type": "value_error", "loc": ["body"], "msg": error.text()}]}), 422
        )
    return Reply(orjson.dumps({"detail": error.text()}), error.status)


def metadata(_: Incoming, served: Served) -> Reply:
    """Return what vetiver keeps of a model: its version, the packages that it needs, and the rest under `user`."""
    manifest = served.manifest
    user = {"model": manifest.model, "purpose": manifest.purpose, "owner": manifest.owner}
    answer = {
        "user": user,
        "version": str(manifest.version),
        "url": None,
        "required_pkgs": sorted(set(manifest.libraries) - {"python"}),
        "python_version": list(sys.version_info),
    }
    return Reply(orjson.dumps(answer))


def prototype(_: Incoming, served: Served) -> Reply:
    """Return the JSON schema of a record, each column with a type and an example."""
    from function import schemas  # here alone: predictions are answered without it

    record = schemas.components(served.signature)["Instance"]
    properties = {
        feature.name: {"type": schemas.JSON_TYPES[feature.type], "example": feature.example}
        | record["properties"][feature.name]
        for feature in served.signature.features
    }
    return Reply(orjson.dumps({"title": "prototype", **record, "properties": properties}))


def describe(served: Served) -> "Description":
    """Return what this dialect sends and gets."""
    from function import schemas

    loc = schemas.list_of({"type": ["string", "integer"]})
    faults = schemas.list_of(schemas.object_of({"type": schemas.TEXT, "loc": loc, "msg": schemas.TEXT}))
    return schemas.Description(
        schemas.list_of(schemas.INSTANCE, minItems=1, maxItems=served.max_instances),
        schemas.object_of({"predict": schemas.list_of(schemas.PREDICTION)}),
        schemas.object_of({"detail": schemas.any_of([faults, schemas.TEXT])}),
        [schemas.example(served.signature)],
        reads={
            "metadata": (JSON, _metadata_schema()),
            "prototype": (JSON, {"type": "object", "required": ["title", "type", "properties"]}),
        },
    )


def _metadata_schema() -> "Schema":
    from function import schemas

    version = schemas.list_of({"type": ["integer", "string"]})
    names = {"user": {"type": "object"}, "version": schemas.TEXT, "url": {"type": "null"}}
    return schemas.object_of({**names, "required_pkgs": schemas.list_of(schemas.TEXT), "python_version": version})


def _fault(detail: Detail) -> dict[str, Any]:
    row, *names = detail["at"].split("/")[1:] or [""]
    loc = ["body", *([int(row)] if row else []), *(name.replace("~1", "/").replace("~0", "~") for name in names)]
    kind = "missing" if detail["found"] == "nothing" else "value_error"
    return {"type": kind, "loc": loc, "msg": f"Expected {detail['expected']}, found {detail['found']}."}


def _dated(row: dict[str, Any], offsets: dict[str, str]) -> dict[str, Any]:
    """Return a record with the milliseconds of its dates as text."""
    texts = {name: _as_text(row[name], offset) for name, offset in offsets.items() if type(row.get(name)) is int}
    return {**row, **texts} if texts else row


def _as_text(milliseconds: int, offset: str) -> Any:
    try:
        return (EPOCH + timedelta(milliseconds=milliseconds)).isoformat() + offset
    except OverflowError:
        return milliseconds
