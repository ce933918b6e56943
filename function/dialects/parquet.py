"""Parquet: a table of features in, a table of predictions out.

Format: https://parquet.apache.org/docs/file-format/
"""

from typing import TYPE_CHECKING, Any

from function.call import Answered, Call, Incoming, Reply, Served
from function.dialects import columnar, native, parquet_pages
from function.dialects.columnar import arrow, check_decoded, check_rows, check_schema, reading
from function.dialects.native import refuse
from function.errors import InvalidBody

if TYPE_CHECKING:
    from function.schemas import Description

__all__ = ["MEDIA_TYPE", "describe", "parse", "refuse", "render"]

MEDIA_TYPE = "application/vnd.apache.parquet"
# Of lists in the footer, which cost far more memory than bytes: columns, row groups.
MAX_FOOTER_LIST = 10_000
LEAST_PAGE = 512  # bytes that a page counts for beside its own, so that empty ones without end come to an end


def parse(incoming: Incoming, served: Served) -> Call:
    """Read a body; raises MalformedBody, InvalidBody, TooManyInstances, BodyTooLarge or UnsupportedMediaType."""
    arrow()
    with reading("Parquet"):
        file = _open(incoming.body, served)
        names = check_schema(file.schema_arrow, served.signature)
        groups = [file.metadata.row_group(group) for group in range(file.metadata.num_row_groups)]
        check_rows(max(file.metadata.num_rows, sum(group.num_rows for group in groups)), served)
        _check_pages(incoming.body, groups)
        table = file.read(names, use_threads=False)
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


def _open(body: bytes, served: Served) -> Any:
    """Return a file whose texts stay in dictionaries: a long one that all rows share would be copied for each."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(
        arrow().BufferReader(body),
        read_dictionary=sorted(served.signature.names),
        pre_buffer=False,
        thrift_container_size_limit=MAX_FOOTER_LIST,
    )


def _check_pages(body: bytes, groups: list[Any]) -> None:
    """Raise BodyTooLarge or InvalidBody for what would take too much memory.

    The footer says how much that is, but nothing holds it to that; the head of each page says what memory is taken.
    """
    chunks = [group.column(column) for group in groups for column in range(group.num_columns)]
    check_decoded(sum(chunk.total_uncompressed_size for chunk in chunks))
    sizes = [chunk.total_compressed_size for chunk in chunks]
    if min(sizes) < 0 or sum(sizes) > len(body):
        raise ValueError("the same pages are used several times")
    decoded = count = 0
    for chunk in chunks:
        for page in parquet_pages.pages(body, _start(chunk), chunk.total_compressed_size):
            decoded += page.decoded
            count += 1
            check_decoded(decoded + LEAST_PAGE * count)
            if page.encoding == parquet_pages.SHARED_STARTS:
                column = chunk.path_in_schema
                raise InvalidBody(f"The column {column[:64]} is encoded as DELTA_BYTE_ARRAY; write it as PLAIN.")


def _start(chunk: Any) -> int:
    """Return where a column's first page begins."""
    first = chunk.dictionary_page_offset  # older writers do not tell of it, or write 0
    return int(min(chunk.data_page_offset, first or chunk.data_page_offset))
