"""Who calls a service and whether they may: identity tokens as Cloud Run checks them, but for the signature.

Tokens here are unsigned: anybody on this machine could ask the double for one, so a signature would prove nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from tests.cloud import oauth
from tests.cloud.messages import Headers
from tests.cloud.run.refusals import forbidden, unauthorized

# The first that is there counts; the other one is then the application's own business.
TOKEN_HEADERS = ("X-Serverless-Authorization", "Authorization")
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
    name = next((name for name in TOKEN_HEADERS if headers.get(name)), None)
    sent = (headers.get(name) or "") if name else ""
    if name is None or not sent.startswith(SCHEME):
        raise forbidden(path, identified=False)
    token = sent.removeprefix(SCHEME)
    email = _email(token, audiences)
    if email is None:
        raise unauthorized(path)
    if not allowed(email):
        raise forbidden(path, identified=True)
    return {name: f"{SCHEME}{token.rpartition('.')[0]}.{REMOVED_SIGNATURE}"}


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
