"""What every format of tables shares: names of columns, the answer's columns, and which answer was asked for."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from function.call import JSON, Answered, Headers
from function.contract import Output, Signature
from function.errors import Detail, InvalidBody
from function.routes import media_types
from function.validation import MAX_DETAILS, found

NAMES_SHOWN = 3


class Column(NamedTuple):
    """A column of an answer: its name, a value a row, and the target whose labels it holds, if it does."""

    name: str
    values: list[Any]
    labels: Output | None = None


def wants_json(headers: Headers, media_type: str) -> bool:
    """Tell whether the answer is JSON: Accept names it, and neither `media_type` nor `*/*` before it.

    Qualities are not weighed: the first of the three that is named counts.
    """
    known = (media for media in media_types(headers, b"accept") if media in (JSON, media_type, "*/*"))
    return next(known, media_type) == JSON


def check_names(names: Sequence[str], signature: Signature, at: str, advice: str = "") -> None:
    """Raise InvalidBody unless these are the features' names, each once, in any order."""
    counts = Counter(names)
    faults = {
        "unknown": [name for name in counts if name not in signature.names],
        "missing": [feature.name for feature in signature.features if feature.name not in counts],
        "given more than once": [name for name, count in counts.items() if count > 1 and name in signature.names],
    }
    if not any(faults.values()):
        return
    text = "; ".join(f"{fault}: {_listed(wrong)}" for fault, wrong in faults.items() if wrong)
    message = f"The columns are not the model's features. {text[:1].upper()}{text[1:]}.{advice}"
    details = [
        *(Detail(at=at, expected=_some_feature(signature), found=found(name)) for name in faults["unknown"]),
        *(Detail(at=at, expected=found(name), found="nothing") for name in faults["missing"]),
        *(Detail(at=at, expected=f"{found(name)} once", found="it again") for name in faults["given more than once"]),
    ]
    raise InvalidBody(message, details[:MAX_DETAILS])


def columns(answered: Answered, signature: Signature) -> list[Column]:
    """Return the answer's columns: `prediction`, `probability_<class>` and `prediction_id`.

    With several targets `prediction_<target>` and `probability_<target>_<class>`, in the order of the targets.
    """
    targets = range(len(signature.outputs))
    given = [
        *_predictions(answered.outputs["predict"], signature.outputs),
        *(column for target in targets for column in _probabilities(answered.chances, signature.outputs, target)),
    ]
    return [*given, Column("prediction_id", answered.prediction_ids)]


def finite(values: Iterable[Any]) -> list[Any]:
    """Return values with None for what is no finite number."""
    return [None if isinstance(value, float) and not math.isfinite(value) else value for value in values]


def _predictions(rows: list[Any], outputs: Sequence[Output]) -> list[Column]:
    if len(outputs) == 1:
        return [Column("prediction", finite(rows), outputs[0])]
    by_target = zip(*rows, strict=True)
    return [
        Column(f"prediction_{output.name}", finite(values), output)
        for output, values in zip(outputs, by_target, strict=True)
    ]


def _probabilities(chances: list[Any] | None, outputs: Sequence[Output], target: int) -> list[Column]:
    if chances is None:
        return []
    alone = len(outputs) == 1
    rows = chances if alone else [row[target] for row in chances]
    start = "probability" if alone else f"probability_{outputs[target].name}"
    return [Column(f"{start}_{key}", finite([row[key] for row in rows])) for key in outputs[target].keys]


def _listed(names: list[str]) -> str:
    shown = ", ".join(found(name) for name in names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return shown + (f" and {more} more" if more > 0 else "")


def _some_feature(signature: Signature) -> str:
    return f"one of the model's {len(signature.features)} features (see GET /model)"
