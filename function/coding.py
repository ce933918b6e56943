"""Content encodings of bodies: gzip and deflate (RFC 9110, section 8.4.1), within a limit on what comes out."""

import re
import zlib
from collections.abc import Callable

from function.call import Headers, Reply
from function.errors import MalformedBody, UnsupportedMediaType

# For zlib: of either coding's window, its bits and, for gzip, 16 more. https://zlib.net/manual.html#Advanced
WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
IDENTITY = (b"", b"identity")
# The quickest level: half of an answer's compression is in its first level, and whoever asks also waits.
LEVEL = 1
STEP_BYTES = 1 << 20  # decoded at once, before the limit is looked at
_OFFER = re.compile(r"\s*([\w.*-]+)\s*(?:;\s*q\s*=\s*(\d(?:\.\d{0,3})?)\s*)?")


def coding_of(headers: Headers) -> str | None:
    """Return how a request's body is encoded, None for not at all; raises UnsupportedMediaType."""
    coding = headers.get(b"content-encoding", b"").lower()
    if coding in IDENTITY:
        return None
    name = coding.decode("latin-1").strip().removeprefix("x-")
    if name not in WINDOWS:
        raise UnsupportedMediaType(f"Bodies are read as they are, or in one of the encodings {', '.join(WINDOWS)}.")
    return name


def inflate(body: bytes, coding: str, check_length: Callable[[int], None]) -> bytes:
    """Return a body decoded; `check_length` raises for more bytes than are allowed; raises MalformedBody."""
    decoder = zlib.decompressobj(WINDOWS[coding])
    pieces = []
    length = 0
    while not decoder.eof:
        try:
            piece = decoder.decompress(body, STEP_BYTES)
        except zlib.error:
            raise MalformedBody(f"The body is not in its {coding} encoding.") from None
        body = decoder.unconsumed_tail
        if not piece and not body and not decoder.eof:
            raise MalformedBody(f"The body breaks off before the end of its {coding} encoding.")
        length += len(piece)
        check_length(length)
        pieces.append(piece)
    if decoder.unused_data:
        raise MalformedBody(f"The body goes on after the end of its {coding} encoding.")
    return b"".join(pieces)


def compressed(reply: Reply, headers: Headers, from_bytes: int) -> Reply:
    """Return the reply in an encoding that the request accepts, where it is at least so long."""
    offered = headers.get(b"accept-encoding")
    if offered is None or len(reply.content) < from_bytes or (coding := accepted(offered.decode("latin-1"))) is None:
        return reply
    encoder = zlib.compressobj(LEVEL, wbits=WINDOWS[coding])
    content = encoder.compress(reply.content) + encoder.flush()
    return reply._replace(
        content=content, headers={**reply.headers, "content-encoding": coding, "vary": "accept-encoding"}
    )


def accepted(offered: str) -> str | None:
    """Return the encoding that an Accept-Encoding header wants most of those that are written here, None for none."""
    best, quality = None, 0.0
    for offer in offered.lower().split(","):
        match = _OFFER.fullmatch(offer)
        if match and match[1] in WINDOWS and (wanted := float(match[2] or 1)) > quality:
            best, quality = match[1], wanted
    return best
