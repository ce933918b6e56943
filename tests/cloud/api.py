"""Google's own Python client of an API, built from its description and pointed at a double."""

from __future__ import annotations

from typing import Any

from google.auth.credentials import AnonymousCredentials
from googleapiclient import discovery

from tests.cloud.double import CloudDouble
from tests.cloud.messages import AS

# What the address of an API has besides its name; only the oldest ones have something.
SERVICE_PATHS = {"bigquery": "bigquery/v2/"}


def api_client(cloud: CloudDouble, name: str, version: str, account: str = "") -> Any:
    """Return a client of an API, the owner's or an account's; use it as a context, which ends its connections."""
    principal = f"{AS}{account}" if account else ""
    endpoint = f"{cloud.url}{principal}/{name}/{SERVICE_PATHS.get(name, '')}"
    options = {"api_endpoint": endpoint}
    return discovery.build(name, version, credentials=AnonymousCredentials(), client_options=options)
