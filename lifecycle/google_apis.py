"""Google's client libraries as the release identity, each at the address that its documented variable names."""

import contextlib
import getpass
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any

import google.auth
import httplib2
import requests
from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError, RetryError
from google.api_core.retry import Retry
from google.auth import impersonated_credentials
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError, RefreshError
from google.auth.transport.requests import Request
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient import discovery
from googleapiclient.errors import HttpError

from lifecycle.environment import Environment
from lifecycle.errors import CloudFailed

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
# The variables of Terraform's google provider, which name an API's address with its version: one setting an API.
VARIABLES = {
    "artifactregistry": ("GOOGLE_ARTIFACT_REGISTRY_CUSTOM_ENDPOINT", "v1"),
    "iamcredentials": ("GOOGLE_IAM_CREDENTIALS_CUSTOM_ENDPOINT", "v1"),
    "logging": ("GOOGLE_LOGGING_CUSTOM_ENDPOINT", "v2"),
    "monitoring": ("GOOGLE_MONITORING_CUSTOM_ENDPOINT", "v3"),
    "run": ("GOOGLE_CLOUD_RUN_V2_CUSTOM_ENDPOINT", "v2"),
}

SIGN_IN = "gcloud auth application-default login"

CALL_SECONDS = 30.0  # one call
PATIENCE_SECONDS = 120.0  # a call that is repeated, because it gets no answer or one that passes
# Answers after which the same call may succeed.
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
NO_ANSWER = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    httplib2.HttpLib2Error,
    HTTPException,
    ConnectionError,
    TimeoutError,
)
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 10.0
PERMISSION = re.compile(r"'?\b([a-z]+(?:\.[A-Za-z]+){2,})\b'? denied")


def client_options(api: str) -> dict[str, str]:
    """Return the client options that name an API's address; none where it is Google's own."""
    variable, version = VARIABLES[api]
    address = os.environ.get(variable, "").rstrip("/").removesuffix(f"/{version}")
    return {"api_endpoint": address} if address else {}


def client(api: str, credentials: Credentials) -> Any:
    """Return a client made from an API's own description; use it as a context, which ends its connections."""
    _, version = VARIABLES[api]
    http = AuthorizedHttp(credentials, http=httplib2.Http(timeout=CALL_SECONDS))
    return discovery.build(api, version, http=http, client_options=client_options(api), static_discovery=True)


def release_credentials(environment: Environment) -> Credentials:
    """Return the credentials of the release identity: one's own in a build, by impersonation on a laptop.

    Raises CloudFailed where nobody has signed in, or who has may not act as the release identity.
    """
    credentials = _own_credentials()
    identity = environment.release_identity
    who = _address(credentials)
    if who == identity:
        return credentials
    address = client_options("iamcredentials").get("api_endpoint")
    override = f"{address}/v1/projects/-/serviceAccounts/{identity}:generateAccessToken" if address else None
    impersonated: Credentials = impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
        source_credentials=credentials,
        target_principal=identity,
        target_scopes=list(SCOPES),
        iam_endpoint_override=override,
    )
    try:
        _refresh(impersonated)  # or the first call would fail, in the middle of something
    except (GoogleAuthError, RetryError) as error:
        raise _not_impersonated(error, who or "Who has signed in here", environment) from error
    return impersonated


def signed_in() -> str:
    """Return who is at work here, for people: an address where Google tells it, else the name of the user here."""
    try:
        return _address(_own_credentials()) or getpass.getuser()
    except (CloudFailed, GoogleAuthError, RetryError, OSError, KeyError):  # KeyError: a user without a name
        return f"user {os.getuid()}"


def is_transient(error: Exception) -> bool:
    """Tell whether a call may succeed when it is made again: no answer, too many calls, a server at fault."""
    if (status := _status(error)) is not None:
        return status in TRANSIENT
    if isinstance(error, GoogleAuthError):
        return bool(error.retryable) or isinstance(error.__cause__, NO_ANSWER)
    return isinstance(error, NO_ANSWER)


