"""GET /docs: the OpenAPI document as a page to read and try, made of Swagger UI's own files, served from here.

Paths on the page are relative, so that it works behind a proxy that takes a prefix away.
"""

import functools
import hashlib
import importlib.util
from pathlib import Path

from function.call import Incoming, Reply
from function.coding import compressed
from function.errors import UnknownPath

HERE = Path(__file__).resolve().parent
# data: is for the arrows and icons in Swagger UI's style sheet.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
OURS = {"page.html": "text/html", "page.js": "text/javascript"}
THEIRS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
SMALLEST_COMPRESSED = 1024


def page(incoming: Incoming, _: None) -> Reply:
    """Return the page that shows this document."""
    return _file("page.html", incoming)


def asset(incoming: Incoming, _: None) -> Reply:
    """Return a file of the page."""
    return _file(incoming.places["asset"], incoming)


def _file(name: str, incoming: Incoming) -> Reply:
    content, media_type, tag = _read(name)
    headers = {
        "cache-control": "no-cache",
        "content-security-policy": POLICY,
        "etag": tag,
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    if incoming.headers.get(b"if-none-match") == tag.encode():
        return Reply(b"", 304, headers, media_type)
    return compressed(Reply(content, 200, headers, media_type), incoming.headers, SMALLEST_COMPRESSED)


@functools.cache
def _read(name: str) -> tuple[bytes, str, str]:
    """Return a file, its media type and its tag; Swagger UI's package is not imported, for it would import Flask."""
    media_type = (OURS | THEIRS).get(name)
    if media_type is None:
        raise UnknownPath("The page has no such file.")
    folder = HERE
    if name in THEIRS:
        package = importlib.util.find_spec("flask_swagger_ui")
        if package is None or package.origin is None:
            raise UnknownPath("The package flask-swagger-ui is not installed here.")
        folder = Path(package.origin).parent / "dist"
    content = (folder / name).read_bytes()
    return content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
