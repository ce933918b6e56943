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
_MISSING = type(None)
# What JSON holds for a datatype, and how it is told.
_KINDS: dict[str, tuple[frozenset[type], str]] = {
    "BOOL": (frozenset({bool, _MISSING}), "true or false"),
    BYTES: (frozenset({str, _MISSING}), "text"),
    **{name: (frozenset({int, _MISSING}), "a whole number") for name, dtype in DTYPES.items() if dtype.kind in "ui"},
    **dict.fromkeys(("FP16", "FP32", "FP64", BF16), (frozenset({int, float, _MISSING}), "a number")),
}
_RANGES = {
    name: (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    for name, dtype in DTYPES.items()
    if dtype.kind in "ui" and name != BF16
}
_NARROW = ("FP16", "FP32", BF16)
_LENGTH = struct.Struct("<I")


class TensorFault(Exception):
    """What was expected somewhere in a tensor, and what was found; `at` is the pointer from the tensor on."""

    def __init__(self, at: str, expected: str, what: str) -> None:
        super().__init__(at, expected, what)
        self.at = at
        self.expected = expected
        self.found = what


def from_json(data: Any, datatype: str, shape: Sequence[int]) -> list[Any]:
    """Return the elements of lists in row-major order, nested as the shape says or flat; raises TensorFault.

    An element that is null becomes None.
    """
    allowed, text = _KINDS[datatype]
    elements = data if type(data) is list and len(data) == math.prod(shape) else _flat(data, shape)
    kinds = set(map(type, elements))
    if list in kinds:
        elements = _flat(data, shape)
        kinds = set(map(type, elements))
    if not kinds <= allowed:
        wrong = next(element for element in elements if type(element) not in allowed)
        raise TensorFault("/data", text, found(wrong))
    if datatype in _RANGES:
        _check_range(elements, datatype)
    elif datatype in _NARROW:
        return _narrowed(elements, datatype)
    return elements


def from_bytes(content: memoryview, datatype: str, count: int) -> list[Any]:
    """Return the elements of a binary tensor; raises TensorFault unless it holds exactly so many."""
    if datatype == BYTES:
        return _texts(content, count)
    dtype = DTYPES[datatype]
    if len(content) != count * dtype.itemsize:
        raise TensorFault("/data", f"{count * dtype.itemsize} bytes for {count} of {datatype}", f"{len(content)}")
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
        raise TensorFault("/data", "text in UTF-8, as base64", "something else") from error


def from_json_texts(elements: Sequence[Any]) -> list[Any]:
    """Return values that were each sent as a JSON text, as MLServer does with mixed columns; raises TensorFault."""
    if any(one is not None and one.lstrip()[:1] in ("[", "{") for one in elements):
        raise TensorFault("/data", "a plain value as JSON in each element", "a list or an object")
    try:
        return [None if one is None else orjson.loads(one) for one in elements]
    except orjson.JSONDecodeError:
        raise TensorFault("/data", "a plain value as JSON in each element", "something else") from None


def to_bytes(elements: Sequence[Any], datatype: str) -> bytes:
    """Return the elements as a binary tensor."""
    if datatype == BYTES:
        texts = [element.encode() for element in elements]
        return b"".join(piece for text in texts for piece in (_LENGTH.pack(len(text)), text))
    return np.array(elements, DTYPES[datatype]).tobytes()


def _flat(data: Any, shape: Sequence[int]) -> list[Any]:
    """Return the innermost elements of nested lists, level by level, so that no nesting is too deep."""
    level = data if isinstance(data, list) else [data]
    sizes = [len(level)]
    while level and isinstance(level[0], list):
        widths = {len(one) if isinstance(one, list) else -1 for one in level}
        if len(widths) > 1:
            raise TensorFault("/data", "lists of one depth and length at each level", "others")
        sizes += widths
        level = [element for one in level for element in one]
    if len(level) != math.prod(shape):
        raise TensorFault("/data", f"{math.prod(shape)} elements, as the shape says", str(len(level)))
    wanted, nested = ([size for size in each if size != 1] for each in (shape, sizes))
    if nested != wanted and nested != [len(level)]:
        raise TensorFault("/data", f"lists nested as the shape {list(shape)} says, or one flat list", f"{sizes}")
    return level


def _check_range(elements: Sequence[Any], datatype: str) -> None:
    low, high = _RANGES[datatype]
    for element in elements:
        if element is not None and not low <= element <= high:
            raise TensorFault("/data", f"a whole number of {datatype}", found(element))


def _narrowed(elements: Sequence[Any], datatype: str) -> list[Any]:
    """Return numbers as their datatype holds them: written with few bits, they are meant as such."""
    try:
        with np.errstate(over="raise"):
            wide = np.array([math.nan if element is None else element for element in elements], np.float64)
            if datatype == BF16:  # cut, as Triton's own clients do
                narrow = (wide.astype("<f4").view("<u4") & 0xFFFF0000).view("<f4")
            else:
                narrow = wide.astype(DTYPES[datatype])
    except (OverflowError, FloatingPointError):
        raise TensorFault("/data", f"numbers of {datatype}", "one that is too large") from None
    numbers: list[Any] = narrow.astype(np.float64).tolist()
    return [None if element is None else number for element, number in zip(elements, numbers, strict=True)]


def _texts(content: memoryview, count: int) -> list[str]:
    texts: list[str] = []
    at = 0
    while at < len(content):
        start = at + _LENGTH.size
        if start > len(content):
            raise TensorFault("/data", "a length of four bytes before each text", f"{len(content) - at} bytes")
        at = start + _LENGTH.unpack_from(content, start - _LENGTH.size)[0]
        if at > len(content):
            raise TensorFault("/data", f"a text of {at - start} bytes", f"{len(content) - start}")
        try:
            texts.append(str(content[start:at], "utf-8"))
        except UnicodeDecodeError:
            raise TensorFault("/data", "text in UTF-8", "other bytes") from None
    if len(texts) != count:
        raise TensorFault("/data", f"{count} texts, as the shape says", str(len(texts)))
    return texts
