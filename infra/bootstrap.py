"""Makes what Terraform itself needs before it can make anything: the bucket of its state, and two APIs.

    python infra/bootstrap.py infra/dev.tfvars

Safe to repeat: what is there already is left as it is, unless the bucket is not as safe as it should be.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

import google.auth
import hcl2
from google.api_core.exceptions import Conflict, Forbidden, GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage
from lark.exceptions import LarkError
from requests import RequestException

# Terraform lists and switches on all others with these.
APIS = ("cloudresourcemanager.googleapis.com", "serviceusage.googleapis.com")
# The variable is the one that Terraform's provider reads.
SERVICE_USAGE = os.environ.get("GOOGLE_SERVICE_USAGE_CUSTOM_ENDPOINT", "https://serviceusage.googleapis.com/v1/")
NEEDED = ("project", "region", "state_bucket")
CANNOT_ENABLE = f"The APIs {', '.join(APIS)} cannot be switched on"
TIMEOUT_SECONDS = 60


class BootstrapError(Exception):
    """What cannot be done, and what to do about it."""


class Environment(NamedTuple):
    """What an environment's file says of the state."""

    project: str
    region: str
    state_bucket: str


def read_environment(path: Path) -> Environment:
    """Return what a .tfvars file says; raises BootstrapError that names what it lacks."""
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.tfvars"))) or "none yet"
        raise BootstrapError(f"There is no {path}; the environments are: {there}.")
    try:
        content = hcl2.loads(path.read_text(encoding="utf-8"))
    except (LarkError, UnicodeDecodeError) as error:
        raise BootstrapError(f"{path} is no file of variables: {str(error).partition(chr(10))[0]}") from None
    values = [_text(content.get(name)) for name in NEEDED]
    missing = [name for name, value in zip(NEEDED, values, strict=True) if not value]
    if missing:
        raise BootstrapError(f"{path} does not say {', '.join(missing)}.")
    return Environment(*values)


def enable_apis(environment: Environment) -> None:
    """Switch on the APIs that Terraform itself calls."""
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    with AuthorizedSession(credentials) as session:
        try:
            answer = session.post(
                f"{SERVICE_USAGE}projects/{environment.project}/services:batchEnable",
                json={"serviceIds": list(APIS)},
                headers={"X-Goog-User-Project": environment.project},
                timeout=TIMEOUT_SECONDS,
            )
        except RequestException as error:
            raise BootstrapError(f"{CANNOT_ENABLE}: {error}") from None
    if not answer.ok:
        raise BootstrapError(f"{CANNOT_ENABLE}: {_reason(answer)}")


def make_bucket(environment: Environment) -> str:
    """Make the bucket of the state, or make it as safe as it should be; return what was done, in words."""
    client = storage.Client(project=environment.project)
    try:
        bucket = client.bucket(environment.state_bucket)
    except ValueError as error:
        raise BootstrapError(f"No bucket can be called {environment.state_bucket}: {error}") from None
    if not bucket.exists():
        try:
            client.create_bucket(_safe(bucket), location=environment.region)
        except Conflict:
            text = f"The bucket {bucket.name} belongs to someone else: names are global, choose another state_bucket."
            raise BootstrapError(text) from None
        return "made"
    bucket.reload()
    if _is_safe(bucket):
        return "is there"
    _safe(bucket).patch()
    return "was there, now keeps versions and is closed to the public"


def _safe(bucket: storage.Bucket) -> storage.Bucket:
    bucket.versioning_enabled = True
    bucket.iam_configuration.uniform_bucket_level_access_enabled = True
    bucket.iam_configuration.public_access_prevention = "enforced"
    return bucket


def _is_safe(bucket: storage.Bucket) -> bool:
    access = bucket.iam_configuration
    closed = access.uniform_bucket_level_access_enabled and access.public_access_prevention == "enforced"
    return bool(bucket.versioning_enabled and closed)


def _text(value: object) -> str:
    """Return a value of a .tfvars file that is text, without its quotes; nothing for what is none."""
    return value.strip('"') if isinstance(value, str) else ""


def _reason(answer: object) -> str:
    try:
        return str(answer.json()["error"]["message"])  # type: ignore[attr-defined]
    except (ValueError, KeyError, TypeError):
        return str(answer)


def main(arguments: list[str]) -> int:
    """Bootstrap the environment whose file is named; return the exit code."""
    if len(arguments) != 1:
        print("usage: python infra/bootstrap.py infra/ENVIRONMENT.tfvars", file=sys.stderr)
        return 2
    try:
        environment = read_environment(Path(arguments[0]))
        enable_apis(environment)
        print(f"project {environment.project}: {' and '.join(APIS)} are on")
        print(f"gs://{environment.state_bucket}: {make_bucket(environment)}")
    except GoogleAuthError as error:
        print(f"{error}\nSign in with: gcloud auth application-default login", file=sys.stderr)
        return 1
    except Forbidden as error:
        print(f"{error.message}\nUse another state_bucket, or ask for access to this one.", file=sys.stderr)
        return 1
    except (BootstrapError, GoogleAPIError, RequestException) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
