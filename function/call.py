"""What a request asks of a model, and what the model gave for it, whatever format it came in."""

from typing import Any, NamedTuple

from function.contract import Method, Signature
from function.engines import Outputs
from function.validation import Columns, Instances, Marks


class Call(NamedTuple):
    """Instances, and the methods of the fitted pipeline that they are for."""

    instances: Instances
    methods: tuple[Method, ...]


class Answered(NamedTuple):
    """A call's validated columns, what the engine gave for them, and what was unusual about them."""

    columns: Columns
    outputs: Outputs
    marks: Marks
    rows: int
    chances: list[Any] | None = None  # `predict_proba` of the outputs by class


def chances(outputs: Outputs, signature: Signature) -> list[Any] | None:
    """Return each row's probabilities by class; with several targets, a list of those in the order of the targets."""
    rows = outputs.get("predict_proba")
    if rows is None:
        return None
    keys = [output.keys for output in signature.outputs]
    if len(keys) == 1:
        return [dict(zip(keys[0], row, strict=True)) for row in rows]
    return [
        [dict(zip(key, each_class(values), strict=True)) for key, values in zip(keys, row, strict=True)] for row in rows
    ]


def each_class(chances: Any) -> list[float]:
    """Return the probabilities of a target's classes; a chain of classifiers gives the second one's alone."""
    return [1.0 - chances, chances] if isinstance(chances, float) else chances
