"""What a Parquet file says of itself, read without pyarrow: its columns' chunks, and the heads of their pages.

pyarrow does not show the heads of pages, and ends the process over some footers that are damaged (26.0.1, when a chunk
is asked for in Python; reading all of the file is safe).

Format: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift, in Thrift's compact
protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

MAGIC = b"PAR1"
TAIL = 8  # bytes: the footer's length, and the magic
MAX_FOOTER = 4 * 1024 * 1024  # bytes; Python takes about a second for them

# Fields of FileMetaData, RowGroup, ColumnChunk, ColumnMetaData and PageHeader.
ROW_GROUPS, CHUNKS, GROUP_ROWS, META_DATA = 4, 1, 3, 3
PATH, VALUES, DECODED_SIZE, SIZE, DATA_OFFSET, DICTIONARY_OFFSET = 3, 5, 6, 7, 9, 11
PAGE_DECODED, PAGE_SIZE, PAGE_VALUES, DICTIONARY_PAGE = 2, 3, 1, 7
ENCODINGS = {5: 2, DICTIONARY_PAGE: 2, 8: 4}  # where the encoding is in each kind of page

# Types of the compact protocol.
TRUE, FALSE, BYTE, INTEGERS, DOUBLE, BINARY, LISTS, STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, (9, 10), 12
LENGTHS = {TRUE: 1, FALSE: 1, BYTE: 1, DOUBLE: 8}  # in a list, a truth is a byte


class Chunk(NamedTuple):
    """One column's part of a group of rows."""

    name: str
    start: int
    size: int  # bytes, as the decoded ones
    decoded: int
    rows: int
    values: int


class Page(NamedTuple):
    """What a page's head says."""

    decoded: int  # bytes
    encoding: int | None


class Footer(NamedTuple):
    """How many rows a file's groups have, and their chunks."""

    rows: int
    chunks: list[Chunk]


def footer(body: bytes) -> Footer:
    """Return a file's footer; raises ValueError or LookupError for what is none."""
    length = int.from_bytes(body[-TAIL : -len(MAGIC)], "little")
    start = len(body) - TAIL - length
    if not body.endswith(MAGIC) or start < 0 or length > MAX_FOOTER:
        raise ValueError("no footer")
    groups = _structs(_Head(body, start).struct()[ROW_GROUPS])
    chunks = [_chunk(chunk, _size(group[GROUP_ROWS])) for group in groups for chunk in _structs(group[CHUNKS])]
    return Footer(sum(_size(group[GROUP_ROWS]) for group in groups), chunks)


def pages(body: bytes, chunk: Chunk) -> Iterator[Page]:
    """Yield the pages of a chunk of plain values; raises ValueError or LookupError for what is none."""
    if chunk.values > chunk.rows:  # pyarrow would reserve memory for them
        raise ValueError("more values than rows")
    start = chunk.start
    end = start + chunk.size
    while start < end:
        head = _Head(body, start)
        fields = head.struct()
        yield _page(fields, chunk)
        start = head.at + _size(fields[PAGE_SIZE])


def _chunk(column: dict[int, Any], rows: int) -> Chunk:
    fields = _struct(column[META_DATA])
    path = ".".join(name.decode() for name in _list_of(bytes, fields[PATH]))
    start = _size(fields[DATA_OFFSET])
    first = _size(fields.get(DICTIONARY_OFFSET, 0))  # some writers do not tell of it, or write 0
    size, decoded, values = (_size(fields[field]) for field in (SIZE, DECODED_SIZE, VALUES))
    return Chunk(path, min(start, first or start), size, decoded, rows, values)


def _page(fields: dict[int, Any], chunk: Chunk) -> Page:
    """Return a page that has no more values than its chunk or, in a dictionary, than bytes."""
    decoded = _size(fields[PAGE_DECODED])
    kinds = ENCODINGS.keys() & fields.keys()
    if not kinds:  # an index
        return Page(decoded, None)
    if len(kinds) > 1:
        raise ValueError("a page of several kinds")
    (kind,) = kinds
    head = _struct(fields[kind])
    if _size(head[PAGE_VALUES]) > (decoded if kind == DICTIONARY_PAGE else chunk.values):
        raise ValueError("more values than there can be")
    return Page(decoded, _size(head[ENCODINGS[kind]]))


def _size(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("no size")
    return value


def _struct(value: Any) -> dict[int, Any]:
    if not isinstance(value, dict):
        raise ValueError("no struct")
    return value


def _structs(value: Any) -> list[dict[int, Any]]:
    return _list_of(dict, value)


def _list_of(kind: type, value: Any) -> list[Any]:
    if not isinstance(value, list) or not all(isinstance(each, kind) for each in value):
        raise ValueError("another list")
    return value


class _Head:
    """A position in bytes of Thrift's compact protocol, which moves as values are read."""

    def __init__(self, content: bytes, at: int) -> None:
        self._content = content
        self.at = at

    def struct(self) -> dict[int, Any]:
        """Return a struct's values by the ids of its fields."""
        fields: dict[int, Any] = {}
        name = 0
        while kind := self._byte():
            name = name + (kind >> 4) if kind >> 4 else self._integer()
            kind &= 15
            if name in fields:  # of which pyarrow might take the other
                raise ValueError("a field that is there twice")
            fields[name] = kind == TRUE if kind in (TRUE, FALSE) else self._value(kind)
        return fields

    def _value(self, kind: int) -> Any:
        if kind in INTEGERS:
            return self._integer()
        if kind == STRUCT:
            return self.struct()
        if kind in LISTS:
            return self._list()
        return self._bytes(self._varint() if kind == BINARY else LENGTHS[kind])

    def _list(self) -> list[Any]:
        head = self._byte()
        return [self._value(head & 15) for _ in range(self._varint() if head >> 4 == 15 else head >> 4)]

    def _bytes(self, length: int) -> bytes:
        self.at += length
        return self._content[self.at - length : self.at]

    def _byte(self) -> int:
        self.at += 1
        return self._content[self.at - 1]

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("no number of 64 bits")
