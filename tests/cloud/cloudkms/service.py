"""Cloud KMS: key rings, keys and their policies; nothing is encrypted here."""

from __future__ import annotations

import re

from tests.cloud import resources
from tests.cloud.collection import Change, Collection, from_query
from tests.cloud.discovery import Call, Document
from tests.cloud.errors import invalid
from tests.cloud.project import Project
from tests.cloud.schemas import Json
from tests.cloud.service import ResourceService

RINGS = "cloudkms.projects.locations.keyRings"
KEYS = "cloudkms.projects.locations.keyRings.cryptoKeys"
VERSIONS = "cloudkms.projects.locations.keyRings.cryptoKeys.cryptoKeyVersions"
ID = re.compile(r"[a-zA-Z0-9_-]{1,63}")
SYMMETRIC = {"algorithm": "GOOGLE_SYMMETRIC_ENCRYPTION", "protectionLevel": "SOFTWARE"}


def service(project: Project) -> ResourceService:
    """Return the API, served below /cloudkms."""
    document = Document.load("cloudkms", "v1", "/cloudkms")
    return ResourceService(project, document, (RING, KEY, VERSION), BEHAVIOUR)


def _check(new: Json, change: Change) -> None:
    if new.get("purpose", "CRYPTO_KEY_PURPOSE_UNSPECIFIED") == "CRYPTO_KEY_PURPOSE_UNSPECIFIED":
        raise invalid("The CryptoKey.purpose field must be set.")
    if bool(new.get("rotationPeriod")) != bool(new.get("nextRotationTime")):
        raise invalid("rotation_period and next_rotation_time must be set together.")


def _complete(new: Json, change: Change) -> Json:
    template = {**SYMMETRIC, **(new.get("versionTemplate") or {})}
    completed = {"destroyScheduledDuration": "2592000s", **new, "versionTemplate": template}
    if change.old is None:
        name, made = f"{change.name}/cryptoKeyVersions/1", change.moment
        version = {"name": name, "state": "ENABLED", "createTime": made, "generateTime": made, **template}
        change.project.resources(VERSIONS)[name] = version
        completed |= {"primary": version} if new["purpose"] == "ENCRYPT_DECRYPT" else {}
    return completed


def _destroy(project: Project, call: Call) -> Json:
    name = resources.name_of(VERSION, project, call)
    with project.lock:
        version = {**resources.found(VERSION, project, name), "state": "DESTROY_SCHEDULED"}
        project.resources(VERSIONS)[name] = version
    return version


RING = Collection(methods=RINGS, new_id=from_query("keyRingId"), id_rule=ID)
KEY = Collection(methods=KEYS, new_id=from_query("cryptoKeyId"), id_rule=ID, check=_check, complete=_complete)
VERSION = Collection(methods=VERSIONS, schema="CryptoKeyVersion")
BEHAVIOUR = {f"{VERSIONS}.destroy": _destroy}
