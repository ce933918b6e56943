"""Instances to columns, held against the signature: every fault of every instance, or columns to be trusted."""

import difflib
import functools
import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import orjson
from annotated_types import Ge, Gt, Le, Lt
from pydantic import (
    AfterValidator,
    AllowInfNan,
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    NaiveDatetime,
    Strict,
    TypeAdapter,
    ValidationError,
    with_config,
)
from typing_extensions import TypedDict

from function.contract import Feature, Label, Signature
from function.errors import Detail, InvalidInstances

Value = Label | datetime | None
Columns = dict[str, list[Value]]

MAX_DETAILS = 50
MAX_HINTED = 5  # instances of which unknown names are compared with known ones, where each has its own answer
FOUND_LENGTH = 64
CATEGORIES_SHOWN = 12
EXACT = 2.0**53  # from here on, a float may be another integer rounded


class Instances(NamedTuple):
    """What a request holds: rows as they came, and the JSON pointer to each and to its values."""

    rows: Sequence[Any]
    at: Callable[[int], str]
    value_at: Callable[[int, str], str] | None = None  # by row and key, where values do not stand below their row

    def pointer(self, index: int, key: str) -> str:
        """Return the JSON pointer to a row's value; the key is its name, escaped, or its position."""
        return f"{self.at(index)}/{key}" if self.value_at is None else self.value_at(index, key)


class Marks(NamedTuple):
    """Values that were accepted although training never had their like: a capped list, and how many there are."""

    details: list[Detail]
    total: int


