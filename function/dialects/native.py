"""The native format: instances, features or one bare object in; predictions, probabilities and their ids out."""

from collections.abc import Callable
from typing import Any

import orjson
from pydantic_core import from_json

from function.call import Answered, Call, probabilities
from function.contract import Manifest, Method, Signature
from function.errors import Detail, InvalidBody, MalformedJson, TooManyInstances
from function.validation import Instances, found

# The words of the native format, and the methods of a fitted pipeline that they stand for.
OUTPUTS: dict[str, Method] = {
    "predictions": "predict",
    "probabilities": "predict_proba",
    "decision_function": "decision_function",
}
DEFAULT_METHODS: tuple[Method, ...] = ("predict", "predict_proba")
FORMS = '{"instances": [...]}, {"features": {...}}, {"features": [...]} or one bare object of features'


def parse(body: bytes, signature: Signature, max_instances: int) -> Call:
    """Read a body; raises MalformedJson, InvalidBody or TooManyInstances.

    A model may have a feature called `instances` or `features`: features hold no lists and no objects, so a list or an
    object under such a name is the wrapper, and anything else is the feature.
    """
    content = _decode(body)
    if not isinstance(content, dict):
        raise _invalid("", FORMS, found(content))
    names = {feature.name for feature in signature.features}
    if _is_wrapper(content, "instances", list, names):
        _only(content, "instances")
        rows = content["instances"]
        _check_count(rows, max_instances)
        return Call(Instances(rows, _instance_pointer), _methods(content, signature))
    if _is_wrapper(content, "features", list | dict, names):
        _only(content, "features")
        return Call(_single(content["features"], "/features"), _methods(content, signature))
    return Call(_single(content, ""), _methods({}, signature))


def render(answered: Answered, manifest: Manifest, request_id: str) -> bytes:
    """Return the answer's JSON."""
    outputs = answered.outputs
    answer: dict[str, Any] = {"model": manifest.model, "version": manifest.version}
    if "predict" in outputs:
        answer["predictions"] = outputs["predict"]
    if "predict_proba" in outputs:
        answer["probabilities"] = probabilities(outputs["predict_proba"], manifest.signature)
    if "decision_function" in outputs:
        answer["decision_function"] = outputs["decision_function"]
    answer["prediction_ids"] = [f"{request_id}-{index}" for index in range(answered.rows)]
    if answered.marks.total:
        answer["marks"] = answered.marks.details
        answer["marks_total"] = answered.marks.total
    return orjson.dumps(answer)


def available_outputs(signature: Signature) -> list[str]:
    """Return the words that `parameters.outputs` takes for this model."""
    return [word for word, method in OUTPUTS.items() if method in signature.methods]


def _decode(body: bytes) -> Any:
    if not body.strip():
        raise MalformedJson(f"The body is empty; expected {FORMS}.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _decode_leniently(body, error)


def _decode_leniently(body: bytes, error: orjson.JSONDecodeError) -> Any:
    """Read NaN, Infinity and numbers beyond a float too, so that the fault names the field that holds them."""
    try:
        return from_json(body, allow_inf_nan=True, cache_strings=False)
    except ValueError:
        raise MalformedJson(f"The body is not JSON: {error}.") from None


def _is_wrapper(content: dict[str, Any], key: str, kind: Any, names: set[str]) -> bool:
    return key in content and (key not in names or isinstance(content[key], kind))


def _only(content: dict[str, Any], key: str) -> None:
    extra = [name for name in content if name not in (key, "parameters")]
    if extra:
        raise _invalid(f"/{extra[0][:64]}", f'only "parameters" beside "{key}"', f"{len(extra)} more")
    if not isinstance(content[key], list | dict):
        raise _invalid(f"/{key}", "a list" if key == "instances" else "an object or a list", found(content[key]))


def _check_count(rows: Any, max_instances: int) -> None:
    if not isinstance(rows, list):
        raise _invalid("/instances", "a list", found(rows))
    if not rows:
        raise _invalid("/instances", "at least one instance", "an empty list")
    if len(rows) > max_instances:
        raise TooManyInstances(f"{len(rows)} instances were sent; one request takes at most {max_instances}.")


def _methods(content: dict[str, Any], signature: Signature) -> tuple[Method, ...]:
    """Return the methods that `parameters.outputs` asks for, or predict and, where the model has it, predict_proba."""
    parameters = content.get("parameters")
    if parameters is None:
        return tuple(method for method in DEFAULT_METHODS if method in signature.methods)
    if not isinstance(parameters, dict) or set(parameters) - {"outputs"}:
        raise _invalid("/parameters", 'an object that holds "outputs" alone', found(parameters))
    words = parameters.get("outputs")
    available = available_outputs(signature)
    if not isinstance(words, list) or not words or not all(word in available for word in words):
        text = f"a list of at least one of {', '.join(available)}"
        raise _invalid("/parameters/outputs", text, str(found(words)) if not isinstance(words, list) else _first(words))
    return tuple(OUTPUTS[word] for word in dict.fromkeys(words))


def _first(words: list[Any]) -> str:
    return f"a list that starts with {found(words[0])}" if words else "an empty list"


def _single(instance: Any, where: str) -> Instances:
    return Instances([instance], _constantly(where))


def _constantly(where: str) -> Callable[[int], str]:
    return lambda _: where


def _instance_pointer(index: int) -> str:
    return f"/instances/{index}"


def _invalid(at: str, expected: str, what: str) -> InvalidBody:
    return InvalidBody(
        "The body has none of the forms that are read here.", [Detail(at=at, expected=expected, found=what)]
    )
