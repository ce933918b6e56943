"""Signing in for a release: who acts as the release identity, who may not and why, and which faults pass."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import requests
from google.api_core.exceptions import from_http_status
from google.auth.exceptions import RefreshError, TransportError
from google.auth.transport.requests import AuthorizedSession
from googleapiclient.errors import HttpError
from httplib2 import Response, ServerNotFoundError

from lifecycle import google_apis
from lifecycle.errors import CloudFailed
from lifecycle.google_apis import client_options, explained, is_transient, release_credentials, signed_in
from tests.cloud import CloudDouble, oauth
from tests.cloud.api import api_client
from tests.cloud.project import project_number
from tests.cloud.tripwire import GOOGLE_AUTH, Tripwire
from tests.releasing import PLACE
from tests.server import ROOT

IDENTITY = PLACE.release_identity
PROJECT = f"projects/{PLACE.project}"
ROBOT = f"robot-account@{PLACE.project}.iam.gserviceaccount.com"
GENERATE = "iamcredentials.projects.serviceAccounts.generateAccessToken"
CREATOR, OPEN_ID = "roles/iam.serviceAccountTokenCreator", "roles/iam.serviceAccountOpenIdTokenCreator"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@pytest.fixture(scope="module")
def double() -> Iterator[CloudDouble]:
    """Give a cloud that clients find by themselves; nothing but loopback is reached."""
    with Tripwire() as tripwire, CloudDouble() as cloud, pytest.MonkeyPatch.context() as patched:
        for name, value in {**cloud.environment, **tripwire.environment}.items():
            patched.setenv(name, value)
        yield cloud
        assert tripwire.hosts <= GOOGLE_AUTH


@pytest.fixture
def cloud(double: CloudDouble, monkeypatch: pytest.MonkeyPatch) -> Iterator[CloudDouble]:
    """Give a project with a release identity and a robot, and no grants."""
    monkeypatch.setattr(google_apis, "FIRST_WAIT_SECONDS", 0.02)
    with api_client(double, "iam", "v1") as iam:
        accounts = iam.projects().serviceAccounts()
        for email in (IDENTITY, ROBOT):
            accounts.create(name=PROJECT, body={"accountId": email.partition("@")[0]}).execute()
        double.requests.clear()
        yield double
        double.faults.clear()
        for email in (IDENTITY, ROBOT):
            accounts.delete(name=f"{PROJECT}/serviceAccounts/{email}").execute()


def grant(cloud: CloudDouble, role: str, email: str = ROBOT) -> None:
    """Grant a role on the release identity to one account alone."""
    policy = {"bindings": [{"role": role, "members": [f"serviceAccount:{email}"]}]}
    done = httpx2.post(f"{cloud.url}/iam/v1/{PROJECT}/serviceAccounts/{IDENTITY}:setIamPolicy", json={"policy": policy})
    assert done.status_code == 200, done.text


@pytest.fixture
def robot(cloud: CloudDouble, monkeypatch: pytest.MonkeyPatch) -> CloudDouble:
    """Sign in with the robot's key."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(cloud.key_file(ROBOT)))
    return cloud


def caller(cloud: CloudDouble, credentials: Any) -> str | None:
    """Return who calls with these credentials."""
    with AuthorizedSession(credentials) as session:
        session.get(f"{cloud.url}/run/v2/{PROJECT}/locations/europe-west6/services")
    return cloud.requests.of("run.projects.locations.services.list")[-1].principal


def test_who_may_acts_as_the_release_identity(robot: CloudDouble) -> None:
    """One grant on that account is all it takes."""
    grant(robot, CREATOR)
    assert caller(robot, release_credentials(PLACE)) == IDENTITY
    assert signed_in() == ROBOT


def test_who_may_not_hears_which_grant_is_missing_on_which_account(robot: CloudDouble) -> None:
    """Before anything else is called: the role, the account and the variable that grants it."""
    with pytest.raises(CloudFailed) as refused:
        release_credentials(PLACE)
    assert refused.value.message == f"{ROBOT} may not act as {IDENTITY}: {CREATOR} on it is missing"
    said, remedy = refused.value.reasons
    assert said.startswith("Permission 'iam.serviceAccounts.getAccessToken' denied on resource")
    assert remedy == "name the member in `releasers` of infra/dev.tfvars, and apply it"


