"""What Cloud Run answers in a container's place: status, page and the text that its request log adds."""

from __future__ import annotations

import html
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from string import Template
from types import MappingProxyType
from urllib.parse import quote

PAGE = Template(Path(__file__).with_name("refusal.html").read_text(encoding="utf-8"))
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=UTF-8"
# https://cloud.google.com/iap/docs/faq
GENERATED = {"X-Goog-IAP-Generated-Response": "true"}
CHALLENGE = 'Bearer error="invalid_token" error_description="The access token could not be verified"'


class Refused(Exception):
    """A request that does not reach a container, or whose container gave no answer."""

    def __init__(
        self, status: int, body: str, log: str, kind: str = TEXT, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Take the answer's status, body, media type and headers, and the log entry's text."""
        super().__init__(log or body)
        self.status = status
        self.body = body.encode()
        self.log = log
        self.headers = {"Content-Type": kind, **headers}


class Unknown(Refused):
    """Nothing is served here as far as this caller may know; such requests are not even logged."""

    def __init__(self) -> None:
        page = _page(404, "Page not found", "The requested URL was not found on this server.")
        super().__init__(404, page, "", HTML)


def forbidden(path: str, *, identified: bool) -> Refused:
    """Return the refusal of a caller who shows no identity, or one that may not invoke the service."""
    sentence = f"Your client does not have permission to get URL <code>{html.escape(path)}</code> from this server."
    log = (
        "The request was not authorized to invoke this service."
        if identified
        else "The request was not authenticated. Either allow unauthenticated invocations or set the proper "
        "Authorization header."
    )
    return Refused(403, _page(403, "Forbidden", sentence), log, HTML)


def unauthorized(path: str) -> Refused:
    """Return the refusal of a token that is malformed, expired or meant for another audience."""
    sentence = f"Your client does not have permission to the requested URL <code>{html.escape(path)}</code>."
    log = "The request was not authorized to invoke this service. The access token could not be verified."
    return Refused(401, _page(401, "Unauthorized", sentence), log, HTML, {"WWW-Authenticate": CHALLENGE})


def to_sign_in(url: str) -> Refused:
    """Return Identity-Aware Proxy's answer to a browser that shows no identity: the way to the sign-in page."""
    address = f"https://accounts.google.com/o/oauth2/v2/auth?response_type=code&scope=openid+email&state={quote(url)}"
    return Refused(302, "", "", HTML, {"Location": address, **GENERATED})


def not_signed_in() -> Refused:
    """Return Identity-Aware Proxy's refusal of a program whose token is missing or cannot be believed."""
    return Refused(401, "Invalid IAP credentials: no token that can be believed", "", TEXT, GENERATED)


def not_let_through(email: str) -> Refused:
    """Return Identity-Aware Proxy's refusal of somebody who may not get through."""
    sentence = f"{html.escape(email)} does not have access. The role that gives it is roles/iap.httpsResourceAccessor."
    return Refused(403, _page(403, "You don't have access", sentence), "", HTML, GENERATED)


def malformed() -> Refused:
    """Return the refusal of what is not quite HTTP."""
    return Refused(400, _page(400, "Bad Request", "Your client has issued a malformed or illegal request."), "", HTML)


def too_large() -> Refused:
    """Return the refusal of a body above 32 MiB."""
    page = _page(413, "Request Entity Too Large", "Your client issued a request that was too large.")
    return Refused(413, page, "", HTML)


def no_instance() -> Refused:
    """Return the refusal of a request for which no instance became free or could be started."""
    return Refused(429, "Rate exceeded.", "The request was aborted because there was no available instance.")


def not_started(*, exited: bool) -> Refused:
    """Return the refusal of a request whose instance did not start."""
    if exited:
        log = "The request failed because the instance could not start successfully."
        return Refused(500, "Internal Server Error", log)
    return Refused(503, "Service Unavailable", "The request failed because the instance failed the readiness check.")


def connection_lost() -> Refused:
    """Return what a caller gets whose instance died or talked nonsense."""
    log = (
        "The request failed because either the HTTP response was malformed or connection to the instance had an error."
    )
    return Refused(503, "upstream connect error or disconnect/reset before headers", log)


def timed_out() -> Refused:
    """Return what a caller gets whose container did not answer within the revision's timeout."""
    log = "The request has been terminated because it has reached the maximum request timeout."
    return Refused(504, "upstream request timeout", log)


def answer_too_large() -> Refused:
    """Return what a caller gets instead of an answer above 32 MiB that is not streamed; the system log says why."""
    return Refused(500, "Internal Server Error", "")


def _page(status: int, heading: str, sentence: str) -> str:
    return PAGE.substitute(title=f"{status} {HTTPStatus(status).phrase}", heading=heading, sentence=sentence)
