"""Times and durations as Google's JSON writes them; instants are nanoseconds since 1970, as no float can hold them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

SECOND = 10**9
# RFC 3339, and the date alone that filters allow.
INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9})\d*)?(Z|z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
DURATION = re.compile(r"([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)(ns|us|ms|s|m|h|d)", re.ASCII)
UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def read_instant(text: str) -> int:
    """Return the nanoseconds since 1970 of a time; one without a zone is UTC.

    Raises ValueError: it is no time.
    """
    found = INSTANT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    date, clock, fraction, zone = found.groups()
    zone = "+00:00" if zone in (None, "Z", "z") else zone
    moment = datetime.fromisoformat(f"{date}T{clock or '00:00'}{zone}")
    return int(moment.timestamp()) * SECOND + int((fraction or "0").ljust(9, "0"))


def write_instant(nanoseconds: int) -> str:
    """Return a time in UTC with 0, 3, 6 or 9 fractional digits, as protobuf's JSON mapping has it."""
    seconds, rest = divmod(nanoseconds, SECOND)
    fraction = f"{rest:09d}"
    while fraction.endswith("000"):
        fraction = fraction[:-3]
    point = f".{fraction}" if fraction else ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{point}Z"


def read_duration(text: str) -> float:
    """Return the seconds of a duration, for example 3.2s, 60m or 1h.

    Raises ValueError: it is no duration.
    """
    found = DURATION.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return float(found[1]) * UNITS[found[2]]


def write_duration(seconds: float) -> str:
    """Return seconds as protobuf's JSON mapping writes a duration."""
    text = f"{seconds:.9f}".rstrip("0").rstrip(".")
    return f"{text}s"