def patiently(seconds: float | None = None) -> Retry:
    """Return what calls a function until it succeeds, or until a fault stays for so long; waits grow at random."""
    timeout = PATIENCE_SECONDS if seconds is None else seconds
    return Retry(is_transient, initial=FIRST_WAIT_SECONDS, maximum=LONGEST_WAIT_SECONDS, timeout=timeout)


@contextmanager
def explained(doing: str, remedy: str) -> Iterator[None]:
    """Turn whatever Google's libraries raise into CloudFailed; `remedy` says what to do where a permission is missing.

    The first line says what was being done, and which permission was missing; a reason has Google's own words.
    """
    try:
        yield
    except (GoogleAPIError, HttpError, GoogleAuthError, HTTPException, httplib2.HttpLib2Error, OSError) as error:
        cause = error.cause if isinstance(error, RetryError) else error
        said = _said(cause) if cause is error else f"{_said(error)}: {_said(cause)}"
        if _status(cause) != 403:
            raise CloudFailed(f"{doing} failed", [said]) from error
        found = PERMISSION.search(said)
        missing = f"the permission {found[1]} is missing" if found else "Google refused it"
        raise CloudFailed(f"{doing} failed: {missing}", [said, remedy]) from error


def _said(error: Exception) -> str:
    """Return an error's own words, on one line."""
    words = getattr(error, "reason", None) or getattr(error, "message", None) or _body(error).get("message") or error
    return " ".join(str(words).split()) or type(error).__name__


def _status(error: Exception) -> int | None:
    """Return the HTTP status that an error stands for, None where there was no answer."""
    if isinstance(error, HttpError):
        return int(error.resp.status)
    code = error.code if isinstance(error, GoogleAPICallError) else _body(error).get("code")
    return int(code) if code is not None else None


def _body(error: Exception) -> dict[str, Any]:
    """Return what Google answered to who asked for a token: the library keeps it as text, beside its own words."""
    if not isinstance(error, RefreshError) or len(error.args) < 2:
        return {}
    with contextlib.suppress(TypeError, ValueError, AttributeError, KeyError):
        return dict(json.loads(error.args[1])["error"])
    return {}


def _own_credentials() -> Credentials:
    try:
        credentials: Credentials = google.auth.default(scopes=list(SCOPES))[0]
    except GoogleAuthError as error:
        raise CloudFailed(f"Nobody has signed in to Google Cloud here: {SIGN_IN}", [_said(error)]) from error
    return credentials


def _address(credentials: Credentials) -> str:
    """Return whose credentials these are, empty where they do not tell, as those of people often do not."""
    if getattr(credentials, "service_account_email", "") == "default":  # a machine's, which tells with its first token
        _refresh(credentials)
    return getattr(credentials, "service_account_email", "") or getattr(credentials, "account", "") or ""


def _refresh(credentials: Credentials) -> None:
    with requests.Session() as session:
        patiently()(credentials.refresh)(Request(session))


def _not_impersonated(error: GoogleAuthError | RetryError, who: str, environment: Environment) -> CloudFailed:
    """Return what to do for who may not act as the release identity."""
    identity, file = environment.release_identity, f"infra/{environment.name}.tfvars"
    cause = error.cause if isinstance(error, RetryError) else error
    said, status = _said(cause), _status(cause)
    if status == 403 and PERMISSION.search(said):
        text = f"{who} may not act as {identity}: roles/iam.serviceAccountTokenCreator on it is missing"
        return CloudFailed(text, [said, f"name the member in `releasers` of {file}, and apply it"])
    if status == 404:
        return CloudFailed(f"There is no release identity {identity}", [said, f"apply infra/ with {file} first"])
    return CloudFailed(f"{who} cannot act as {identity}", [said] if status else [said, f"sign in again: {SIGN_IN}"])
