"""Instances from tensors: one a feature, or one matrix."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from function.call import Served
from function.contract import Signature
from function.dialects.json_body import check_count, invalid, pointer
from function.dialects.layouts import check_faults
from function.dialects.v2.tensors import (
    BYTES,
    DATATYPES,
    TensorFault,
    from_base64,
    from_bytes,
    from_json,
    from_json_texts,
)
from function.errors import Detail, InvalidBody
from function.validation import Instances, escape, found

CONTENT_TYPES = (None, "pd", "np", "str", "datetime", "base64", "pd_json")
ENCODINGS = {"base64": from_base64, "pd_json": from_json_texts}
MAX_DIMENSIONS = 8
MAX_DIMENSION = 2**31
UNOFFERED = frozenset({"shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"})


class Tensor(NamedTuple):
    """One input: its elements row by row."""

    name: str
    rows: int
    width: int
    elements: list[Any]


class Blob:
    """The binary data behind the JSON: each input takes its part, one after the other."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._taken = 0

    @property
    def left(self) -> int:
        """The bytes that nobody has taken."""
        return len(self._content) - self._taken

    def take(self, size: Any) -> memoryview:
        """Return the next bytes; raises TensorFault for more than there are."""
        if type(size) is not int or not 0 <= size <= self.left:
            text = f"a number of bytes up to the {self.left} that are left"
            raise TensorFault("/parameters/binary_data_size", text, found(size))
        self._taken += size
        return self._content[self._taken - size : self._taken]


def read_instances(inputs: Any, rest: memoryview, served: Served) -> Instances:
    """Return the rows of a request's tensors; raises InvalidBody or TooManyInstances."""
    if not isinstance(inputs, list) or not inputs:
        raise invalid("/inputs", "a list of at least one tensor", "nothing" if inputs is None else found(inputs))
    features = served.signature.features
    blob = Blob(rest)
    tensors = []
    faults: list[Detail] = []
    for index, given in enumerate(inputs[: 2 + len(features)]):
        try:
            tensors.append(_tensor(given, blob, served))
        except TensorFault as fault:
            faults.append(Detail(at=f"/inputs/{index}{fault.at}", expected=fault.expected, found=fault.found))
            if rest:  # whose bytes the next input has, is not known any more
                break
    check_faults(faults)
    if blob.left:
        raise InvalidBody(f"{blob.left} bytes are left over behind the binary data of all inputs.")
    if len(tensors) == 1 and tensors[0].width == len(features):
        return _of_matrix(tensors[0])
    _check_columns(tensors, served)
    return _of_columns(tensors)


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
    if not UNOFFERED.isdisjoint(parameters):
        raise invalid(f"{at}/parameters", "data in the body: no memory is shared here", "shared memory")


def _tensor(given: Any, blob: Blob, served: Served) -> Tensor:
    """Return an input; a request has one for each feature, so that what most of them lack is looked at in one step."""
    if type(given) is not dict:
        raise TensorFault("", "an object", found(given))
    name, datatype = given.get("name"), given.get("datatype")
    if type(name) is not str:
        raise TensorFault("/name", "text", found(name))
    if datatype not in DATATYPES:
        raise TensorFault("/datatype", f"one of {', '.join(DATATYPES)}", found(datatype))
    shape: Any = given.get("shape")
    rows, width = _size(shape, len(served.signature.features))
    check_count(rows, served.max_instances)
    parameters = given.get("parameters")
    if parameters:
        return Tensor(name, rows, width, _as_said(parameters, given, datatype, shape, blob))
    if "data" not in given:
        raise TensorFault("/data", "a list, or a binary_data_size", "nothing")
    return Tensor(name, rows, width, from_json(given["data"], datatype, shape))


