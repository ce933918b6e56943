"""What a request asks of a model, and what the model gave for it, whatever format it came in."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from function.contract import Manifest, Method, Signature
from function.engines import Outputs
from function.validation import Columns, Instances, Marks

if TYPE_CHECKING:
    from function.routes import Route

JSON = "application/json"

Headers = Mapping[bytes, bytes]  # as in an ASGI scope: names in lower case


@dataclass(slots=True)
class Totals:
    """What has been asked of this process since it started; times in milliseconds."""

    answered: int = 0
    failed: int = 0  # refused ones included
    instances: int = 0
    validate_ms: float = 0.0
    predict_ms: float = 0.0
    total_ms: float = 0.0
    failed_ms: float = 0.0
    last_answer: float = 0.0  # seconds since the epoch


class Served(NamedTuple):
    """What a dialect may know of the endpoint that it speaks for."""

    manifest: Manifest
    max_instances: int
    totals: Totals
    read: Callable[[str], bytes]  # a file of the version

    @property
    def signature(self) -> Signature:
        """The names, types, categories and ranges of the model's inputs and outputs."""
        return self.manifest.signature


@dataclass(slots=True)
class Incoming:
    """A request as its dialect sees it: the body uncompressed and, where the path takes JSON, decoded."""

    headers: Headers
    body: bytes
    places: Mapping[str, str]  # what stands in the places of the path: {"model": "churn"}
    routes: "Sequence[Route]"  # of the endpoint, for what describes it
    content: Any = None


class Call(NamedTuple):
    """Instances, the methods of the fitted pipeline that they are for, and what the dialect keeps for its answer."""

    instances: Instances
    methods: tuple[Method, ...]
    kept: Any = None


class Answered(NamedTuple):
    """A call's validated columns, what the engine gave for them, and what was unusual about them."""

    columns: Columns
    outputs: Outputs
    marks: Marks
    rows: int
    request_id: str = ""
    chances: list[Any] | None = None  # `predict_proba` of the outputs by class
    first: int = 0  # position of the first row, where a request is answered in parts
    kept: Any = None

    @property
    def prediction_ids(self) -> list[str]:
        """The rows' prediction ids."""
        return [f"{self.request_id}-{index}" for index in range(self.first, self.first + self.rows)]


class Reply(NamedTuple):
    """An answer's body, and what its head says of it."""

    content: bytes
    status: int = 200
    headers: Mapping[str, str] = {}
    media_type: str = JSON


@functools.lru_cache(maxsize=1)
def usual_methods(signature: Signature) -> tuple[Method, ...]:
    """Return what is computed where a caller does not choose: predict, and predict_proba where the model has it."""
    return tuple(method for method in ("predict", "predict_proba") if method in signature.methods)


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
