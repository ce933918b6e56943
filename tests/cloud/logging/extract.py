"""Log-based metrics: which entries a metric counts, under which labels, and what Google accepts as a metric."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.cloud.errors import invalid
from tests.cloud.instants import read_duration
from tests.cloud.logging import fields
from tests.cloud.logging.fields import Found, Kind
from tests.cloud.logging.language import LONGEST, compile_extractor_expression, compile_filter
from tests.cloud.schemas import Json

PREFIX = "logging.googleapis.com/user/"
NAME = re.compile(r"[A-Za-z0-9_\-.,+!*'()%][A-Za-z0-9_\-.,+!*'()%/]{0,99}")
LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
MOST_LABELS = 10
MOST_BUCKETS = 200
# What Google takes for a distribution whose bucketOptions nobody gave.
DEFAULT_BUCKETS: Json = {"exponentialBuckets": {"numFiniteBuckets": 64, "growthFactor": 2, "scale": 0.01}}
FIXED = ("metricKind", "valueType")


@dataclass(frozen=True)
class Increment:
    """What one entry adds to a metric: one, or for a distribution the value that was extracted."""

    labels: dict[str, str]
    value: float


def extract(metric: Json, entry: Json) -> Increment | None:
    """Return what an entry adds to a LogMetric, or None where the metric does not count it.

    Raises CloudError: 400, the metric is none that Google would have accepted.
    """
    if metric.get("disabled") or not compile_filter(metric["filter"])(entry):
        return None
    labels = {label["key"]: _label(metric, label, entry) for label in _labels(metric)}
    if not is_distribution(metric):
        return Increment(labels, 1)
    value = _number(compile_extractor_expression(metric["valueExtractor"])(entry))
    return None if value is None else Increment(labels, value)


def is_distribution(metric: Json) -> bool:
    """Tell whether a metric records values instead of counting entries."""
    return bool(_descriptor(metric).get("valueType") == "DISTRIBUTION")


def metric_type(metric: Json) -> str:
    """Return the type under which Cloud Monitoring knows a log-based metric."""
    return PREFIX + str(metric["name"])


def bucket_bounds(options: Json) -> tuple[float, ...]:
    """Return the bounds between the buckets of BucketOptions, lowest first.

    Raises CloudError: 400, one of the numbers is impossible.
    """
    kinds = [kind for kind in BOUNDS if kind in options]
    if len(kinds) != 1:
        raise invalid("Exactly one of linearBuckets, exponentialBuckets and explicitBuckets must be set.")
    try:
        bounds = BOUNDS[kinds[0]](options[kinds[0]])
    except KeyError as missing:
        raise invalid(f"{kinds[0]}.{missing.args[0]} must be set.") from None
    if len(bounds) >= MOST_BUCKETS:
        raise invalid(f"The distribution has {len(bounds) + 1} buckets; at most {MOST_BUCKETS} are allowed.")
    return bounds


def check_metric(metric: Json) -> None:
    """Refuse a LogMetric that Google would refuse.

    Raises CloudError: 400 with the first fault found.
    """
    for check in CHECKS:
        check(metric)


def check_update(old: Json, new: Json) -> None:
    """Refuse what cannot change once a metric exists: kind, value type, and labels that it has.

    Raises CloudError: 400.
    """
    before, after = _descriptor(old), _descriptor(new)
    for name in FIXED:
        if before[name] != after[name]:
            raise invalid(f"Field metric_descriptor.{name} cannot be changed from {before[name]} to {after[name]}.")
    kept = {label["key"]: label.get("valueType", "STRING") for label in _labels(new)}
    for label in _labels(old):
        if kept.get(label["key"]) != label.get("valueType", "STRING"):
            raise invalid(f"Label {label['key']!r} of the metric descriptor cannot be removed or changed.")


def _descriptor(metric: Json) -> Json:
    described = metric.get("metricDescriptor") or {}
    given = {key: value for key, value in described.items() if value and not str(value).endswith("_UNSPECIFIED")}
    return {"metricKind": "DELTA", "valueType": "INT64", "unit": "1", **given}


def _labels(metric: Json) -> list[Json]:
    return list(_descriptor(metric).get("labels", ()))


def _label(metric: Json, label: Json, entry: Json) -> str:
    """Return a label's value; where extraction or conversion fails, the default of its type."""
    convert, default = CONVERSIONS[label.get("valueType", "STRING")]
    found = compile_extractor_expression(metric["labelExtractors"][label["key"]])(entry)
    try:
        return convert(_scalar(found))
    except (ValueError, OverflowError):
        return default


def _scalar(found: list[Found]) -> Any:
    if not found or found[0].kind in (Kind.OBJECT, Kind.NULL):
        raise ValueError(found)
    return found[0].value


