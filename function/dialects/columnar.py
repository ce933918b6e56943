"""What Arrow and Parquet share: columns become instances, and an answer becomes a table.

pyarrow is not among the image's requirements, for most endpoints do without it: it is imported when a body needs it.
"""

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from function.call import Answered, Call, Headers, Served, usual_methods
from function.contract import Signature
from function.dialects.json_body import check_count, pointer
from function.dialects.table import check_names, columns, wants_json
from function.errors import BodyTooLarge, Detail, InvalidBody, MalformedBody, UnsupportedMediaType
from function.validation import Instances

if TYPE_CHECKING:
    from function.schemas import Description

# A body of any size allowed may say that it holds far more once decoded; this much of it is, and as much text.
MAX_DECODED_MIB = 64
MAX_DECODED = MAX_DECODED_MIB * 1024 * 1024
INDEX = re.compile(r"__index_level_\d+__")  # how pandas names an index that has no name
EPOCH = datetime(1970, 1, 1)  # columns with a time zone get their offset as text
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def arrow() -> Any:
    """Return pyarrow; raises UnsupportedMediaType where it is not installed."""
    try:
        import pyarrow
    except ImportError:
        raise UnsupportedMediaType(
            "This endpoint has no pyarrow, which reads Arrow and Parquet: add pyarrow to the image's requirements, "
            "or send CSV or JSON."
        ) from None
    return pyarrow


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Raise MalformedBody for whatever a block finds to be broken in a body; what it raises by our names passes."""
    pa = arrow()
    try:
        yield
    except (pa.ArrowException, struct.error, OSError, ValueError, LookupError, ArithmeticError, RecursionError):
        raise MalformedBody(f"The body cannot be read as {name}: it is damaged, or not all of it came.") from None


def check_schema(schema: Any, signature: Signature) -> list[str]:
    """Return the names of the columns to read; raises InvalidBody for other columns, and types that no feature has."""
    names = [name for name in schema.names if name in signature.names or not INDEX.fullmatch(name)]
    check_names(names, signature, "/columns")
    faults = [
        Detail(at=f"/columns/{name}", expected="numbers, text, booleans, dates or times", found=_type_text(kind))
        for name in names
        if not _is_plain(kind := schema.field(name).type)
    ]
    if faults:
        wrong = ", ".join(fault["at"].removeprefix("/columns/") for fault in faults)
        raise InvalidBody(f"No feature holds values of the types of these columns: {wrong}.", faults)
    return names


def check_rows(rows: int, served: Served) -> None:
    """Raise InvalidBody for no rows, TooManyInstances for too many."""
    if not rows:
        fault = Detail(at="/rows", expected="at least one row", found="none")
        raise InvalidBody("There is nothing to predict.", [fault])
    check_count(rows, served.max_instances)


def check_decoded(size: int) -> None:
    """Raise BodyTooLarge for a body that would take too much memory."""
    if size > MAX_DECODED:
        raise BodyTooLarge(f"The body holds more than {MAX_DECODED_MIB} MiB once decoded; send fewer rows at once.")


def call(table: Any, headers: Headers, served: Served, media_type: str) -> Call:
    """Return the call of a table whose schema was checked; raises InvalidBody, BodyTooLarge or TooManyInstances."""
    check_rows(table.num_rows, served)
    table.validate(full=True)  # offsets, indices and UTF-8: a body may hold any bytes
    chunks = [chunk for column in table.columns for chunk in column.chunks]
    check_decoded(sum(map(_dictionary_length, chunks)))
    check_decoded(sum(map(_text_length, chunks)))
    values = [[value for chunk in column.chunks for value in _values(chunk)] for column in table.columns]
    names = table.column_names
    rows = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    kept = wants_json(headers, media_type)
    return Call(Instances(rows, pointer("/rows")), usual_methods(served.signature), kept)


def answer(answered: Answered, served: Served) -> Any:
    """Return the answer's table: labels as they were in training, numbers as float64."""
    pa = arrow()
    given = columns(answered, served.signature)
    arrays = []
    for column in given:
        kind = None if column.labels is not None and column.labels.classes is not None else pa.float64()
        arrays.append(pa.array(column.values, pa.string() if column.name == "prediction_id" else kind))
    return pa.Table.from_arrays(arrays, [column.name for column in given])


def describe(media_type: str, name: str, served: Served) -> "Description":
    """Return what Arrow or Parquet sends and gets."""
    from function import schemas  # here alone: the rest of this module is needed at the first request

    names = ", ".join(feature.name for feature in served.signature.features)
    text = f"{name}, where the endpoint has pyarrow: columns"
    binary = {"type": "string", "format": "binary"}
    return schemas.Description(
        {**binary, "description": f"{text} {names}"},
        {**binary, "description": f"{text} prediction, probability_<class> and prediction_id"},
        schemas.ERROR,
        answer_media=media_type,
    )


