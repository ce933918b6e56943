"""Downloads over the XML API, by which Go's client (and so Terraform's backend) reads; nothing else of that API.

https://cloud.google.com/storage/docs/xml-api/get-object-download
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from urllib.parse import quote, unquote, urlencode

from tests.cloud.messages import Request


def as_json(request: Request, buckets: Container[str]) -> Request | None:
    """Return the request of the JSON API that means the same, or None where it is no download of a known bucket."""
    bucket, _, name = request.path.removeprefix("/").partition("/")
    if request.verb != "GET" or bucket not in buckets or not name:
        return None
    generation = {key: value for key, value in request.query if key == "generation"}
    query = urlencode({"alt": "media", **generation})
    return replace(request, target=f"/storage/v1/b/{bucket}/o/{quote(unquote(name), safe='')}?{query}")