def _number(found: list[Found]) -> float | None:
    """Return the double that was extracted; a duration in seconds."""
    try:
        value = _scalar(found)
        number = read_duration(value) if found[0].kind is Kind.DURATION else float(fields.text_of(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _integer_text(value: Any) -> str:
    return str(int(fields.text_of(value)))


def _boolean_text(value: Any) -> str:
    text = fields.text_of(value).lower()
    if text not in ("true", "false"):
        raise ValueError(value)
    return text


CONVERSIONS: dict[str, tuple[Callable[[Any], str], str]] = {
    "STRING": (fields.text_of, ""),
    "INT64": (_integer_text, "0"),
    "BOOL": (_boolean_text, "false"),
}


def _check_name(metric: Json) -> None:
    name = metric.get("name") or ""
    if not NAME.fullmatch(name):
        raise invalid(
            f"Invalid metric name {name!r}: it must have at most 100 characters of A-Z, a-z, 0-9 and _-.,+!*',()%/, "
            "and the first must not be a slash."
        )


def _check_texts(metric: Json) -> None:
    if len(metric.get("description", "")) > 8000:
        raise invalid("The description of a metric has at most 8000 characters.")
    if not metric.get("filter"):
        raise invalid("Required field: filter")
    if len(metric["filter"]) > LONGEST:
        raise invalid(f"The filter of a metric has at most {LONGEST} characters.")
    compile_filter(metric["filter"])


def _check_kind(metric: Json) -> None:
    descriptor = _descriptor(metric)
    if descriptor["metricKind"] != "DELTA" or descriptor["valueType"] not in ("INT64", "DISTRIBUTION"):
        raise invalid(
            f"A log-based metric of kind {descriptor['metricKind']} and value type {descriptor['valueType']} is not "
            "supported; the kind must be DELTA, the value type INT64 or DISTRIBUTION."
        )


def _check_labels(metric: Json) -> None:
    keys = [label.get("key", "") for label in _labels(metric)]
    for key in keys:
        if not LABEL.fullmatch(key):
            raise invalid(f"Invalid label key {key!r}.")
    if len(set(keys)) < len(keys) or len(keys) > MOST_LABELS:
        raise invalid(f"A metric has at most {MOST_LABELS} labels, each once.")


def _check_extractors(metric: Json) -> None:
    keys, extractors = {label["key"] for label in _labels(metric)}, metric.get("labelExtractors") or {}
    if len(keys) != len(extractors):
        raise invalid("Number of label descriptors must match number of label extractors")
    for key in sorted(keys - set(extractors)):
        raise invalid(f"The label {key!r} has no extractor.")
    for expression in extractors.values():
        compile_extractor_expression(expression)


def _check_value(metric: Json) -> None:
    given = metric.get("valueExtractor", "")
    if is_distribution(metric) != bool(given):
        raise invalid("A value extractor is required for metrics of value type DISTRIBUTION, and only for them.")
    if given:
        compile_extractor_expression(given)


def _check_buckets(metric: Json) -> None:
    options = metric.get("bucketOptions")
    if options and not is_distribution(metric):
        raise invalid("Bucket options are only for metrics of value type DISTRIBUTION.")
    if options:
        bucket_bounds(options)


CHECKS = (_check_name, _check_texts, _check_kind, _check_labels, _check_extractors, _check_value, _check_buckets)


def _explicit(options: Json) -> tuple[float, ...]:
    bounds = tuple(options["bounds"])
    if not bounds or any(low >= high for low, high in pairwise(bounds)):
        raise invalid("The bounds of explicit buckets must be at least one, and monotonically increasing.")
    return bounds


def _linear(options: Json) -> tuple[float, ...]:
    _check_positive(options, "numFiniteBuckets", "width")
    count, width, offset = options["numFiniteBuckets"], options["width"], options.get("offset", 0)
    return tuple(offset + width * index for index in range(count + 1))


def _exponential(options: Json) -> tuple[float, ...]:
    _check_positive(options, "numFiniteBuckets", "scale")
    if options["growthFactor"] <= 1:
        raise invalid("The growth factor of exponential buckets must be greater than 1.")
    count, growth, scale = options["numFiniteBuckets"], options["growthFactor"], options["scale"]
    return tuple(scale * growth**index for index in range(count + 1))


def _check_positive(options: Json, *names: str) -> None:
    for name in names:
        if options[name] <= 0:
            raise invalid(f"{name} must be greater than 0.")


BOUNDS: dict[str, Callable[[Json], tuple[float, ...]]] = {
    "explicitBuckets": _explicit,
    "linearBuckets": _linear,
    "exponentialBuckets": _exponential,
}
