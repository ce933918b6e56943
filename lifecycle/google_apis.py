"""Google's client libraries as the release identity, each at the address that its documented variable names."""

import os
from functools import cache
from typing import Any

import google.auth
from google.auth import impersonated_credentials
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError
from googleapiclient import discovery

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


def client_options(api: str) -> dict[str, str]:
    """Return the client options that name an API's address; none where it is Google's own."""
    variable, version = VARIABLES[api]
    address = os.environ.get(variable, "").rstrip("/").removesuffix(f"/{version}")
    return {"api_endpoint": address} if address else {}


def client(api: str, credentials: Credentials) -> Any:
    """Return a client made from an API's own description; use it as a context, which ends its connections."""
    _, version = VARIABLES[api]
    return discovery.build(
        api, version, credentials=credentials, client_options=client_options(api), static_discovery=True
    )


def release_credentials(environment: Environment) -> Credentials:
    """Return the credentials of the release identity: one's own in a build, by impersonation on a laptop.

    Raises CloudFailed where nobody has signed in.
    """
    credentials = _own_credentials()
    identity = environment.release_identity
    if getattr(credentials, "service_account_email", "") == identity:
        return credentials
    address = client_options("iamcredentials").get("api_endpoint")
    override = f"{address}/v1/projects/-/serviceAccounts/{identity}:generateAccessToken" if address else None
    impersonated: Credentials = impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
        source_credentials=credentials,
        target_principal=identity,
        target_scopes=list(SCOPES),
        iam_endpoint_override=override,
    )
    return impersonated


@cache
def _own_credentials() -> Credentials:
    try:
        credentials: Credentials = google.auth.default(scopes=list(SCOPES))[0]
    except GoogleAuthError as error:
        text = "Nobody has signed in to Google Cloud here: gcloud auth application-default login"
        raise CloudFailed(text, [" ".join(str(error).split())]) from error
    return credentials