class Validator:
    """A model's signature, ready to be held against instances."""

    def __init__(self, signature: Signature) -> None:
        self._features = {feature.name: feature for feature in signature.features}
        self._names = list(self._features)
        self._nullable = [feature.name for feature in signature.features if feature.nullable]
        self._positions = {name: str(index) for index, name in enumerate(self._names)}
        self._ranges = [
            (feature, feature.name, *bounds) for feature in signature.features if (bounds := _marked_range(feature))
        ]
        self._known = [
            (feature, feature.name, {*feature.categories, None})
            for feature in signature.features
            if feature.categories is not None and feature.unseen == "mark"
        ]
        self._validate = TypeAdapter(instance_type(signature)).validator.validate_python

    def columns(self, instances: Instances) -> Columns:
        """Return one list of values per feature, None where missing; raises InvalidInstances with every fault."""
        rows: list[dict[str, Value]] = []
        details: list[Detail] = []
        invalid = 0
        for index, instance in enumerate(instances.rows):
            row = self._row(instance)
            if row is not None:
                rows.append(row)
                continue
            invalid += 1
            if len(details) < MAX_DETAILS:
                details += self._faults(instances, index)[: MAX_DETAILS - len(details)]
        if invalid:
            raise _invalid(invalid, len(instances.rows), details)
        return self._as_columns(rows)

    def sift(self, instances: Instances) -> tuple[Columns, dict[int, InvalidInstances]]:
        """Return the columns of the valid instances, and each other one's faults by its position."""
        rows: list[dict[str, Value]] = []
        refused: dict[int, InvalidInstances] = {}
        for index, instance in enumerate(instances.rows):
            row = self._row(instance)
            if row is not None:
                rows.append(row)
            else:
                hinted = len(refused) < MAX_HINTED
                refused[index] = _invalid(1, 1, self._faults(instances, index, hinted=hinted)[:MAX_DETAILS])
        return self._as_columns(rows), refused

    def _as_columns(self, rows: list[dict[str, Value]]) -> Columns:
        if len(rows) == 1:
            return {name: [value] for name, value in rows[0].items()}  # pydantic gives them in the signature's order
        return {name: [row[name] for row in rows] for name in self._names}

    def marks(self, columns: Columns, at: Callable[[int], str]) -> Marks:
        """Return the values that are far outside the training range, or of a category that training never had."""
        details: list[Detail] = []
        total = 0
        for feature, index, value in self._unusual(columns):
            total += 1
            if len(details) < MAX_DETAILS:
                details.append(_detail(at(index), feature.name, _usual_text(feature), value))
        return Marks(details, total)

    def _unusual(self, columns: Columns) -> Iterator[tuple[Feature, int, Value]]:
        for feature, name, low, high in self._ranges:
            index = 0  # most requests have one row, for which enumerate() costs more than comparing
            for number in columns[name]:
                if number is not None and not low <= number <= high:  # type: ignore[operator]
                    yield feature, index, number
                index += 1  # noqa: SIM113
        for feature, name, known in self._known:
            for index, value in enumerate(columns[name]):
                if value not in known:
                    yield feature, index, value

    def _row(self, instance: Any) -> dict[str, Value] | None:
        """Return an instance's values by name, or None where it does not fit the signature."""
        named = self._named(instance)
        if type(named) is not dict or len(named) > len(self._names):
            return None  # pydantic would list each of a million unknown names
        try:
            row: dict[str, Value] = self._validate(named)
        except ValidationError:
            read = self._with_missing(named)
            return None if read is named else self._row(read)
        return row

    def _named(self, instance: Any) -> Any:
        """Give a positional instance its names."""
        if type(instance) is list and len(instance) == len(self._names):
            return dict(zip(self._names, instance, strict=True))
        return instance

    def _with_missing(self, named: dict[str, Any]) -> dict[str, Any]:
        """Read NaN as missing where that is allowed; return the same object where there is none."""
        missing = {
            name: None for name in self._nullable if isinstance(value := named.get(name), float) and value != value
        }
        return {**named, **missing} if missing else named

    def _faults(self, instances: Instances, index: int, *, hinted: bool = True) -> list[Detail]:
        """Return all that is wrong with an instance, as far as it fits an answer."""
        instance = instances.rows[index]
        named = self._named(instance)
        if not isinstance(named, dict):
            return [Detail(at=instances.at(index), expected=self._row_text(), found=found(instance))]
        place = functools.partial(instances.pointer, index)
        unknown = itertools.islice((name for name in named if name not in self._features), MAX_DETAILS)
        faults = [self._unknown(place, name, hinted=hinted) for name in unknown]
        known = {name: named[name] for name in self._names if name in named}
        try:
            self._validate(self._with_missing(known))
        except ValidationError as error:
            faults += self._value_faults(error, place, self._positions if isinstance(instance, list) else None)
        return faults

    def _value_faults(
        self, error: ValidationError, place: Callable[[str], str], positions: dict[str, str] | None
    ) -> list[Detail]:
        """Return one fault a feature, however many alternatives pydantic tried for it."""
        faults: dict[str, Detail] = {}
        for line in error.errors(include_url=False, include_context=False):
            name = str(line["loc"][0])
            if name not in faults:
                at = place(positions[name] if positions else escape(name))
                text = "nothing" if line["type"] == "missing" else found(line["input"])
                wanted = expected(self._features[name])
                if escape(name) not in at.split("/"):  # a position, of which nobody knows the name by heart
                    wanted += f" ({name})"
                faults[name] = Detail(at=at, expected=wanted, found=text)
        return list(faults.values())

    def _unknown(self, place: Callable[[str], str], name: str, *, hinted: bool) -> Detail:
        close = difflib.get_close_matches(name[:FOUND_LENGTH], self._names, n=1) if hinted else []
        hint = f"; did you mean {close[0]!r}?" if close else f", which are {', '.join(self._names[:CATEGORIES_SHOWN])}"
        if len(self._names) > CATEGORIES_SHOWN and not close:
            hint += ", ..."
        text = f"one of the model's {len(self._names)} features{hint}"
        return Detail(at=place(escape(name[:FOUND_LENGTH])), expected=text, found="a name that it does not have")

    def _row_text(self) -> str:
        count = len(self._names)
        if count == 1:
            return "an object with 1 feature, or a list of its value"
        return f"an object with {count} features, or a list of their {count} values in the order of GET /model"


def _invalid(invalid: int, total: int, details: list[Detail]) -> InvalidInstances:
    verb = "is" if invalid == 1 else "are"
    return InvalidInstances(f"{invalid} of {total} instances {verb} invalid.", details, invalid)


def instance_type(signature: Signature) -> Any:
    """Return the TypedDict that pydantic holds an instance against: strict types, no unknown names, none missing."""
    fields = {feature.name: _annotation(feature) for feature in signature.features}
    typed = TypedDict("Instance", fields)  # type: ignore[misc]
    return with_config(ConfigDict(extra="forbid", strict=True))(typed)


def expected(feature: Feature) -> str:
    """Return in words what a feature takes."""
    if feature.categories is not None and feature.unseen == "reject":
        text = _categories_text(feature.categories)
    else:
        text = {
            "integer": "an integer",
            "number": "a number",
            "boolean": "true or false",
            "text": "text",
            "datetime": f"a date and time with{'' if is_aware(feature) else 'out'} offset, such as {feature.example}",
        }[feature.type]
        limits = _limits(feature)
        if limits.shown:
            text += f" between {_number(limits.low)} and {_number(limits.high)}"
        elif feature.largest is not None:
            text += f" of at most {feature.largest:.2g}, either sign"
    return f"{text}, or null" if feature.nullable else text


def accepted_range(feature: Feature) -> tuple[float, float] | tuple[None, None]:
    """Return the lowest and highest value that a feature takes, or None twice where nothing bounds it."""
    limits = _limits(feature)
    return (None, None) if math.isinf(limits.low) else (limits.low, limits.high)


