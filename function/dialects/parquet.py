"""Parquet: a table of features in, a table of predictions out.

Format: https://parquet.apache.org/docs/file-format/
"""

from typing import TYPE_CHECKING, Any

from function.call import Answered, Call, Incoming, Reply, Served
from function.dialects import columnar, native, parquet_heads
from function.dialects.columnar import arrow, check_decoded, check_rows, check_schema, reading
from function.dialects.native import refuse
from function.dialects.parquet_heads import Chunk
from function.errors import InvalidBody

if TYPE_CHECKING:
    from function.schemas import Description

__all__ = ["MEDIA_TYPE", "describe", "parse", "refuse", "render"]

MEDIA_TYPE = "application/vnd.apache.parquet"
# Of lists in the footer, which cost far more memory than bytes: columns, row groups.
MAX_FOOTER_LIST = 10_000
# Encodings, by number, that pyarrow does not read into dictionaries. In the second one, texts share their starts, so
# that few bytes become any number.
UNREAD = {6: "DELTA_LENGTH_BYTE_ARRAY", 7: "DELTA_BYTE_ARRAY"}
LEAST_PAGE = 512  # bytes that a page counts for beside its own, so that empty ones without end come to an end


def parse(incoming: Incoming, served: Served) -> Call:
    """Read a body; raises MalformedBody, InvalidBody, TooManyInstances, BodyTooLarge or UnsupportedMediaType."""
    body = incoming.body
    arrow()
    with reading("Parquet"):
        footer = parquet_heads.footer(body)
        names = check_schema(_open(body).schema_arrow, served.signature)
        check_rows(footer.rows, served)
        _check_pages(body, footer.chunks)
        # Texts stay in dictionaries: a long one that all rows share would be copied for each.
        table = _open(body, read_dictionary=names).read(names, use_threads=False)
        return columnar.call(table, incoming.headers, served, MEDIA_TYPE)


def render(answered: Answered, served: Served) -> Reply:
    """Return the answer as a file, or in the native format where that was asked for."""
    if answered.kept:
        return native.render(answered, served)
    pa = arrow()
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(columnar.answer(answered, served), sink)
    return Reply(sink.getvalue().to_pybytes(), media_type=MEDIA_TYPE)


def describe(served: Served) -> "Description":
    """Return what this dialect sends and gets."""
    return columnar.describe(MEDIA_TYPE, "Parquet", served)


def _open(body: bytes, **how: Any) -> Any:
    import pyarrow.parquet as pq

    source = arrow().BufferReader(body)
    return pq.ParquetFile(source, pre_buffer=False, thrift_container_size_limit=MAX_FOOTER_LIST, **how)


def _check_pages(body: bytes, chunks: list[Chunk]) -> None:
    """Raise BodyTooLarge or InvalidBody for what would take too much memory.

    The footer says how much that is, but nothing holds it to that; the head of each page says what memory is taken.
    """
    check_decoded(sum(chunk.decoded for chunk in chunks))
    if sum(chunk.size for chunk in chunks) > len(body):
        raise ValueError("the same pages are used several times")
    decoded = 0
    for chunk in chunks:
        for page in parquet_heads.pages(body, chunk):
            decoded += page.decoded + LEAST_PAGE
            check_decoded(decoded)
            if page.encoding in UNREAD:
                name = chunk.name[:64]
                raise InvalidBody(f"The column {name} is encoded as {UNREAD[page.encoding]}; write it as PLAIN.")
