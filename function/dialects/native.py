"""The native format: instances, features or one bare object in; predictions, probabilities and their ids out."""

import re
from collections.abc import Callable
from typing import Any

import orjson
from pydantic_core import from_json

from function.call import Answered, Call
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
FORM_FAULT = "The body has none of the forms that are read here."
PARAMETERS_FAULT = "The parameters ask for what this model does not give."
TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
SPARE_BRACKETS = 1_000  # wrappers, and faults that are worth a detail
FORMS = '{"instances": [...]}, {"features": {...}}, {"features": [...]} or one bare object of features'


def parse(body: bytes, signature: Signature, max_instances: int) -> Call:
    """Read a body; raises MalformedJson, InvalidBody or TooManyInstances.

    A model may have a feature called `instances` or `features`: features hold no lists and no objects, so a list or an
    object under such a name is the wrapper, and anything else is the feature.
    """
    _check_size(body, max_instances)
    content = _decode(body)
    if not isinstance(content, dict):
        raise _invalid("", FORMS, found(content))
    names = signature.names
    if _is_wrapper(content, "instances", list, names):
        _only(content, "instances")
        rows = content["instances"]
        _check_count(rows, max_instances)
        return Call(Instances(rows, _instance_pointer), _methods(content, signature))
    if _is_wrapper(content, "features", (list, dict), names):
        _only(content, "features")
        return Call(_single(content["features"], "/features"), _methods(content, signature))
    return Call(_single(content, ""), _methods({}, signature))


def render(answered: Answered, manifest: Manifest, request_id: str) -> bytes:
    """Return the answer's JSON."""
    outputs = answered.outputs
    answer: dict[str, Any] = {"model": manifest.model, "version": manifest.version}
    if "predict" in outputs:
        answer["predictions"] = outputs["predict"]
    if answered.chances is not None:
        answer["probabilities"] = answered.chances
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


def _check_size(body: bytes, max_instances: int) -> None:
    """Refuse what holds far more lists and objects than instances are taken, before they cost memory."""
    most = max_instances + SPARE_BRACKETS
    if body.count(b"{") + body.count(b"[") <= most:
        return
    outside_text = TEXT.sub(b"", body)
    brackets = outside_text.count(b"{") + outside_text.count(b"[")
    if brackets > most:
        text = f"The body holds {brackets} objects and lists"
        raise TooManyInstances(f"{text}; one request takes at most {max_instances} instances, each one of them.")


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


def _is_wrapper(content: dict[str, Any], key: str, kind: Any, names: frozenset[str]) -> bool:
    return key in content and (key not in names or isinstance(content[key], kind))


def _only(content: dict[str, Any], key: str) -> None:
    extra = [name for name in content if name not in (key, "parameters")]
    if extra:
        name = extra[0][:64].replace("~", "~0").replace("/", "~1")
        raise _invalid(f"/{name}", f'only "parameters" beside "{key}"', _names(extra))
    if not isinstance(content[key], (list, dict)):  # a union would be made anew at each request
        raise _invalid(f"/{key}", "a list" if key == "instances" else "an object or a list", found(content[key]))


def _check_count(rows: Any, max_instances: int) -> None:
    if not isinstance(rows, list):
        raise _invalid("/instances", "a list", found(rows))
    if not rows:
        raise _invalid("/instances", "at least one instance", "an empty list", "There is nothing to predict.")
    if len(rows) > max_instances:
        raise TooManyInstances(f"{len(rows)} instances were sent; one request takes at most {max_instances}.")


def _methods(content: dict[str, Any], signature: Signature) -> tuple[Method, ...]:
    """Return the methods that `parameters.outputs` asks for, or predict and, where the model has it, predict_proba."""
    parameters = content.get("parameters")
    usual = tuple(method for method in DEFAULT_METHODS if method in signature.methods)
    if parameters is None:
        return usual
    if not isinstance(parameters, dict) or set(parameters) - {"outputs"}:
        raise _invalid("/parameters", 'an object that holds "outputs" alone', found(parameters), PARAMETERS_FAULT)
    words = parameters.get("outputs", [word for word, method in OUTPUTS.items() if method in usual])
    available = available_outputs(signature)
    if not isinstance(words, list) or not words or not all(word in available for word in words):
        text = f"a list of at least one of {', '.join(available)}"
        what = _first(words, available) if isinstance(words, list) else found(words)
        raise _invalid("/parameters/outputs", text, what, PARAMETERS_FAULT)
    return tuple(OUTPUTS[word] for word in dict.fromkeys(words))


def _names(names: list[str]) -> str:
    shown = ", ".join(found(name) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _first(words: list[Any], available: list[str]) -> str:
    wrong = [word for word in words if word not in available]
    return f"a list that holds {found(wrong[0])}" if wrong else "an empty list"


def _single(instance: Any, where: str) -> Instances:
    return Instances([instance], _constantly(where))


def _constantly(where: str) -> Callable[[int], str]:
    return lambda _: where


def _instance_pointer(index: int) -> str:
    return f"/instances/{index}"


def _invalid(at: str, expected: str, what: str, message: str = FORM_FAULT) -> InvalidBody:
    return InvalidBody(message, [Detail(at=at, expected=expected, found=what)])