def _type_text(kind: Any) -> str:
    text = str(kind)
    return text if len(text) <= 64 else f"{text[:64]}..."


def _is_plain(kind: Any) -> bool:
    types = arrow().types
    if types.is_dictionary(kind):
        kind = kind.value_type
    plain = (
        *(types.is_integer, types.is_floating, types.is_boolean, types.is_null, types.is_decimal),
        *(types.is_string, types.is_large_string, types.is_string_view, types.is_date, types.is_timestamp),
    )
    return any(is_kind(kind) for is_kind in plain)


def _is_text(kind: Any) -> bool:
    types = arrow().types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _dictionary_length(chunk: Any) -> int:
    """Return about the bytes of a chunk's dictionary, which is read again for each chunk that has it."""
    return 8 * len(chunk.dictionary) if arrow().types.is_dictionary(chunk.type) else 0


def _text_length(chunk: Any) -> int:
    """Return the bytes of all texts of a chunk, those of a dictionary as often as they are meant."""
    import pyarrow.compute as pc

    encoded = arrow().types.is_dictionary(chunk.type)
    lengths = _lengths(chunk.dictionary if encoded else chunk)
    if lengths is None:
        return 0
    if encoded:
        lengths = pc.take(lengths, chunk.indices)
    return pc.sum(lengths.cast("int64")).as_py() or 0


def _lengths(chunk: Any) -> Any:
    """Return the bytes of each text, None for what is no text."""
    import pyarrow.compute as pc

    if not _is_text(chunk.type):
        return None
    if not arrow().types.is_string_view(chunk.type):
        return pc.binary_length(chunk)
    # There is no such function for views. Each is 16 bytes, and the first four are its length; of a missing text they
    # are anything: https://arrow.apache.org/docs/format/Columnar.html#variable-size-binary-view-layout
    import numpy as np

    missing = pc.is_null(chunk).to_numpy(zero_copy_only=False)
    lengths = np.frombuffer(chunk.buffers()[1], np.int32)[4 * chunk.offset :: 4][: len(chunk)]
    return arrow().array(np.where(missing, 0, lengths))


def _values(chunk: Any) -> list[Any]:
    """Return a chunk's values as JSON would give them, None where missing; equal texts of a dictionary are one."""
    if arrow().types.is_dictionary(chunk.type):
        values = [*_values(chunk.dictionary), None]
        indices = chunk.indices.cast("int64").fill_null(-1)
        return [values[index] for index in indices.to_numpy().tolist()]
    return _converter(chunk.type)(chunk)


def _converter(kind: Any) -> Callable[[Any], list[Any]]:
    types = arrow().types
    if types.is_floating(kind):
        return _floats
    if types.is_decimal(kind):
        return _decimals
    if types.is_date(kind):
        return _dates
    return _times if types.is_timestamp(kind) else _others


def _others(chunk: Any) -> list[Any]:
    """Return whole numbers, booleans and texts; NumPy is several times as fast as Arrow, but makes missing ones NaN."""
    if chunk.null_count and not _is_text(chunk.type):
        values: list[Any] = chunk.to_pylist()
    else:
        values = chunk.to_numpy(zero_copy_only=False).tolist()
    return values


def _floats(chunk: Any) -> list[Any]:
    return [None if value != value else value for value in chunk.to_numpy(zero_copy_only=False).tolist()]


def _decimals(chunk: Any) -> list[Any]:
    """Return the numbers that the same digits would be in JSON: whole ones without decimals, else the nearest float."""
    number = float if chunk.type.scale > 0 else int
    return [None if value is None else number(value) for value in chunk.to_pylist()]


def _dates(chunk: Any) -> list[Any]:
    return [None if value is None else value.isoformat() for value in chunk.to_pylist()]


def _times(chunk: Any) -> list[Any]:
    """Return times as ISO 8601 has them, to the microsecond; those of a time zone in UTC, with its offset."""
    zone = UTC if chunk.type.tz else None
    per_second = PER_SECOND[chunk.type.unit]
    counts = chunk.cast("int64").to_pylist()
    return [None if count is None else _time(count * 1_000_000 // per_second, zone) for count in counts]


def _time(microseconds: int, zone: Any) -> str:
    try:
        return (EPOCH + timedelta(microseconds=microseconds)).replace(tzinfo=zone).isoformat()
    except OverflowError:  # a year that no date has: the validator refuses the text
        return f"{microseconds} microseconds since 1970"
