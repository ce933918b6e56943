"""Signing in to the double as Google's own libraries do: key files, tokens, and what happens without grants."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import google.auth
import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.api_core import exceptions as google_errors
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import run_v2, storage
from google.oauth2 import service_account

from tests.cloud import CloudDouble, api, oauth
from tests.cloud.tripwire import GOOGLE_AUTH, Tripwire

PROJECT = "projects/local-project"
REGION = f"{PROJECT}/locations/europe-west6"
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
HELLO = "us-docker.pkg.dev/cloudrun/container/hello"
ROBOT = "robot-account@local-project.iam.gserviceaccount.com"
# Nobody listens there: who asks it for a token fails.
NOWHERE = "http://127.0.0.1:9/token"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudDouble]:
    """Give a project with a bucket and a service account that was granted nothing; nothing else is reached."""
    with Tripwire() as tripwire, CloudDouble(buckets=["models"]) as double:
        for name, value in tripwire.environment.items():
            monkeypatch.setenv(name, value)
        body = {"accountId": ROBOT.partition("@")[0]}
        assert httpx2.post(f"{double.url}/iam/v1/{PROJECT}/serviceAccounts", json=body).status_code == 200
        yield double
        assert tripwire.hosts <= GOOGLE_AUTH


@pytest.fixture
def key(cloud: CloudDouble) -> dict[str, str]:
    """Give the account's key."""
    content: dict[str, str] = json.loads(cloud.key_file(ROBOT).read_text())
    return content


@pytest.fixture
def stolen(key: dict[str, str]) -> dict[str, str]:
    """Give a key that names the account, but which somebody else made."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {**key, "private_key": pem}


@pytest.fixture
def service(cloud: CloudDouble) -> str:
    """Give the address of a private service."""
    body = {"template": {"containers": [{"image": HELLO}]}}
    made = httpx2.post(f"{cloud.url}/run/v2/{REGION}/services?serviceId=hello", json=body).json()
    return str(made["response"]["uri"])


@pytest.fixture
def run_client(cloud: CloudDouble) -> Iterator[Callable[[dict[str, str]], run_v2.ServicesClient]]:
    """Give what makes Cloud Run's client with a key; it signs its requests itself."""
    with contextlib.ExitStack() as stack:

        def make(content: dict[str, str]) -> run_v2.ServicesClient:
            credentials = service_account.Credentials.from_service_account_info({**content, "token_uri": NOWHERE})
            return stack.enter_context(api.run_client(cloud, credentials))

        yield make


def grant(cloud: CloudDouble, path: str, role: str) -> None:
    """Grant a role on a resource to the account alone."""
    policy = {"bindings": [{"role": role, "members": [f"serviceAccount:{ROBOT}"]}]}
    done = httpx2.post(f"{cloud.url}{path}:setIamPolicy", json={"policy": policy})
    assert done.status_code == 200, done.text


def signed_in(content: dict[str, str]) -> Any:
    """Return credentials with an access token that a key gave."""
    credentials = service_account.Credentials.from_service_account_info(content, scopes=SCOPES)
    credentials.refresh(Request())
    return credentials


def test_a_key_gives_an_access_token(cloud: CloudDouble, key: dict[str, str]) -> None:
    """Requests with it are the account's, which may nothing at first and what it was granted later."""
    client = storage.Client("local-project", signed_in(key), client_options={"api_endpoint": cloud.url})
    with pytest.raises(google_errors.Forbidden, match=r"robot-account@.* does not have storage\.objects\.list access"):
        list(client.list_blobs("models"))
    grant(cloud, f"/cloudresourcemanager/v1/{PROJECT}", "roles/storage.objectViewer")
    assert list(client.list_blobs("models")) == []
    client.close()
    assert [entry.principal for entry in cloud.requests.of("storage.objects.list")] == [ROBOT, ROBOT]


