"""Tensors of the Open Inference Protocol, as JSON and as bytes, to lists of Python values and back.

Protocol: https://github.com/kserve/open-inference-protocol, `specification/protocol/inference_rest.md`. Bytes: Triton's
binary tensor data extension, `docs/protocol/extension_binary_data.md` of triton-inference-server/server: elements are
little-endian in row-major order; one of BYTES is its length in four bytes, then so many bytes.
"""

import base64
import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from function.validation import found

BYTES = "BYTES"
BF16 = "BF16"  # the upper half of a float32, which NumPy has no type for
DTYPES = {
    "BOOL": np.dtype("?"),
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    BF16: np.dtype("<u2"),
}
DATATYPES = (*DTYPES, BYTES)
_FLOATS = ("FP16", "FP32", "FP64", BF16)
_LENGTH = struct.Struct("<I")


class TensorFault(Exception):
    """What a tensor was expected to hold, and what was found."""

    def __init__(self, expected: str, what: str) -> None:
        super().__init__(expected, what)
        self.expected = expected
        self.found = what


def from_json(data: Any, datatype: str, count: int) -> list[Any]:
    """Return the elements of nested or flat lists in row-major order, None for null; raises TensorFault."""
    elements = _flat(data, count)
    if datatype == BYTES:
        _check_types(elements, (str,), "text")
    elif datatype == "BOOL":
        _check_types(elements, (bool,), "true or false")
    elif datatype in _FLOATS:
        _check_types(elements, (int, float), "a number")
        return [None if element is None else _as_float(element, datatype) for element in elements]
    else:
        _check_types(elements, (int,), "a whole number")
        _check_range(elements, datatype)
    return elements


def from_bytes(content: memoryview, datatype: str, count: int) -> list[Any]:
    """Return the elements of a binary tensor; raises TensorFault unless it holds exactly so many."""
    if datatype == BYTES:
        return _texts(content, count)
    dtype = DTYPES[datatype]
    if len(content) != count * dtype.itemsize:
        raise TensorFault(f"{count * dtype.itemsize} bytes for {count} of {datatype}", f"{len(content)}")
    values = np.frombuffer(content, dtype)
    if datatype == BF16:
        values = (values.astype("<u4") << 16).view("<f4")
    elements: list[Any] = values.tolist()
    return elements


def from_base64(elements: Sequence[Any]) -> list[Any]:
    """Return texts that were sent as base64; raises TensorFault."""
    try:
        return [None if one is None else base64.b64decode(one, validate=True).decode() for one in elements]
    except ValueError as error:
        raise TensorFault("text in UTF-8, as base64", "something else") from error


def from_json_texts(elements: Sequence[Any]) -> list[Any]:
    """Return values that were each sent as a JSON text, as MLServer does with mixed columns; raises TensorFault."""
    try:
        return [None if one is None else orjson.loads(one) for one in elements]
    except orjson.JSONDecodeError:
        raise TensorFault("JSON in each element", "something else") from None


def to_bytes(elements: Sequence[Any], datatype: str) -> bytes:
    """Return the elements as a binary tensor."""
    if datatype == BYTES:
        texts = [element.encode() for element in elements]
        return b"".join(piece for text in texts for piece in (_LENGTH.pack(len(text)), text))
    return np.array(elements, DTYPES[datatype]).tobytes()


def _flat(data: Any, count: int) -> list[Any]:
    """Return the innermost elements of nested lists, level by level, so that no nesting is too deep."""
    level = data if isinstance(data, list) else [data]
    while level and isinstance(level[0], list):
        if not all(isinstance(one, list) for one in level):
            raise TensorFault("lists of one depth", "others")
        level = [element for one in level for element in one]
    if len(level) != count:
        raise TensorFault(f"{count} elements, as the shape says", str(len(level)))
    return level


def _check_types(elements: Sequence[Any], kinds: tuple[type, ...], text: str) -> None:
    for element in elements:
        if type(element) not in kinds and element is not None:
            raise TensorFault(text, found(element))


def _check_range(elements: Sequence[Any], datatype: str) -> None:
    limits = np.iinfo(DTYPES[datatype])
    low, high = int(limits.min), int(limits.max)
    for element in elements:
        if element is not None and not low <= element <= high:
            raise TensorFault(f"a whole number of {datatype}", found(element))


def _as_float(element: float, datatype: str) -> float:
    """Return a number as its datatype holds it: written with few bits, it is meant as such a number."""
    try:
        number = float(element)
        if datatype == "FP64" or not math.isfinite(number):
            return number
        with np.errstate(over="raise"):
            if datatype == BF16:  # cut, as Triton's own clients do
                return float((np.array(number, "<f4").view("<u4") & 0xFFFF0000).view("<f4"))
            return float(DTYPES[datatype].type(number))
    except (OverflowError, FloatingPointError):
        raise TensorFault(f"a number of {datatype}", found(element)) from None


def _texts(content: memoryview, count: int) -> list[str]:
    texts: list[str] = []
    at = 0
    while at < len(content):
        start = at + _LENGTH.size
        if start > len(content):
            raise TensorFault("a length of four bytes before each text", f"{len(content) - at} bytes")
        at = start + _LENGTH.unpack_from(content, start - _LENGTH.size)[0]
        if at > len(content):
            raise TensorFault(f"a text of {at - start} bytes", f"{len(content) - start}")
        try:
            texts.append(str(content[start:at], "utf-8"))
        except UnicodeDecodeError:
            raise TensorFault("text in UTF-8", "other bytes") from None
    if len(texts) != count:
        raise TensorFault(f"{count} texts, as the shape says", str(len(texts)))
    return texts
