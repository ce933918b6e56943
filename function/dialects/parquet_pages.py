"""The heads of a Parquet file's pages, which pyarrow does not show: how long each is once decoded, and its encoding.

Format: PageHeader of https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift, in Thrift's
compact protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

SHARED_STARTS = 7  # DELTA_BYTE_ARRAY: texts may share their starts, so that few bytes become many

# Fields of PageHeader, and where in its kinds the encoding is.
DECODED, ENCODED = 2, 3
ENCODINGS = {5: 2, 7: 2, 8: 4}

# Types of the compact protocol.
TRUE, FALSE, BYTE, INTEGERS, DOUBLE, BINARY, LISTS, STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, (9, 10), 12


class Page(NamedTuple):
    """What a page's head says."""

    decoded: int  # bytes
    encoding: int | None


def pages(body: bytes, start: int, length: int) -> Iterator[Page]:
    """Yield the pages of a column's chunk; raises ValueError or IndexError for what is none."""
    end = start + length
    while start < end:
        head = _Head(body, start)
        fields = head.struct()
        decoded, encoded = fields[DECODED], fields[ENCODED]
        if min(decoded, encoded, start) < 0:
            raise ValueError("no pages")
        found = [fields[kind][place] for kind, place in ENCODINGS.items() if kind in fields]
        yield Page(decoded, found[0] if found else None)
        start = head.at + encoded


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
        lengths = {TRUE: 1, FALSE: 1, BYTE: 1, DOUBLE: 8}  # in a list, a truth is a byte
        return self._skip(self._varint() if kind == BINARY else lengths[kind])

    def _list(self) -> None:
        head = self._byte()
        for _ in range(self._varint() if head >> 4 == 15 else head >> 4):
            self._value(head & 15)

    def _skip(self, length: int) -> None:
        self.at += length

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
