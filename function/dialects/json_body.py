"""JSON bodies: decoded within bounds, and what is wrong with one that is no known form."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
from pydantic_core import from_json

from function.call import Answered
from function.contract import Method, Signature
from function.errors import Detail, InvalidBody, MalformedJson, TooManyInstances
from function.routes import is_wrapper
from function.validation import FOUND_LENGTH, Instances, escape, found

# The words of the JSON dialects for outputs, and the methods of a fitted pipeline that they stand for.
OUTPUTS: dict[str, Method] = {
    "predictions": "predict",
    "probabilities": "predict_proba",
    "decision_function": "decision_function",
}
FORM_FAULT = "The body does not have a form that is read here."
# Up to a bracket that stands outside of text; a text that is never closed goes on to the end.
TO_BRACKET = re.compile(rb'(?:[^"\[{]++|"(?:[^"\\]++|\\.)*+(?:"|\Z))*+[\[{]', re.DOTALL)
SPARE_BRACKETS = 1_000  # wrappers, and faults that are worth a detail


def read_json(body: bytes, max_instances: int, lists_per_instance: int = 1) -> Any:
    """Return a body's value; raises MalformedJson, or TooManyInstances for what only costs memory."""
    _check_size(body, max_instances, lists_per_instance)
    if not body.strip():
        raise MalformedJson("The body is empty; expected JSON.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _read_leniently(body, error)


def as_rows(rows: Any, at: str, most: int, noun: str = "instances") -> Instances:
    """Return a list of instances; raises InvalidBody or TooManyInstances. `at` is the pointer to the list."""
    if not isinstance(rows, list):
        raise invalid(at, "a list", found(rows))
    if not rows:
        raise invalid(at, f"a list of {noun}", "an empty list", "There is nothing to read.")
    check_count(len(rows), most, noun)
    return Instances(rows, pointer(at))


def available_outputs(signature: Signature) -> list[str]:
    """Return the words that `parameters.outputs` takes for this model."""
    return [word for word, method in OUTPUTS.items() if method in signature.methods]


def output(word: str, answered: Answered) -> Any:
    """Return what a word of the JSON dialects stands for, an entry an instance."""
    return answered.chances if word == "probabilities" else answered.outputs[OUTPUTS[word]]


def find_wrapper(content: Any, wrappers: Iterable[str], forms: str, names: frozenset[str]) -> str:
    """Return the name that wraps instances in an object; raises InvalidBody where there is none of them."""
    if isinstance(content, dict):
        for wrapper in wrappers:
            if is_wrapper(content, wrapper, names):
                return wrapper
    raise invalid("", forms, found(content))


def check_beside(content: Mapping[str, Any], wrapper: str, allowed: Sequence[str]) -> None:
    """Raise InvalidBody for names beside a wrapper that have no place there."""
    if extra := [name for name in content if name != wrapper and name not in allowed]:
        text = " and ".join(f'"{name}"' for name in allowed)
        raise unknown_names(extra, f'only {text} beside "{wrapper}"')


def check_count(count: int, most: int, noun: str = "instances") -> None:
    """Raise TooManyInstances for more than one request may have."""
    if count > most:
        raise TooManyInstances(f"{count} {noun} were sent; one request takes at most {most}.")


def pointer(at: str) -> Callable[[int], str]:
    """Return the function that gives the JSON pointer to each entry of a list."""
    return lambda index: f"{at}/{index}"


def invalid(at: str, expected: str, what: str, message: str = FORM_FAULT) -> InvalidBody:
    """Return the error of one fault in a body's form."""
    return InvalidBody(message, [Detail(at=at, expected=expected, found=what)])


def unknown_names(names: list[str], expected: str, at: str = "") -> InvalidBody:
    """Return the error of names that have no place in an object; the first one is pointed to."""
    first = escape(names[0][:FOUND_LENGTH])
    shown = ", ".join(found(name) for name in names[:3])
    return invalid(f"{at}/{first}", expected, shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more")


def _check_size(body: bytes, max_instances: int, lists_per_instance: int) -> None:
    """Refuse what holds far more lists and objects than instances are taken, before they cost memory."""
    most = max_instances * lists_per_instance + SPARE_BRACKETS
    if body.count(b"{") + body.count(b"[") <= most:
        return
    if holds_more(TO_BRACKET, body, most):
        text = f"The body holds more than {most} objects and lists"
        raise TooManyInstances(f"{text}; one request takes at most {max_instances} instances.")


def holds_more(pattern: re.Pattern[bytes], body: bytes, most: int) -> bool:
    """Tell whether a pattern follows on itself more than so often; what is left behind it is looked at once."""
    at = 0
    for _ in range(most + 1):
        match = pattern.match(body, at)
        if match is None:
            return False
        at = match.end()
    return True


def _read_leniently(body: bytes, error: orjson.JSONDecodeError) -> Any:
    """Read NaN, Infinity and numbers beyond a float too, so that the fault names the field that holds them."""
    try:
        body.decode()
    except UnicodeDecodeError as fault:
        raise MalformedJson(f"The body is not UTF-8, at byte {fault.start}.") from None
    try:
        return from_json(body, allow_inf_nan=True, cache_strings=False)
    except ValueError:
        raise MalformedJson(f"The body is not JSON: {error}.") from None
