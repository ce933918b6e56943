"""JSON as Google's APIs read it: protobuf's parser takes less than Python's."""

from __future__ import annotations

import json
import math
from typing import Any

# Protobuf's own limit of messages within messages: https://protobuf.dev/programming-guides/json/
DEEPEST = 100


def parse(text: str | bytes) -> Any:
    """Return the value that a text is in JSON.

    Raises ValueError: it is none, goes too deep, holds a number that is no finite double, or half a character.
    """
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    except RecursionError:
        raise ValueError("too deep") from None
    _check_depth(value)
    json.dumps(value, ensure_ascii=False).encode()  # a surrogate alone is no character: UnicodeEncodeError
    return value


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and the infinities are no JSON


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _whole(text: str) -> int:
    _finite(text)
    return int(text)


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level := [below for one in level for below in _members(one)]:
        depth += 1
        if depth > DEEPEST:
            raise ValueError("too deep")


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
