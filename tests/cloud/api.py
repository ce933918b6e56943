"""Google's own Python clients, pointed at a double: of any API by its description, and of Cloud Run over REST."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from google.auth.credentials import AnonymousCredentials, Credentials
from google.cloud import run_v2
from googleapiclient import discovery

from tests.cloud.double import CloudDouble
from tests.cloud.messages import AS

# What the address of an API has besides its name; only the oldest ones have something.
SERVICE_PATHS = {"bigquery": "bigquery/v2/", "storage": "v1/"}


def api_client(cloud: CloudDouble, name: str, version: str, account: str = "") -> Any:
    """Return a client of an API, the owner's or an account's; use it as a context, which ends its connections."""
    principal = f"{AS}{account}" if account else ""
    endpoint = f"{cloud.url}{principal}/{name}/{SERVICE_PATHS.get(name, '')}"
    options = {"api_endpoint": endpoint}
    return discovery.build(name, version, credentials=AnonymousCredentials(), client_options=options)


@contextlib.contextmanager
def run_client(cloud: CloudDouble, credentials: Credentials | None = None) -> Iterator[run_v2.ServicesClient]:
    """Give Cloud Run's client, the owner's without credentials.

    With a key, google-auth also asks an address of Google's in the background: see tripwire.GOOGLE_AUTH.
    """
    client = run_v2.ServicesClient(
        credentials=credentials or AnonymousCredentials(),
        transport="rest",
        client_options={"api_endpoint": f"{cloud.url}/run"},
    )
    with contextlib.closing(client.transport):
        yield client
