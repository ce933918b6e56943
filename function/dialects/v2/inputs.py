"""Instances from tensors: one a feature, or one matrix."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from function.call import Served
from function.contract import Feature
from function.dialects.json_body import check_count, invalid
from function.dialects.v2.tensors import (
    BYTES,
    DATATYPES,
    TensorFault,
    from_base64,
    from_bytes,
    from_json,
    from_json_texts,
)
from function.errors import InvalidBody
from function.validation import Instances, found

CONTENT_TYPES = (None, "pd", "np", "str", "datetime", "base64", "pd_json")
ENCODINGS = {"base64": from_base64, "pd_json": from_json_texts}
UNOFFERED = ("shared_memory_region", "shared_memory_byte_size", "shared_memory_offset")


class Tensor(NamedTuple):
    """One input: its elements row by row."""

    name: str
    rows: int
    width: int
    elements: list[Any]


def read_instances(inputs: Any, rest: memoryview, served: Served) -> Instances:
    """Return the rows of a request's tensors; raises InvalidBody or TooManyInstances."""
    if not isinstance(inputs, list) or not inputs:
        raise invalid("/inputs", "a list of at least one tensor", "nothing" if inputs is None else found(inputs))
    return _instances(_tensors(inputs, rest, served), served)


def object_at(holder: Mapping[str, Any], key: str, at: str) -> Mapping[str, Any]:
    """Return an object that may be absent; raises InvalidBody for anything else."""
    value = holder.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(at, "an object", found(value))
    return value


def check_offered(parameters: Mapping[str, Any], at: str) -> None:
    """Raise InvalidBody for tensors that are said to lie in shared memory."""
    for name in UNOFFERED:
        if name in parameters:
            raise invalid(f"{at}/parameters/{name}", "data in the body: no memory is shared here", "shared memory")


def _tensors(inputs: list[Any], rest: memoryview, served: Served) -> list[Tensor]:
    """Return the inputs; binary ones take their bytes from the rest of the body, one after the other."""
    tensors = []
    for index, given in enumerate(inputs[: 2 + len(served.signature.features)]):
        at = f"/inputs/{index}"
        if not isinstance(given, dict):
            raise invalid(at, "an object", found(given))
        parameters = object_at(given, "parameters", f"{at}/parameters")
        size = parameters.get("binary_data_size")
        if size is not None and (type(size) is not int or not 0 <= size <= len(rest)):
            text = f"a number of bytes up to the {len(rest)} that are left"
            raise invalid(f"{at}/parameters/binary_data_size", text, found(size))
        tensors.append(_tensor(given, parameters, at, None if size is None else rest[:size], served.max_instances))
        rest = rest if size is None else rest[size:]
    if len(rest):
        raise InvalidBody(f"{len(rest)} bytes are left over behind the binary data of all inputs.")
    return tensors


def _tensor(
    given: Mapping[str, Any], parameters: Mapping[str, Any], at: str, blob: memoryview | None, max_instances: int
) -> Tensor:
    check_offered(parameters, at)
    name, datatype = given.get("name"), given.get("datatype")
    if not isinstance(name, str):
        raise invalid(f"{at}/name", "text", found(name))
    if datatype not in DATATYPES:
        raise invalid(f"{at}/datatype", f"one of {', '.join(DATATYPES)}", found(datatype))
    rows, width = _shape(given.get("shape"), at)
    check_count(rows, max_instances)
    content_type = parameters.get("content_type")
    if content_type not in CONTENT_TYPES:
        known = ", ".join(one for one in CONTENT_TYPES if one)
        raise invalid(f"{at}/parameters/content_type", f"one of {known}", found(content_type))
    if blob is None and "data" not in given:
        raise invalid(f"{at}/data", "a list, or a binary_data_size", "nothing")
    try:
        elements = (
            from_json(given["data"], datatype, rows * width)
            if blob is None
            else from_bytes(blob, datatype, rows * width)
        )
        if datatype == BYTES and content_type in ENCODINGS:
            elements = ENCODINGS[content_type](elements)
    except TensorFault as fault:
        raise invalid(f"{at}/data", fault.expected, fault.found) from None
    return Tensor(name, rows, width, elements)


def _shape(shape: Any, at: str) -> tuple[int, int]:
    """Return how many rows a tensor has, and how many elements each."""
    if not isinstance(shape, list) or not shape or not all(type(one) is int and one >= 0 for one in shape):
        raise invalid(f"{at}/shape", "a list of at least one whole number, the batch first", found(shape))
    rows, *others = shape[:8]
    width = 1
    for other in others:
        width *= other
    if len(shape) > len(others) + 1 or not rows or not width:
        raise invalid(f"{at}/shape", "a shape of at least one element, such as [1] or [1, 1]", f"{shape[:8]}")
    return rows, width


def _instances(tensors: list[Tensor], served: Served) -> Instances:
    """Return the rows of one matrix, or of a tensor a feature."""
    features = served.signature.features
    if len(tensors) == 1 and tensors[0].width == len(features):
        elements, width = tensors[0].elements, tensors[0].width
        return Instances([elements[start : start + width] for start in range(0, len(elements), width)], _row)
    _check_names(tensors, features)
    names = [tensor.name for tensor in tensors]
    return Instances(
        [dict(zip(names, row, strict=True)) for row in zip(*(tensor.elements for tensor in tensors), strict=True)], _row
    )


def _row(index: int) -> str:
    return f"row {index}"


def _check_names(tensors: list[Tensor], features: Sequence[Feature]) -> None:
    """Raise InvalidBody unless there is one tensor for each feature, all of as many rows and one element in each."""
    wanted = {feature.name for feature in features}
    names = [tensor.name for tensor in tensors]
    form = (
        f"a tensor of shape [n] or [n, 1] for each of the {len(wanted)} features, or one of [n, {len(wanted)}] for all"
    )
    if set(names) != wanted or len(names) != len(wanted):
        unknown = [name for name in names if name not in wanted]
        missing = [name for name in wanted if name not in names]
        shown = f"unknown {found(unknown[0])}" if unknown else f"no {found(missing[0])}" if missing else "one twice"
        raise invalid("/inputs", form, shown)
    for index, tensor in enumerate(tensors):
        if tensor.width != 1 or tensor.rows != tensors[0].rows:
            raise invalid(f"/inputs/{index}/shape", form, f"{tensor.rows} rows of {tensor.width}")
