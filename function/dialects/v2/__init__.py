"""Open Inference Protocol v2: tensors in and out, as JSON or in Triton's binary extension.

Protocol: https://github.com/kserve/open-inference-protocol, `specification/protocol/inference_rest.md`. Extensions, of
triton-inference-server/server, `docs/protocol`: binary tensor data, classification, model repository (its index),
model configuration, statistics. Content types are MLServer's: `pd`, `np`, `str`, `datetime`, `base64`, `pd_json`.

Instances come as one tensor a feature, named as it is, of shape [n] or [n, 1]; or as one matrix of shape [n, features]
in the order of the model's inputs, whatever its name. Outputs are `predict`, alone where none are asked for,
`predict_proba`, `decision_function`, `classes` and `prediction_id`; the first dimension of each is the batch.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from function.call import Answered, Call, Incoming, Reply, Served
from function.dialects.json_body import invalid, read_json
from function.dialects.v2.inputs import object_at, read_instances
from function.dialects.v2.metadata import describe
from function.dialects.v2.outputs import Wanted, output_tensor, outputs, read_wanted
from function.errors import InvalidBody, InvalidInstances, PilotlightError
from function.intake import MAX_DIGITS
from function.validation import found

__all__ = ["describe", "parse", "refuse", "render"]

BINARY = "application/octet-stream"
HEAD_LENGTH = "inference-header-content-length"


class Kept(NamedTuple):
    """What an answer repeats of its request."""

    id: str | None
    outputs: list[Wanted]


def parse(incoming: Incoming, served: Served) -> Call:
    """Read a body; raises MalformedJson, InvalidBody or TooManyInstances."""
    head, rest = _split(incoming)
    signature = served.signature
    content = read_json(bytes(head), served.max_instances, 1 + len(signature.features))
    if not isinstance(content, dict):
        raise invalid("", "an object", found(content))
    parameters = object_at(content, "parameters", "/parameters")
    binary = parameters.get("binary_data_output") is True
    wanted = read_wanted(content.get("outputs"), signature, binary=binary)
    instances = read_instances(content.get("inputs"), rest, served)
    made = outputs(signature)
    methods = tuple(dict.fromkeys(method for one in wanted if (method := made[one.name].method)))
    return Call(instances, methods, Kept(_id(content), wanted))


def render(answered: Answered, served: Served) -> Reply:
    """Return the tensors that were asked for, the binary ones behind the JSON."""
    kept: Kept = answered.kept
    manifest = served.manifest
    made = outputs(served.signature)
    heads, blobs = [], []
    for wanted in kept.outputs:
        head, blob = output_tensor(wanted, made[wanted.name], answered)
        heads.append(head)
        blobs.append(blob)
    answer: dict[str, Any] = {"model_name": manifest.model, "model_version": str(manifest.version), "outputs": heads}
    if kept.id is not None:
        answer["id"] = kept.id
    content = orjson.dumps(answer)
    if not any(wanted.binary for wanted in kept.outputs):
        return Reply(content)
    return Reply(b"".join([content, *blobs]), headers={HEAD_LENGTH: str(len(content))}, media_type=BINARY)


def refuse(error: PilotlightError) -> Reply:
    """Return an error: its text, under the protocol's one key."""
    status = 400 if isinstance(error, InvalidInstances) else error.status
    return Reply(orjson.dumps({"error": error.text()}), status)


def _split(incoming: Incoming) -> tuple[bytes | memoryview, memoryview]:
    """Return a body's JSON and the binary data behind it, told apart by a header."""
    body = incoming.body
    length = incoming.headers.get(HEAD_LENGTH.encode())
    if length is None:
        return body, memoryview(b"")
    if not length.isdigit() or len(length) > MAX_DIGITS or int(length) > len(body):
        text = length.decode("latin-1")[:20]
        raise InvalidBody(f"{HEAD_LENGTH} is {text!r}, but the uncompressed body has {len(body)} bytes.")
    view = memoryview(body)
    return view[: int(length)], view[int(length) :]


def _id(content: Mapping[str, Any]) -> str | None:
    given = content.get("id")
    if given is not None and not isinstance(given, str):
        raise invalid("/id", "text", found(given))
    return given or None
