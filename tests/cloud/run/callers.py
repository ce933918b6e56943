"""Who calls a service and whether they may: identity tokens as Cloud Run checks them, but for the signature.

Tokens here are unsigned: anybody on this machine could ask the double for one, so a signature would prove nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from tests.cloud import oauth
from tests.cloud.messages import Headers, Request
from tests.cloud.run.refusals import forbidden, not_let_through, not_signed_in, to_sign_in, unauthorized

# The first that is there counts; the other one is then the application's own business.
TOKEN_HEADERS = ("X-Serverless-Authorization", "Authorization")
# Likewise, where Identity-Aware Proxy asks: https://cloud.google.com/iap/docs/authentication-howto
PROXY_TOKEN_HEADERS = ("Proxy-Authorization", "Authorization")
SCHEME = "Bearer "
REMOVED_SIGNATURE = "SIGNATURE_REMOVED_BY_GOOGLE"


def admit(
    headers: Headers, path: str, audiences: Collection[str], allowed: Callable[[str | None], bool]
) -> dict[str, str]:
    """Let a caller in; return the headers that the container gets changed.

    Raises Refused: 403 without a token or permission, 401 for a token that cannot be believed.
    """
    if allowed(None):
        return {}
    name, token = _token(headers, TOKEN_HEADERS)
    if not token:
        raise forbidden(path, identified=False)
    email = _email(token, audiences)
    if email is None:
        raise unauthorized(path)
    if not allowed(email):
        raise forbidden(path, identified=True)
    return {name: f"{SCHEME}{token.rpartition('.')[0]}.{REMOVED_SIGNATURE}"}


def sign_in(
    request: Request, audiences: Collection[str], signed_in: Callable[[str | None], bool], proxy: str
) -> dict[str, str]:
    """Let a caller through Identity-Aware Proxy; return the headers that it adds, among them its own token.

    `proxy` is its service account, which then asks Cloud Run in the caller's place. It checks itself at first:
    https://cloud.google.com/run/docs/securing/identity-aware-proxy-cloud-run

    Raises Refused: 302 or 401 without a token, 401 for one that cannot be believed, 403 without permission.
    """
    own = {TOKEN_HEADERS[0]: SCHEME + oauth.identity_token(proxy, min(audiences))}
    if signed_in(None):
        return own
    _, token = _token(request.headers, PROXY_TOKEN_HEADERS)
    email = _email(token, audiences)
    if email is None and not token and _follows(request):
        raise to_sign_in(request.root + request.target)
    if email is None:
        raise not_signed_in()
    if not signed_in(email):
        raise not_let_through(email)
    return {**own, "X-Goog-Authenticated-User-Email": f"accounts.google.com:{email}"}


def _token(headers: Headers, names: Sequence[str]) -> tuple[str, str]:
    """Return the first of the headers that is there, and the token in it; where there is none, nothing."""
    name = next((name for name in names if headers.get(name)), "")
    sent = headers.get(name) or ""
    return name, sent.removeprefix(SCHEME) if sent.startswith(SCHEME) else ""


def _follows(request: Request) -> bool:
    """Tell whether Google takes a request for a browser's: https://cloud.google.com/iap/docs/faq."""
    return request.verb != "POST" and "text/html" in (request.headers.get("Accept") or "")


def _email(token: str, audiences: Collection[str]) -> str | None:
    """Return whom a token names, None where it is malformed, expired or meant for somebody else."""
    claims = oauth.claims_of(token)
    audience = claims.get("aud")
    if not isinstance(audience, str) or audience not in audiences:
        return None
    expires, email = claims.get("exp"), claims.get("email")
    if not isinstance(expires, int | float) or expires <= time.time() or not isinstance(email, str):
        return None
    return email
