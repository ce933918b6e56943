"""What a model gives as tensors: which outputs there are, which of them a request wants, and their elements."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from function.call import Answered, each_class
from function.contract import Label, Method, Signature
from function.dialects.json_body import invalid
from function.dialects.v2.inputs import check_offered, object_at
from function.dialects.v2.tensors import BYTES, to_bytes
from function.validation import found


class Wanted(NamedTuple):
    """An output that a request asks for."""

    name: str
    binary: bool
    classes: int = 0  # of the classification extension: how many of the best


class Made(NamedTuple):
    """An output that a model has: its datatype, the dimensions behind the batch, its method, a row's elements."""

    datatype: str
    dimensions: list[int]
    method: Method | None
    elements: Callable[[Answered], list[Any]]
    labels: tuple[Label, ...] = ()  # of the elements, where each stands for a class


@functools.lru_cache(maxsize=1)
def outputs(signature: Signature) -> dict[str, Made]:
    """Return every output that a model has, by name; of several targets, classes have one each."""
    made = _predictions(signature)
    several = len(signature.outputs) > 1
    for index, output in enumerate(signature.outputs):
        if output.classes is None:
            continue
        suffix = f"_{output.name}" if several else ""
        labels = output.classes
        if "predict_proba" in signature.methods:
            of_target = _chances_of(index) if several else _flat_rows("predict_proba")
            made[f"predict_proba{suffix}"] = Made("FP64", [len(labels)], "predict_proba", of_target, labels)
        made[f"classes{suffix}"] = Made(_datatype(labels), [len(labels)], None, _repeated(labels), labels)
    if "decision_function" in signature.methods:
        width = len(signature.magnitudes["decision_function"])
        labels = signature.outputs[0].classes or ()
        made["decision_function"] = Made(
            "FP64",
            [] if width == 1 else [width],
            "decision_function",
            _flat_rows("decision_function"),
            labels if len(labels) == width else (),
        )
    made["prediction_id"] = Made(BYTES, [], None, lambda answered: answered.prediction_ids)
    return made


def _predictions(signature: Signature) -> dict[str, Made]:
    """Return `predict`; of targets whose labels have different types, one output each."""
    datatypes = [_datatype(output.classes) for output in signature.outputs]
    if len(datatypes) == 1:
        return {"predict": Made(datatypes[0], [], "predict", lambda answered: answered.outputs["predict"])}
    if len(set(datatypes)) == 1:
        return {"predict": Made(datatypes[0], [len(datatypes)], "predict", _flat_rows("predict"))}
    return {
        f"predict_{output.name}": Made(datatype, [], "predict", _label_of(index))
        for index, (output, datatype) in enumerate(zip(signature.outputs, datatypes, strict=True))
    }


def _datatype(labels: Sequence[Label] | None) -> str:
    kinds = {type(label) for label in labels or (0.0,)}
    return {frozenset({bool}): "BOOL", frozenset({int}): "INT64", frozenset({str}): BYTES}.get(frozenset(kinds), "FP64")


def _flat_rows(method: Method) -> Callable[[Answered], list[Any]]:
    def elements(answered: Answered) -> list[Any]:
        rows = answered.outputs[method]
        return [one for row in rows for one in row] if rows and isinstance(rows[0], list) else rows

    return elements


def _label_of(target: int) -> Callable[[Answered], list[Any]]:
    return lambda answered: [row[target] for row in answered.outputs["predict"]]


def _chances_of(target: int) -> Callable[[Answered], list[Any]]:
    return lambda answered: [one for row in answered.outputs["predict_proba"] for one in each_class(row[target])]


def _repeated(labels: Sequence[Label]) -> Callable[[Answered], list[Any]]:
    return lambda answered: list(labels) * answered.rows


def output_tensor(wanted: Wanted, made: Made, answered: Answered) -> tuple[dict[str, Any], bytes]:
    """Return one output's JSON, and its bytes where they are asked for."""
    elements, datatype, dimensions = made.elements(answered), made.datatype, made.dimensions
    if wanted.classes:
        elements, datatype = _best(elements, made.labels, wanted.classes), BYTES
        dimensions = [min(wanted.classes, len(made.labels))]
    head: dict[str, Any] = {"name": wanted.name, "datatype": datatype, "shape": [answered.rows, *dimensions]}
    if not wanted.binary:
        head["data"] = elements
        return head, b""
    blob = to_bytes(elements, datatype)
    head["parameters"] = {"binary_data_size": len(blob)}
    return head, blob


def _best(elements: list[Any], labels: Sequence[Label], count: int) -> list[str]:
    """Return of each row its best classes, as the classification extension spells them: value, index, label."""
    width = len(labels)
    texts = []
    for start in range(0, len(elements), width):
        row = elements[start : start + width]
        best = sorted(range(width), key=lambda index: -row[index])[:count]
        texts += [f"{row[index]!r}:{index}:{labels[index]}" for index in best]
    return texts


def read_wanted(asked: Any, signature: Signature, *, binary: bool) -> list[Wanted]:
    """Return the outputs that a request asks for, in its order; without any, the predictions."""
    available = outputs(signature)
    if asked is None or asked == []:
        return [Wanted(name, binary) for name, made in available.items() if made.method == "predict"]
    if not isinstance(asked, list):
        raise invalid("/outputs", "a list", found(asked))
    wanted = [_one_wanted(one, f"/outputs/{index}", available, binary=binary) for index, one in enumerate(asked)]
    names = [one.name for one in wanted]
    for index, name in enumerate(names):
        if name in names[:index]:  # clients read outputs by their names
            raise invalid(f"/outputs/{index}/name", "each output once", f"{found(name)} again")
    return wanted


def _one_wanted(asked: Any, at: str, available: Mapping[str, Made], *, binary: bool) -> Wanted:
    name = asked.get("name") if isinstance(asked, dict) else None
    if not isinstance(name, str) or name not in available:
        raise invalid(f"{at}/name", f"one of {', '.join(available)}", found(name if name is not None else asked))
    parameters = object_at(asked, "parameters", f"{at}/parameters")
    check_offered(parameters, at)
    classes = parameters.get("classification", 0)
    if type(classes) is not int or classes < 0 or (classes and not available[name].labels):
        possible = [known for known, made in available.items() if made.labels and made.method]
        text = f"a positive number of classes, of {' or '.join(possible) or 'no output'}"
        raise invalid(f"{at}/parameters/classification", text, f"{found(classes)} of {name}")
    return Wanted(name, parameters.get("binary_data", binary) is True, classes)