def found(value: Any) -> str:
    """Return a value as JSON, cut to a length that fits an error message."""
    if isinstance(value, dict | list):
        return _count(value, "value")
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return "an integer beyond 64 bits"
    text = orjson.dumps(value[: FOUND_LENGTH + 1] if isinstance(value, str) else value, default=str).decode()
    return text if len(text) <= FOUND_LENGTH else text[:FOUND_LENGTH] + "..."


class _Limits(NamedTuple):
    low: float = -math.inf
    high: float = math.inf
    shown: bool = False  # a range that the caller must know, rather than the width of the column's dtype


def _annotation(feature: Feature) -> Any:
    value: Any
    if feature.categories is not None and feature.unseen == "reject":
        value = Literal[feature.categories]
    else:
        value = _plain(feature)
    return value | None if feature.nullable else value


def _plain(feature: Feature) -> Any:
    limits = _limits(feature)
    within = [] if math.isinf(limits.low) else [Ge(limits.low), Le(limits.high)]
    number = [Strict(), AllowInfNan(False), *within]
    match feature.type:
        case "integer":
            # Frames with missing integers hold them as 3.0, and so do their callers: whole floats are integers here.
            whole = Annotated[float, *number, AfterValidator(_require_whole), Gt(-EXACT), Lt(EXACT)]
            return Annotated[Annotated[int, Strict(), *within] | whole, Field(union_mode="left_to_right")]
        case "number":
            return Annotated[float, *number]
        case "boolean":
            return bool
        case "text":
            return str
        case "datetime":
            moment = AwareDatetime if is_aware(feature) else NaiveDatetime
            return Annotated[moment, Strict(False), BeforeValidator(_require_text)]


def _require_whole(value: float) -> float:
    if not value.is_integer():  # pydantic's own multiple_of takes a hair more or less for whole
        raise ValueError("an integer is whole")
    return value


def _require_text(value: Any) -> Any:
    if not is_dated(value):
        raise ValueError("a date is text")
    return value


def is_dated(value: Any) -> bool:
    """Tell whether a value is text that begins with a date; pydantic would read numbers as seconds, too."""
    return isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d", value) is not None


def is_aware(feature: Feature) -> bool:
    """Tell whether a date and time has an offset."""
    return "," in feature.dtype  # datetime64[us, UTC]


def _limits(feature: Feature) -> _Limits:
    """Return the lowest and highest value accepted: the column's dtype must hold it, and the range where it is kept."""
    width = _dtype_limits(feature.dtype.lower())
    if feature.largest is not None:
        width = _Limits(max(width.low, -feature.largest), min(width.high, feature.largest))
    bounds = feature.bounds() if feature.outside == "reject" else None
    if bounds is None:
        return width
    return _Limits(max(width.low, bounds[0]), min(width.high, bounds[1]), shown=True)


def _dtype_limits(dtype: str) -> _Limits:
    if integer := re.fullmatch(r"(u?)int(\d+)", dtype):
        bits = int(integer[2])
        return _Limits(0, 2**bits - 1) if integer[1] else _Limits(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    widest = {"float32": 3.4028234663852886e38, "float16": 65504.0}.get(dtype)
    return _Limits(-widest, widest) if widest else _Limits()


def _marked_range(feature: Feature) -> tuple[float, float] | None:
    """Return the lowest and highest value that is not marked, or None for a feature whose numbers never are."""
    return feature.bounds() if feature.categories is None and feature.outside == "mark" else None


def _usual_text(feature: Feature) -> str:
    if feature.categories is not None:
        return f"as in training, {_categories_text(feature.categories)}"
    return f"as in training, between {_number(feature.minimum)} and {_number(feature.maximum)}"


def _number(value: float | None) -> str:
    """Return a number as short as may be, but no other number."""
    short = f"{value:.12g}"
    return short if float(short) == value else repr(value)


def _categories_text(categories: Sequence[Label]) -> str:
    shown = ", ".join(found(category) for category in categories[:CATEGORIES_SHOWN])
    more = len(categories) - CATEGORIES_SHOWN
    return f"one of {shown}" + (f" and {more} more (see GET /model)" if more > 0 else "")


def _detail(where: str, name: str, text: str, value: Value) -> Detail:
    return Detail(at=f"{where}/{escape(name)}", expected=text, found=found(value))


def escape(name: str) -> str:
    """Return a name as it stands in a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def _count(value: Sequence[Any] | dict[Any, Any], noun: str) -> str:
    kind = "an object" if isinstance(value, dict) else "a list"
    return f"{kind} of {len(value)} {noun}{'' if len(value) == 1 else 's'}"