def test_an_environment_that_was_not_applied_has_no_identity(
    cloud: CloudDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may do everything hears that the account is not there yet."""
    other = PLACE._replace(prefix="other")
    with pytest.raises(CloudFailed, match="There is no release identity other-deliver@") as missing:
        release_credentials(other)
    assert missing.value.reasons[1] == "apply infra/ with infra/dev.tfvars first"


def test_the_release_identity_is_itself(cloud: CloudDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever signed in as it needs no grant, and asks nobody for another token."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(cloud.key_file(IDENTITY)))
    assert caller(cloud, release_credentials(PLACE)) == IDENTITY
    assert cloud.requests.of(GENERATE) == []


def test_nobody_signed_in_hears_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials, the error names the command that gives some."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    for name, value in {"HOME": tmp_path, "CLOUDSDK_CONFIG": tmp_path, "NO_GCE_CHECK": "true"}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(CloudFailed, match=r"Nobody has signed in .*: gcloud auth application-default login"):
        release_credentials(PLACE)
    assert signed_in()


def test_credentials_that_ended_are_said_so(
    robot: CloudDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Google takes the own token for none, one has to sign in again."""
    key = json.loads(robot.key_file(ROBOT).read_text())
    person = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    (tmp_path / "adc.json").write_text(
        json.dumps({**person, "token_uri": key["token_uri"], "account": "ann@example.com"})
    )
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "adc.json"))
    monkeypatch.setattr("google.auth._default._warn_about_problematic_credentials", lambda credentials: None)
    monkeypatch.setattr("google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT", key["token_uri"])
    with pytest.raises(CloudFailed, match=f"ann@example.com cannot act as {IDENTITY}") as ended:
        release_credentials(PLACE)
    assert ended.value.reasons[1] == "sign in again: gcloud auth application-default login"
    assert signed_in() == "ann@example.com"


@pytest.mark.parametrize("fault", ["429", "503", "reset", "reset_after_commit"])
def test_faults_that_pass_are_passed_over(fault: str, robot: CloudDouble) -> None:
    """A token is had, whatever happens to the first calls for it."""
    grant(robot, CREATOR)
    kind = {"kind": "status", "status": int(fault)} if fault.isdecimal() else {"kind": fault}
    robot.faults.add(method=GENERATE, times=2, **kind)
    assert caller(robot, release_credentials(PLACE)) == IDENTITY


