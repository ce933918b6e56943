"""What a request asks of a model, and what the model gave for it, whatever format it came in."""

from typing import Any, NamedTuple

import orjson

from function.contract import Label, Method, Signature
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


def probabilities(rows: list[Any], signature: Signature) -> list[Any]:
    """Return each row's probabilities by class; with several targets, a list of those in the order of the targets."""
    keys = [[label_key(label) for label in output.classes or ()] for output in signature.outputs]
    if len(keys) == 1:
        return [dict(zip(keys[0], row, strict=True)) for row in rows]
    return [
        [dict(zip(key, each_class(values), strict=True)) for key, values in zip(keys, row, strict=True)] for row in rows
    ]


def each_class(chances: Any) -> list[float]:
    """Return the probabilities of a target's classes; a chain of classifiers gives the second one's alone."""
    return [1.0 - chances, chances] if isinstance(chances, float) else chances


def label_key(label: Label) -> str:
    """Return a class label as a JSON key: text as it is, anything else as JSON spells it."""
    return label if isinstance(label, str) else orjson.dumps(label).decode()