def _as_said(parameters: Any, given: Mapping[str, Any], datatype: str, shape: list[int], blob: Blob) -> list[Any]:
    """Return the elements of an input whose parameters say where they are or how they are meant."""
    if not isinstance(parameters, dict):
        raise TensorFault("/parameters", "an object", found(parameters))
    if not UNOFFERED.isdisjoint(parameters):
        raise TensorFault("/parameters", "data in the body: no memory is shared here", "shared memory")
    content_type = parameters.get("content_type")
    if content_type not in CONTENT_TYPES:
        known = ", ".join(one for one in CONTENT_TYPES if one)
        raise TensorFault("/parameters/content_type", f"one of {known}", found(content_type))
    if "binary_data_size" in parameters:
        if "data" in given:
            raise TensorFault("/data", "nothing beside a binary_data_size", "data")
        elements = from_bytes(blob.take(parameters["binary_data_size"]), datatype, math.prod(shape))
    elif "data" in given:
        elements = from_json(given["data"], datatype, shape)
    else:
        raise TensorFault("/data", "a list, or a binary_data_size", "nothing")
    return ENCODINGS[content_type](elements) if datatype == BYTES and content_type in ENCODINGS else elements


def _size(shape: Any, features: int) -> tuple[int, int]:
    """Return how many rows a tensor has, and how many elements each: one, or one a feature."""
    if type(shape) is not list or not 0 < len(shape) <= MAX_DIMENSIONS:
        text = f"a list of one to {MAX_DIMENSIONS} whole numbers, the batch first"
        raise TensorFault("/shape", text, found(shape))
    size = 1
    for one in shape:
        if type(one) is not int or not 1 <= one <= MAX_DIMENSION:
            raise TensorFault("/shape", "whole numbers of at least one, such as [1] or [1, 1]", found(one))
        size *= one
    width = size // shape[0]
    if width not in (1, features):
        raise TensorFault("/shape", f"[n] or [n, 1] for one of the features, or [n, {features}] for all", f"{shape}")
    return shape[0], width


def _of_matrix(matrix: Tensor) -> Instances:
    elements, width = matrix.elements, matrix.width
    rows = [elements[start : start + width] for start in range(0, len(elements), width)]

    def value_at(row: int, position: str) -> str:
        return f"/inputs/0/data/{row * width + int(position)}"

    return Instances(rows, pointer("/inputs/0/data"), value_at)


def _of_columns(tensors: list[Tensor]) -> Instances:
    names = [tensor.name for tensor in tensors]
    rows = [dict(zip(names, row, strict=True)) for row in zip(*(tensor.elements for tensor in tensors), strict=True)]

    def value_at(row: int, name: str) -> str:
        places = {escape(known): index for index, known in enumerate(names)}
        return f"/inputs/{places[name]}/data/{row}"

    return Instances(rows, lambda _: "/inputs", value_at)


def _check_columns(tensors: list[Tensor], served: Served) -> None:
    """Raise InvalidBody unless there is one tensor for each feature, all of as many rows and one element in each."""
    wanted = served.signature.names
    names = [tensor.name for tensor in tensors]
    rows = tensors[0].rows
    if wanted != set(names) or len(names) != len(wanted) or any(one.width != 1 or one.rows != rows for one in tensors):
        check_faults(_column_faults(tensors, served.signature))


def _column_faults(tensors: list[Tensor], signature: Signature) -> Iterator[Detail]:
    count = len(signature.features)
    form = f"a tensor of shape [n] or [n, 1] for each of the {count} features, or one of [n, {count}] for all"
    names = [tensor.name for tensor in tensors]
    rows = tensors[0].rows
    for index, tensor in enumerate(tensors):
        if tensor.name not in signature.names:
            yield Detail(at=f"/inputs/{index}/name", expected=form, found=f"the unknown name {found(tensor.name)}")
        elif tensor.name in names[:index]:
            yield Detail(at=f"/inputs/{index}/name", expected=form, found=f"{found(tensor.name)} again")
        elif tensor.width != 1 or tensor.rows != rows:
            yield Detail(at=f"/inputs/{index}/shape", expected=form, found=f"{tensor.rows} rows of {tensor.width}")
    for feature in signature.features:
        if feature.name not in names:
            yield Detail(at="/inputs", expected=f"a tensor {found(feature.name)}", found="none of that name")
