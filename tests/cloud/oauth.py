"""Google's token endpoint: what a service account signed becomes a token that names the account.

Tokens are JWTs without a signature: whoever can reach loopback could make one as well. A key file, as Google makes
them, leads Google's own libraries here by its `token_uri` (https://developers.google.com/identity/protocols/oauth2).
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from google.auth import jwt

from tests.cloud.errors import unauthenticated
from tests.cloud.messages import Headers, Request, Response, json_response
from tests.cloud.parsing import parse

PATH = "/oauth2/token"
# Whose requests are the project owner's, whatever the policies say.
OWNER = "owner@example.com"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFETIME_SECONDS = 3600
SKEW_SECONDS = 10
ISSUER = "https://accounts.google.com"


def key_file(email: str, project: str, url: str) -> dict[str, str]:
    """Return a service account's key, as GOOGLE_APPLICATION_CREDENTIALS names the file of one."""
    return {
        "type": "service_account",
        "project_id": project,
        "private_key_id": "local",
        "private_key": _key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "client_email": email,
        "client_id": "0",
        "token_uri": f"{url}{PATH}",
    }


def answer(request: Request) -> Response:
    """Answer a signed assertion with an access token, or with an identity token where it names a target audience."""
    form = {name: values[0] for name, values in parse_qs(request.body.decode("latin-1")).items()}
    try:
        if form.get("grant_type") != GRANT:
            raise ValueError("unsupported grant_type")
        claims = jwt.decode(form.get("assertion", ""), _verifier(), clock_skew_in_seconds=SKEW_SECONDS)
    except (TypeError, ValueError) as error:
        return json_response({"error": "invalid_grant", "error_description": str(error)}, 400)
    if audience := claims.get("target_audience"):
        return json_response({"id_token": identity_token(claims["iss"], audience)})
    token = access_token(claims["iss"])
    return json_response({"access_token": token, "expires_in": LIFETIME_SECONDS, "token_type": "Bearer"})


def access_token(email: str, lifetime_seconds: int = LIFETIME_SECONDS) -> str:
    """Return a token with which an account calls Google's APIs."""
    return identity_token(email, ISSUER, lifetime_seconds)


def identity_token(
    email: str | None, audience: str, lifetime_seconds: int = LIFETIME_SECONDS, number: str | None = None
) -> str:
    """Return a token with which an account calls an audience: a service's URL; it may have no address in it."""
    now, who = int(time.time()), number or email
    address = {"email": email, "email_verified": True} if email else {}
    claims = {"iss": ISSUER, "aud": audience, "azp": who, "sub": who, **address}
    return _unsigned({**claims, "iat": now, "exp": now + lifetime_seconds})


def claims_of(token: str) -> dict[str, Any]:
    """Return what a token says, whoever signed it; nothing where it is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = parse(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}


def identify(request: Request) -> Request:
    """Return a request with whom its path or its token names; anything else, and the owner, is nobody in particular."""
    named = request.identified()
    caller = named.principal or _account(request.headers)
    return replace(named, principal=None if caller == OWNER else caller)


def check(headers: Headers) -> None:
    """Refuse a token that has expired, or that the account which it names did not sign; what is no JWT is nobody's.

    Raises CloudError: 401.
    """
    token = _bearer(headers)
    claims = claims_of(token)
    try:
        if "email" in claims and not _is_valid(claims):
            raise ValueError("expired, or malformed")
        # A library may present what it signed itself instead of asking for a token; it has no e-mail, but an issuer.
        if "email" not in claims and "iss" in claims:
            jwt.decode(token, _verifier(), clock_skew_in_seconds=SKEW_SECONDS)
    except (TypeError, ValueError):
        raise unauthenticated() from None


def _account(headers: Headers) -> str | None:
    claims = claims_of(_bearer(headers))
    account = claims.get("email") or claims.get("iss")
    return account if isinstance(account, str) else None


def _is_valid(claims: dict[str, Any]) -> bool:
    expires = claims.get("exp")
    return isinstance(claims["email"], str) and isinstance(expires, int | float) and expires > time.time()


def _bearer(headers: Headers) -> str:
    scheme, _, token = (headers.get("Authorization") or "").partition(" ")
    return token if scheme.lower() == "bearer" else ""


def _unsigned(claims: dict[str, Any]) -> str:
    parts = [{"alg": "none", "typ": "JWT"}, claims]
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    # Libraries decode the third part, too.
    return ".".join([*texts, "bG9jYWw"])


@cache
def _key() -> rsa.RSAPrivateKey:
    """Return the key that every account signs with; one a process, because making it takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def _verifier() -> dict[str, str]:
    public = _key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {"local": public.decode()}
