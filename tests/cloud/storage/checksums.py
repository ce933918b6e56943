"""CRC32C and MD5 of a content, and the comparison with what a client declared."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import google_crc32c

from tests.cloud.errors import invalid
from tests.cloud.messages import Headers


@dataclass(frozen=True)
class Checksums:
    """Both checksums in base64; a composed object has no MD5."""

    crc32c: str
    md5: str | None

    @property
    def header(self) -> str:
        """The value of x-goog-hash."""
        return f"crc32c={self.crc32c}" + (f",md5={self.md5}" if self.md5 else "")


@dataclass(frozen=True)
class Declared:
    """What a client said of its content: each list holds every place that said something."""

    crc32c: tuple[str, ...] = ()
    md5: tuple[str, ...] = ()

    def check(self, found: Checksums) -> None:
        """Compare with the content's own.

        Raises CloudError: 400, before anything is stored.
        """
        _compare("CRC32C", self.crc32c, found.crc32c)
        _compare("MD5 hash", self.md5, found.md5)


def compute(content: bytes) -> Checksums:
    """Return the checksums of a content."""
    crc32c = google_crc32c.value(content).to_bytes(4, "big")
    md5 = hashlib.md5(content, usedforsecurity=False).digest()
    return Checksums(base64.b64encode(crc32c).decode(), base64.b64encode(md5).decode())


def declared(metadata: Mapping[str, str], headers: Headers) -> Declared:
    """Return what a resource and the headers of a request say: crc32c, md5Hash, x-goog-hash, Content-MD5."""
    pairs = [part.strip().partition("=") for part in (headers.get("x-goog-hash") or "").split(",")]
    crc32c = [metadata.get("crc32c"), *(value for name, _, value in pairs if name == "crc32c")]
    md5 = [metadata.get("md5Hash"), headers.get("Content-MD5"), *(value for name, _, value in pairs if name == "md5")]
    return Declared(tuple(filter(None, crc32c)), tuple(filter(None, md5)))


def _compare(what: str, declared: tuple[str, ...], found: str | None) -> None:
    for value in declared:
        if value != found:
            raise invalid(f'Provided {what} "{value}" doesn\'t match calculated {what} "{found}".')
