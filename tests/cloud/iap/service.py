"""Identity-Aware Proxy: policies of Cloud Run services that it stands before."""

from __future__ import annotations

import re

from tests.cloud.discovery import Call, Document
from tests.cloud.errors import not_found, unimplemented
from tests.cloud.project import Project
from tests.cloud.run.service import SERVICES
from tests.cloud.schemas import Json
from tests.cloud.service import ResourceService, answer_policy

HOST = "iap.googleapis.com"
# What a caller needs to get through: https://cloud.google.com/iap/docs/managing-access
PASS = "iap.webServiceVersions.accessViaIAP"
RESOURCE = re.compile(r"(projects/[^/]+)/iap_web/cloud_run-([^/]+)/services/([^/]+)")


def service(project: Project) -> ResourceService:
    """Return the API, served below /iap."""
    return ResourceService(project, Document.load("iap", "v1", "/iap"), (), BEHAVIOUR)


def resource_of(service: str) -> str:
    """Return the full name of what stands before a service of Cloud Run."""
    project, location, name = service.split("/")[1::2]
    return f"//{HOST}/projects/{project}/iap_web/cloud_run-{location}/services/{name}"


def _policy(project: Project, call: Call) -> Json:
    name = project.canonical(call.name, call.document.host)
    found = RESOURCE.fullmatch(name)
    if not found:
        raise unimplemented(f"IAP policies of {name}")
    if f"{found[1]}/locations/{found[2]}/services/{found[3]}" not in project.resources(SERVICES):
        raise not_found(f"Resource '{name}' was not found.")
    return answer_policy(project, call, name)


BEHAVIOUR = {f"iap.{action}": _policy for action in ("getIamPolicy", "setIamPolicy", "testIamPermissions")}
