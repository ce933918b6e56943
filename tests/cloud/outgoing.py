"""Requests that the double itself makes, on loopback alone: pushes of Pub/Sub, targets of Cloud Scheduler."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from tests.cloud.errors import unimplemented

# Verb, URL, headers, body and how many seconds to wait; returns the status, or 0 where nobody answered.
Send = Callable[[str, str, Mapping[str, str], bytes, float], int]
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def check(url: str) -> None:
    """Refuse an address that is not on this machine.

    Raises CloudError: 501.
    """
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname not in LOOPBACK:
        raise unimplemented(f"requests to {url}: only http on loopback is reached")


def send(verb: str, url: str, headers: Mapping[str, str], body: bytes, timeout_seconds: float) -> int:
    """Make a request and return its status, or 0 where nobody answered in time.

    Raises CloudError: 501 for an address that is not on this machine.
    """
    check(url)
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_seconds)
    target = parts._replace(scheme="", netloc="").geturl() or "/"
    try:
        connection.request(verb, target, body, dict(headers))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