def test_the_environment_signs_in_as_the_owner(cloud: CloudDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Default credentials are found without a network, and everything is allowed to them."""
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    credentials, project = google.auth.default(scopes=SCOPES)
    assert project == "local-project"
    with AuthorizedSession(credentials) as session:
        assert session.get(f"{cloud.url}/run/v2/{REGION}/services").status_code == 200
    (entry,) = cloud.requests.of("run.projects.locations.services.list")
    sent = {name.lower(): value for name, value in entry.headers.items()}
    assert oauth.claims_of(sent["authorization"].removeprefix("Bearer "))["email"] == oauth.OWNER
    assert entry.principal is None


def test_a_key_gives_an_identity_token_for_an_audience(cloud: CloudDouble, service: str) -> None:
    """With it the account calls a service that it may invoke; a token for another service is not believed."""

    def call(audience: str) -> int:
        credentials = service_account.IDTokenCredentials.from_service_account_file(
            str(cloud.key_file(ROBOT)), target_audience=audience
        )
        with AuthorizedSession(credentials) as session:
            return int(session.get(service).status_code)

    assert call(service) == 403
    grant(cloud, f"/run/v2/{REGION}/services/hello", "roles/run.invoker")
    assert call(service) == 200
    assert call("https://other.example.com") == 401


def test_a_client_may_sign_its_requests_itself(
    cloud: CloudDouble, key: dict[str, str], run_client: Callable[[dict[str, str]], run_v2.ServicesClient]
) -> None:
    """Cloud Run's client asks nobody for a token; its requests are the account's all the same."""
    client = run_client(key)
    with pytest.raises(google_errors.Forbidden, match=r"Permission 'run\.services\.list' denied"):
        client.list_services(parent=REGION)
    grant(cloud, f"/cloudresourcemanager/v1/{PROJECT}", "roles/run.viewer")
    assert list(client.list_services(parent=REGION)) == []
    asked = cloud.requests.of("run.projects.locations.services.list")
    assert [entry.principal for entry in asked] == [ROBOT, ROBOT]


def test_a_wrong_signature_gives_no_token(cloud: CloudDouble, stolen: dict[str, str], service: str) -> None:
    """Whoever has not the account's key gets neither kind of token."""
    with pytest.raises(RefreshError, match="invalid_grant"):
        signed_in(stolen)
    credentials = service_account.IDTokenCredentials.from_service_account_info(stolen, target_audience=service)
    with pytest.raises(RefreshError, match="invalid_grant"):
        credentials.refresh(Request())


def test_a_wrong_signature_is_refused_by_an_api(
    cloud: CloudDouble, stolen: dict[str, str], run_client: Callable[[dict[str, str]], run_v2.ServicesClient]
) -> None:
    """A request that somebody else signed is 401, whatever the account may, and nothing is done."""
    grant(cloud, f"/cloudresourcemanager/v1/{PROJECT}", "roles/run.admin")
    with pytest.raises(google_errors.Unauthorized, match="invalid authentication credentials"):
        run_client(stolen).list_services(parent=REGION)


def test_an_old_token_is_refused(cloud: CloudDouble) -> None:
    """After its hour a token is 401 for every API, in the shape of each."""
    headers = {"Authorization": f"Bearer {oauth.identity_token(oauth.OWNER, oauth.ISSUER, -1)}"}
    newer = httpx2.get(f"{cloud.url}/run/v2/{REGION}/services", headers=headers)
    assert (newer.status_code, newer.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert 'error="invalid_token"' in newer.headers["www-authenticate"]
    older = httpx2.get(f"{cloud.url}/storage/v1/b/models", headers=headers)
    assert (older.status_code, older.json()["error"]["errors"][0]["reason"]) == (401, "authError")


@pytest.mark.parametrize(
    "claims",
    [
        {"email": ROBOT, "exp": "9999999999"},
        {"email": ROBOT, "exp": None},
        {"email": ROBOT, "exp": [1]},
        {"email": ROBOT},
        {"email": [ROBOT], "exp": 9999999999},
        {"iss": [ROBOT], "exp": 9999999999},
    ],
    ids=["text", "null", "list", "no-expiry", "email-list", "issuer-list"],
)
def test_a_malformed_token_is_refused(claims: dict[str, Any], cloud: CloudDouble) -> None:
    """A token whose claims have not the types that they must have is 401, whoever it names."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in ({"alg": "none"}, claims)]
    headers = {"Authorization": f"Bearer {'.'.join([*parts, 'bG9jYWw'])}"}
    refused = httpx2.get(f"{cloud.url}/run/v2/{REGION}/services", headers=headers)
    assert (refused.status_code, refused.json()["error"]["status"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"grant_type": "password"},
        {"grant_type": oauth.GRANT},
        {"grant_type": oauth.GRANT, "assertion": "a.b.c"},
        {"grant_type": oauth.GRANT, "assertion": oauth.identity_token(ROBOT, "x")},
    ],
    ids=["nothing", "password", "no-assertion", "no-token", "unsigned"],
)
def test_what_is_no_assertion_gives_no_token(form: dict[str, str], cloud: CloudDouble) -> None:
    """Every other request for a token is refused as Google's endpoint refuses it."""
    refused = httpx2.post(f"{cloud.url}{oauth.PATH}", data=form)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


def test_an_account_without_grants_may_nothing(cloud: CloudDouble, key: dict[str, str]) -> None:
    """The bucket's metadata, its objects and new ones are closed; not even what is not there is told apart."""
    client = storage.Client("local-project", signed_in(key), client_options={"api_endpoint": cloud.url})
    cloud.storage.write("models", "a", b"x")
    for act in (
        lambda: client.get_bucket("models"),
        lambda: client.bucket("models").blob("a").download_as_bytes(),
        lambda: client.bucket("models").blob("b").upload_from_string("b"),
        lambda: client.bucket("models").blob("none").download_as_bytes(),
    ):
        with pytest.raises(google_errors.Forbidden, match="Permission 'storage"):
            act()
    client.close()