def test_a_fault_that_stays_is_reported(robot: CloudDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the stated time, the error says what Google answered."""
    monkeypatch.setattr(google_apis, "PATIENCE_SECONDS", 0.3)
    robot.faults.add("status", method=GENERATE, status=503, times=None)
    with pytest.raises(CloudFailed, match=f"{ROBOT} cannot act as") as failed:
        release_credentials(PLACE)
    assert failed.value.reasons == ["The local double was told to answer 503."]


class Metadata(http.server.BaseHTTPRequestHandler):
    """Answers as the metadata server of a build does: whose machine it is, and with what token."""

    def do_GET(self) -> None:
        """Answer by the last part of the path; what is not known is empty."""
        account = {"email": IDENTITY, "aliases": ["default"], "scopes": [SCOPE]}
        token = {"access_token": oauth.access_token(IDENTITY), "expires_in": 3600, "token_type": "Bearer"}
        answers = {"token": token, "default": account, "universe-domain": "googleapis.com"}
        place = self.path.partition("?")[0].rstrip("/").rpartition("/")[2]
        answer = answers.get(place, "")
        body = answer if isinstance(answer, str) else json.dumps(answer)
        self.send_response(200)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", "application/text" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def metadata() -> Iterator[str]:
    """Return the address of a metadata server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_build_is_itself(cloud: CloudDouble, metadata: str, tmp_path: Path) -> None:
    """A machine tells whose it is only with its first token: a build of the release identity impersonates nobody."""
    script = (
        "from lifecycle.google_apis import release_credentials, signed_in\n"
        "from lifecycle.environment import Environment\n"
        f"print(release_credentials(Environment(*{tuple(PLACE)!r})).token is not None, signed_in())\n"
    )
    kept = {name: value for name, value in os.environ.items() if name != "GOOGLE_APPLICATION_CREDENTIALS"}
    here = {"GCE_METADATA_HOST": metadata, "GCE_METADATA_IP": metadata, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**kept, **here, "CLOUDSDK_CONFIG": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == f"True {IDENTITY}\n", done.stderr
    assert cloud.requests.of(GENERATE) == []


FAULTS = {
    "429": (from_http_status(429, "x"), True),
    "500": (from_http_status(500, "x"), True),
    "503": (from_http_status(503, "x"), True),
    "504": (from_http_status(504, "x"), True),
    "501": (from_http_status(501, "x"), False),
    "400": (from_http_status(400, "x"), False),
    "409": (from_http_status(409, "x"), False),
    "403-of-a-described-api": (HttpError(Response({"status": 403}), b""), False),
    "429-of-a-described-api": (HttpError(Response({"status": 429}), b""), True),
    "reset": (ConnectionResetError(), True),
    "no-answer": (requests.ReadTimeout(), True),
    "no-such-host": (ServerNotFoundError(), True),
    "a-token-503": (RefreshError("x", json.dumps({"error": {"code": 503}})), True),
    "a-token-403": (RefreshError("x", json.dumps({"error": {"code": 403}})), False),
    "a-token-and-no-reason": (RefreshError("x"), False),
    "a-token-and-no-json": (RefreshError("x", "<html>"), False),
    "a-bad-address": (requests.exceptions.InvalidURL(), False),
    "our-own": (KeyError("x"), False),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_passes_or_stays(fault: str) -> None:
    """What another call may find gone is tried again, and nothing else."""
    error, passes = FAULTS[fault]
    assert is_transient(error) is passes


def test_a_lost_connection_for_a_token_passes() -> None:
    """google-auth wraps what its transport raises."""
    try:
        raise TransportError("x") from requests.ConnectionError()
    except TransportError as error:
        assert is_transient(error)


@pytest.mark.parametrize(
    ("error", "message", "reasons"),
    [
        (
            from_http_status(403, "Permission 'run.services.get' denied on resource 'x' (or it may not exist)."),
            "Reading x failed: the permission run.services.get is missing",
            ["Permission 'run.services.get' denied on resource 'x' (or it may not exist).", "apply it"],
        ),
        (from_http_status(403, "No."), "Reading x failed: Google refused it", ["No.", "apply it"]),
        (from_http_status(400, "Bad\n  value."), "Reading x failed", ["Bad value."]),
        (ConnectionResetError(), "Reading x failed", ["ConnectionResetError"]),
    ],
    ids=["permission", "refused", "invalid", "reset"],
)
def test_what_failed_is_explained(error: Exception, message: str, reasons: list[str]) -> None:
    """The first line says what was being done and which permission it takes; then come Google's words."""
    with pytest.raises(CloudFailed) as failed, explained("Reading x", "apply it"):
        raise error
    assert (failed.value.message, failed.value.reasons) == (message, reasons)


def test_addresses_are_googles_own_unless_a_variable_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of Terraform's provider holds the address with its version; libraries add that themselves."""
    monkeypatch.delenv("GOOGLE_CLOUD_RUN_V2_CUSTOM_ENDPOINT", raising=False)
    assert client_options("run") == {}
    for value in ("http://127.0.0.1:1/run/v2/", "http://127.0.0.1:1/run/v2", "http://127.0.0.1:1/run/"):
        monkeypatch.setenv("GOOGLE_CLOUD_RUN_V2_CUSTOM_ENDPOINT", value)
        assert client_options("run") == {"api_endpoint": "http://127.0.0.1:1/run"}


def post(cloud: CloudDouble, action: str, body: dict[str, Any], account: str = "", name: str = "") -> httpx2.Response:
    """Ask the double for a token of the release identity."""
    who = f"/_as/{account}" if account else ""
    target = name or f"projects/-/serviceAccounts/{IDENTITY}"
    return httpx2.post(f"{cloud.url}{who}/iamcredentials/v1/{target}:{action}", json=body)


class TestDouble:
    """The double's IAM Service Account Credentials."""

    @pytest.mark.parametrize(("lifetime", "seconds"), [(None, 3600), ("600s", 600), ("3600s", 3600)])
    def test_an_access_token_is_the_accounts(self, lifetime: str | None, seconds: int, cloud: CloudDouble) -> None:
        """It lasts as long as was asked for, and calls with it are the account's."""
        answer = post(cloud, "generateAccessToken", {"scope": [SCOPE], **({"lifetime": lifetime} if lifetime else {})})
        token = answer.json()
        claims = oauth.claims_of(token["accessToken"])
        assert (claims["email"], claims["exp"] - claims["iat"]) == (IDENTITY, seconds)
        assert "." not in token["expireTime"]
        headers = {"Authorization": f"Bearer {token['accessToken']}"}
        refused = httpx2.get(f"{cloud.url}/run/v2/{PROJECT}/locations/europe-west6/services", headers=headers)
        assert refused.status_code == 403

    @pytest.mark.parametrize("with_email", [False, True])
    def test_an_identity_token_names_the_account(self, with_email: bool, cloud: CloudDouble) -> None:
        """By its number; its address is in it where that was asked for."""
        body = {"audience": "https://churn.example.com", "includeEmail": with_email}
        claims = oauth.claims_of(post(cloud, "generateIdToken", body).json()["token"])
        assert claims["aud"] == "https://churn.example.com"
        assert claims["sub"] == claims["azp"] != IDENTITY
        assert claims.get("email") == (IDENTITY if with_email else None)

    @pytest.mark.parametrize(
        ("role", "access", "identity"),
        [(None, 403, 403), (CREATOR, 200, 200), (OPEN_ID, 403, 200), ("roles/iam.serviceAccountUser", 403, 403)],
        ids=["nothing", "token-creator", "open-id-token-creator", "user"],
    )
    def test_a_role_on_the_account_gives_tokens(
        self, role: str | None, access: int, identity: int, cloud: CloudDouble
    ) -> None:
        """One role gives both kinds of tokens, one only identity tokens, and most give none."""
        if role:
            grant(cloud, role)
        assert post(cloud, "generateAccessToken", {"scope": [SCOPE]}, ROBOT).status_code == access
        assert post(cloud, "generateIdToken", {"audience": "x"}, ROBOT).status_code == identity

    def test_an_account_mints_none_of_its_own_without_a_grant(self, cloud: CloudDouble) -> None:
        """To be an account is not to have its tokens: it takes the role on itself."""
        assert post(cloud, "generateIdToken", {"audience": "x"}, IDENTITY).status_code == 403
        grant(cloud, OPEN_ID, IDENTITY)
        assert post(cloud, "generateIdToken", {"audience": "x"}, IDENTITY).status_code == 200

    @pytest.mark.parametrize(
        ("action", "body", "name", "status"),
        [
            ("generateAccessToken", {}, "", 400),
            ("generateAccessToken", {"scope": [SCOPE], "lifetime": "3601s"}, "", 400),
            ("generateAccessToken", {"scope": [SCOPE], "lifetime": "0s"}, "", 400),
            ("generateAccessToken", {"scope": [SCOPE], "delegates": ["projects/-/serviceAccounts/a@b"]}, "", 501),
            ("generateAccessToken", {"scope": [SCOPE]}, f"{PROJECT}/serviceAccounts/{IDENTITY}", 400),
            ("generateAccessToken", {"scope": [SCOPE]}, "projects/-/serviceAccounts/nobody@example.com", 404),
            ("generateAccessToken", {"scope": [SCOPE], "unknown": 1}, "", 400),
            ("generateIdToken", {}, "", 400),
            ("generateIdToken", {"audience": "x", "organizationNumberIncluded": True}, "", 501),
            ("signBlob", {"payload": "eA=="}, "", 501),
        ],
        ids=[
            "no-scope",
            "too-long",
            "no-time",
            "delegates",
            "project",
            "nobody",
            "unknown",
            "no-audience",
            "org",
            "sign",
        ],
    )
    def test_what_google_refuses_is_refused(
        self, action: str, body: dict[str, Any], name: str, status: int, cloud: CloudDouble
    ) -> None:
        """With Google's status, or 501 where the double cannot do it."""
        assert post(cloud, action, body, name=name).status_code == status

    def test_a_disabled_account_has_no_tokens(self, cloud: CloudDouble) -> None:
        """Not even for the owner."""
        httpx2.post(f"{cloud.url}/iam/v1/{PROJECT}/serviceAccounts/{IDENTITY}:disable", json={})
        refused = post(cloud, "generateAccessToken", {"scope": [SCOPE]})
        assert refused.json()["error"]["status"] == "FAILED_PRECONDITION"

    def test_a_projects_number_is_no_wildcard_either(self, cloud: CloudDouble) -> None:
        """Google takes the dash alone."""
        name = f"projects/{project_number(PLACE.project)}/serviceAccounts/{IDENTITY}"
        assert post(cloud, "generateIdToken", {"audience": "x"}, name=name).status_code == 400
