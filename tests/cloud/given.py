"""What a person has made before the first apply: the connection with the repository's host, the key, a right or two."""

from __future__ import annotations

from tests.cloud.api import api_client
from tests.cloud.double import CloudDouble

KMS = "cloudkms.googleapis.com"


def give_key(cloud: CloudDouble, name: str) -> None:
    """Make a key of Cloud KMS, by its full name."""
    cloud.state.enabled.add(KMS)
    ring, _, key = name.partition("/cryptoKeys/")
    location, _, ring_id = ring.partition("/keyRings/")
    with api_client(cloud, "cloudkms", "v1") as client:
        rings = client.projects().locations().keyRings()
        rings.create(parent=location, keyRingId=ring_id, body={}).execute()
        rings.cryptoKeys().create(parent=ring, cryptoKeyId=key, body={"purpose": "ENCRYPT_DECRYPT"}).execute()


def give_repository(cloud: CloudDouble, name: str) -> None:
    """Connect Cloud Build with a repository on GitHub, by its full name there."""
    cloud.state.enabled.add("cloudbuild.googleapis.com")
    connection, _, repository = name.partition("/repositories/")
    location, _, connection_id = connection.partition("/connections/")
    with api_client(cloud, "cloudbuild", "v2") as client:
        connections = client.projects().locations().connections()
        connections.create(parent=location, connectionId=connection_id, body={"githubConfig": {}}).execute()
        remote = {"remoteUri": f"https://github.com/example/{repository}.git"}
        connections.repositories().create(parent=connection, repositoryId=repository, body=remote).execute()
