"""Arrow IPC streams: a table of features in, a table of predictions out.

Format: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format
"""

import struct
from typing import TYPE_CHECKING, Any

from function.call import Answered, Call, Incoming, Reply, Served
from function.dialects import columnar, native
from function.dialects.columnar import arrow, check_decoded, check_rows, check_schema, reading
from function.dialects.native import refuse
from function.errors import MalformedBody

if TYPE_CHECKING:
    from function.schemas import Description

__all__ = ["MEDIA_TYPE", "describe", "parse", "refuse", "render"]

MEDIA_TYPE = "application/vnd.apache.arrow.stream"
FILE_MAGIC = b"ARROW1"
# Positions of fields in https://github.com/apache/arrow/blob/main/format/Message.fbs
HEADER, BUFFERS, COMPRESSION, DICTIONARY_DATA = 2, 2, 3, 1


def parse(incoming: Incoming, served: Served) -> Call:
    """Read a body; raises MalformedBody, InvalidBody, TooManyInstances, BodyTooLarge or UnsupportedMediaType."""
    pa = arrow()
    body = incoming.body
    if body.startswith(FILE_MAGIC):
        raise MalformedBody("The body is an Arrow file (Feather); send an Arrow IPC stream.")
    with reading("an Arrow IPC stream"):
        check_decoded(sum(map(_decoded_length, pa.ipc.MessageReader.open_stream(pa.py_buffer(body)))))
        options = pa.ipc.IpcReadOptions(use_threads=False)
        with pa.ipc.open_stream(pa.py_buffer(body), options=options) as reader:
            names = check_schema(reader.schema, served.signature)
            table = pa.Table.from_batches(_batches(reader, served), reader.schema).select(names)
        return columnar.call(table, incoming.headers, served, MEDIA_TYPE)


def render(answered: Answered, served: Served) -> Reply:
    """Return the answer as a stream, or in the native format where that was asked for."""
    if answered.kept:
        return native.render(answered, served)
    pa = arrow()
    table = columnar.answer(answered, served)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return Reply(sink.getvalue().to_pybytes(), media_type=MEDIA_TYPE)


def describe(served: Served) -> "Description":
    """Return what this dialect sends and gets."""
    return columnar.describe(MEDIA_TYPE, "An Arrow IPC stream", served)


def _batches(reader: Any, served: Served) -> list[Any]:
    """Return a stream's batches; a batch of a column of nothing may say that it has any number of rows."""
    batches = []
    rows = 0
    for batch in reader:
        rows += batch.num_rows
        if rows:
            check_rows(rows, served)
            batches.append(batch)
    return batches


def _decoded_length(message: Any) -> int:
    """Return how long the compressed buffers of a message say to be uncompressed: the first eight bytes of each.

    pyarrow does not tell, so the message's FlatBuffer is looked into. https://flatbuffers.dev/internals/
    """
    if message.type not in ("record batch", "dictionary"):
        return 0
    if message.metadata_version != arrow().ipc.MetadataVersion.V5:  # older ones hid their compression elsewhere
        raise MalformedBody("The body is of a version before Arrow 1.0 (of 2020); write it with a newer one.")
    metadata, body = message.metadata.to_pybytes(), message.body
    batch = _follow(metadata, _field(metadata, _follow(metadata, 0), HEADER))
    if message.type == "dictionary":
        batch = _follow(metadata, _field(metadata, batch, DICTIONARY_DATA))
    compression = _field(metadata, batch, COMPRESSION)
    buffers = _follow(metadata, _field(metadata, batch, BUFFERS))
    if not compression:
        return 0
    (count,) = struct.unpack_from("<I", metadata, buffers)
    spans = struct.iter_unpack("<qq", metadata[buffers + 4 : buffers + 4 + 16 * count])
    return sum(_declared(body, offset) for offset, length in spans if length)


def _declared(body: Any, offset: int) -> int:
    """Return the length that a compressed buffer begins with; -1 is of one that is not compressed after all."""
    (length,) = struct.unpack_from("<q", body, offset)
    return max(0, int(length))


def _follow(metadata: bytes, at: int) -> int:
    """Return the position that the offset at a position leads to."""
    return at + int(struct.unpack_from("<I", metadata, at)[0])


def _field(metadata: bytes, table: int, field: int) -> int:
    """Return the position of a field of a table, 0 where it is not given."""
    (back,) = struct.unpack_from("<i", metadata, table)
    size, *_ = struct.unpack_from("<H", metadata, table - back)
    place = 4 + 2 * field
    if place >= size:
        return 0
    offset = int(struct.unpack_from("<H", metadata, table - back + place)[0])
    return table + offset if offset else 0
