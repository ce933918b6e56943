"""Calls to a private service and its tags, marked as checks; no more than two of them may fail."""

import time
from collections.abc import Callable, Mapping
from http.client import HTTPException
from types import TracebackType
from typing import Any, NamedTuple, Self

import requests
from google.auth import jwt
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from googleapiclient.errors import HttpError
from httplib2 import HttpLib2Error
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.util.retry import Retry

from function.contract import CHECK_AGENT
from lifecycle.errors import CloudFailed
from lifecycle.google_apis import client

AGENT = f"{CHECK_AGENT}/1"
CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 65.0  # Cloud Run ends a request after 60 (request_timeout_seconds)
RENEW_SECONDS = 300  # a token is not used in the last minutes of its hour
# The alert "Requests fail" counts three in ten minutes, and does not know a check from a caller.
MOST_FAILURES = 2
JSON = "application/json"

Mint = Callable[[str], str]  # an identity token for an audience


class Spent(Exception):
    """Another call could fail too, and then somebody would be called: nothing more is asked."""

    def __init__(self) -> None:
        super().__init__(f"nothing more was asked, because {MOST_FAILURES} calls failed and an alert counts three")


class Called(NamedTuple):
    """What became of one call; its status is 0 where there was no answer, and `content` then says why."""

    status: int
    content: bytes
    ms: float  # from sending to the last byte

    @property
    def failed(self) -> bool:
        """Whether the fault is the service's."""
        return self.status == 0 or self.status >= 500

    @property
    def said(self) -> str:
        """What became of it, in words, for people."""
        text = " ".join(self.content[:200].decode("utf-8", "replace").split())
        return f"no answer ({text})" if self.status == 0 else f"{self.status} {text}".rstrip()


class Calls:
    """Calls of one release to one service, each with an identity token; use it as a context.

    The audience is the service's own address, for its tags too.
    """

    def __init__(self, audience: str, mint: Mint) -> None:
        self.failures = 0
        self._session = requests.Session()
        self._session.headers["User-Agent"] = AGENT
        self._session.auth = _Identity(audience, mint)
        # Once more where no connection could be opened; what may have been answered is never asked again.
        once = HTTPAdapter(max_retries=Retry(total=1, connect=1, read=False, redirect=0, status=0, other=0))
        self._session.mount("https://", once)
        self._session.mount("http://", once)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def get(self, url: str) -> Called:
        """Return what became of a GET; raises Spent, CloudFailed where no token is given."""
        return self._call("GET", url)

    def post(self, url: str, body: bytes, media_type: str = JSON) -> Called:
        """Return what became of a POST; raises Spent, CloudFailed where no token is given."""
        return self._call("POST", url, data=body, headers={"Content-Type": media_type})

    def _call(self, verb: str, url: str, **given: Any) -> Called:
        if self.failures >= MOST_FAILURES:
            raise Spent
        start = time.perf_counter()
        try:
            timeouts = (CONNECT_SECONDS, ANSWER_SECONDS)
            answer = self._session.request(verb, url, timeout=timeouts, allow_redirects=False, **given)
            called = Called(answer.status_code, answer.content, (time.perf_counter() - start) * 1000)
        except requests.RequestException as error:
            called = Called(0, type(error).__name__.encode(), (time.perf_counter() - start) * 1000)
        self.failures += called.failed
        return called


def minter(identity: str, credentials: Credentials) -> Mint:
    """Return what mints identity tokens of a service account, which the credentials must be allowed to."""

    def mint(audience: str) -> str:
        body = {"audience": audience, "includeEmail": True}
        try:
            with client("iamcredentials", credentials) as iam:
                accounts = iam.projects().serviceAccounts()
                name = f"projects/-/serviceAccounts/{identity}"
                token: str = accounts.generateIdToken(name=name, body=body).execute(num_retries=3)["token"]
        except (HttpError, GoogleAuthError, HttpLib2Error, HTTPException, OSError) as error:
            need = "it needs roles/iam.serviceAccountOpenIdTokenCreator on itself (infra/delivery.tf)"
            raise CloudFailed(f"No identity token is given to {identity}; {need}.", [_one_line(error)]) from error
        return token

    return mint


class _Identity(AuthBase):
    """Signs requests with a token that is renewed in time; as a requests' auth, no .netrc takes its place."""

    def __init__(self, audience: str, mint: Mint) -> None:
        self._audience = audience
        self._mint = mint
        self._token = ""
        self._until = 0.0

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if time.time() >= self._until - RENEW_SECONDS:
            self._token = self._mint(self._audience)
            claims: Mapping[str, Any] = jwt.decode(self._token, verify=False)  # type: ignore[no-untyped-call]
            self._until = float(claims["exp"])
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
