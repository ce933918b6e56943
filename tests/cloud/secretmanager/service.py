"""Secret Manager: secrets, and versions whose payload only access shows."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

import google_crc32c

from tests.cloud import access, resources
from tests.cloud.collection import Change, Collection, from_query
from tests.cloud.discovery import Call, Document
from tests.cloud.errors import denied, failed_precondition, invalid
from tests.cloud.project import Project, digest, now
from tests.cloud.schemas import Json
from tests.cloud.service import ResourceService

HOST = "secretmanager.googleapis.com"
SECRETS = "secretmanager.projects.secrets"
VERSIONS = "secretmanager.projects.secrets.versions"
ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
MOST_BYTES = 64 * 1024
# Where a version keeps its payload; never part of an answer but that of access.
PAYLOAD = "_payload"


def service(project: Project) -> ResourceService:
    """Return the API, served below /secretmanager."""
    document = Document.load("secretmanager", "v1", "/secretmanager")
    return ResourceService(project, document, (SECRET, VERSION), BEHAVIOUR)


def resolve(project: Project, name: str) -> Json | None:
    """Return a version by name; `latest` means the newest one. None where there is none."""
    name = project.canonical(name, HOST)
    if name.endswith("/latest"):
        prefix = name.removesuffix("latest")
        numbers = [int(known[len(prefix) :]) for known in project.resources(VERSIONS) if known.startswith(prefix)]
        name = f"{prefix}{max(numbers, default=0)}"
    return project.resources(VERSIONS).get(name)


def payload_for(project: Project, account: str, name: str) -> str:
    """Return what a version holds, by its full name, to an account that may access it.

    Raises CloudError: 403, 404, 400 where it is not enabled.
    """
    project.check_enabled(HOST)
    canonical = project.canonical(name, HOST)
    if not access.holds(project, account, "secretmanager.versions.access", f"//{HOST}/{canonical}"):
        raise denied(f"Permission 'secretmanager.versions.access' denied for resource '{name}' (or it may not exist).")
    version = _enabled(resolve(project, canonical) or resources.found(VERSION, project, canonical))
    return base64.b64decode(version[PAYLOAD]).decode("utf-8", "surrogateescape")


def _check(new: Json, change: Change) -> None:
    replication = new.get("replication") or {}
    if ("automatic" in replication) == ("userManaged" in replication):
        raise invalid("secret.replication: exactly one of automatic and user_managed must be set.")


def _numbered(new: Json, change: Change) -> Json:
    return {**new, "name": _with_number(change.name, change.project), "etag": f'"{new["etag"]}"'}


def _with_number(name: str, project: Project) -> str:
    return name.replace(f"projects/{project.id}/", f"projects/{project.number}/", 1)


def _add_version(project: Project, call: Call) -> Json:
    parent = resources.name_of(SECRET, project, call)
    payload = call.body.get("payload") or {}
    content = base64.b64decode(payload.get("data") or "")
    checksum = payload.get("dataCrc32c")
    if checksum is not None and int(checksum) != google_crc32c.value(content):
        raise invalid("The data's checksum does not match data_crc32c.")
    if len(content) > MOST_BYTES:
        raise invalid(f"The payload has more than {MOST_BYTES} bytes.")
    with project.lock:
        resources.found(SECRET, project, parent)
        count = sum(name.startswith(f"{parent}/versions/") for name in project.resources(VERSIONS))
        name = f"{parent}/versions/{count + 1}"
        version = {
            "name": _with_number(name, project),
            "createTime": now(),
            "state": "ENABLED",
            "replicationStatus": {"automatic": {}},
            "etag": f'"{digest(name, now())}"',
            PAYLOAD: payload.get("data") or "",
        }
        project.resources(VERSIONS)[name] = version
    return _shown(version)


def _get_version(project: Project, call: Call) -> Json:
    return _shown(_version(project, call))


def _access(project: Project, call: Call) -> Json:
    version = _enabled(_version(project, call))
    checksum = google_crc32c.value(base64.b64decode(version[PAYLOAD]))
    return {"name": version["name"], "payload": {"data": version[PAYLOAD], "dataCrc32c": str(checksum)}}


def _enabled(version: Json) -> Json:
    if version["state"] != "ENABLED":
        raise failed_precondition(f"Secret Version [{version['name']}] is in {version['state']} state.")
    return version


def _switch(state: str) -> Callable[[Project, Call], Json]:
    def answer(project: Project, call: Call) -> Json:
        with project.lock:
            version = _version(project, call)
            if version["state"] == "DESTROYED":
                raise failed_precondition(f"Secret Version [{version['name']}] is in DESTROYED state.")
            version["state"] = state
            if state == "DESTROYED":
                version |= {"destroyTime": now(), PAYLOAD: ""}
        return _shown(version)

    return answer


def _version(project: Project, call: Call) -> Json:
    name = resources.name_of(VERSION, project, call)
    return resolve(project, name) or resources.found(VERSION, project, name)


def _shown(version: Json) -> Json:
    return {name: value for name, value in version.items() if name != PAYLOAD}


SECRET = Collection(
    methods=SECRETS,
    new_id=from_query("secretId"),
    id_rule=ID,
    check=_check,
    complete=_numbered,
    fixed=frozenset({"replication"}),
)
VERSION = Collection(methods=VERSIONS, shown=_shown)
BEHAVIOUR = {
    f"{SECRETS}.addVersion": _add_version,
    f"{VERSIONS}.access": _access,
    f"{VERSIONS}.destroy": _switch("DESTROYED"),
    f"{VERSIONS}.disable": _switch("DISABLED"),
    f"{VERSIONS}.enable": _switch("ENABLED"),
    f"{VERSIONS}.get": _get_version,
}
