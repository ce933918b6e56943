"""IAM Service Account Credentials: access tokens and identity tokens of an account, for who may have them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from tests.cloud import oauth
from tests.cloud.discovery import Call, Document
from tests.cloud.errors import failed_precondition, invalid, not_found, unimplemented
from tests.cloud.instants import read_duration
from tests.cloud.policies import SERVICE_ACCOUNTS
from tests.cloud.project import Project
from tests.cloud.schemas import Json
from tests.cloud.service import ResourceService

# https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts
NAME = re.compile(r"projects/-/serviceAccounts/[^/]+")
DEFAULT_LIFETIME, MOST_SECONDS = "3600s", 3600


def service(project: Project) -> ResourceService:
    """Return the API, served below /iamcredentials."""
    document = Document.load("iamcredentials", "v1", "/iamcredentials")
    return ResourceService(project, document, behaviour=BEHAVIOUR)


def _access_token(project: Project, call: Call) -> Json:
    email = _account(project, call)["email"]
    if not call.body.get("scope"):
        raise invalid("The scope must be provided.")
    seconds = int(read_duration(call.body.get("lifetime") or DEFAULT_LIFETIME))
    if not 0 < seconds <= MOST_SECONDS:
        raise invalid(f"The lifetime must be above 0s and at most {MOST_SECONDS}s, found: {seconds}s")
    expires = datetime.now(UTC) + timedelta(seconds=seconds)
    # Without fractions of a second, which google-auth could not read.
    return {"accessToken": oauth.access_token(email, seconds), "expireTime": f"{expires:%Y-%m-%dT%H:%M:%SZ}"}


def _identity_token(project: Project, call: Call) -> Json:
    """Return a token that names the account by its number, and by its address only where that is asked for."""
    account = _account(project, call)
    if not call.body.get("audience"):
        raise invalid("The audience must be provided.")
    if call.body.get("organizationNumberIncluded"):
        raise unimplemented("organizationNumberIncluded: the project is in no organization")
    email = account["email"] if call.body.get("includeEmail") else None
    return {"token": oauth.identity_token(email, call.body["audience"], number=account["uniqueId"])}


def _account(project: Project, call: Call) -> Json:
    if not NAME.fullmatch(call.name):
        raise invalid(f"The name must be projects/-/serviceAccounts/EMAIL, found: {call.name}")
    if call.body.get("delegates"):
        raise unimplemented("chains of delegates")
    account = project.get(SERVICE_ACCOUNTS, project.canonical(call.name, call.document.host))
    if account is None:
        raise not_found(f"Not found; Gaia id not found for email {call.name.rpartition('/')[2]}")
    if account.get("disabled"):
        raise failed_precondition(f"The service account {account['email']} is disabled.")
    return account


BEHAVIOUR = {
    "iamcredentials.projects.serviceAccounts.generateAccessToken": _access_token,
    "iamcredentials.projects.serviceAccounts.generateIdToken": _identity_token,
}
