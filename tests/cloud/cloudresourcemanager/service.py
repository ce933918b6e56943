"""Resource Manager: one project that exists from the start, and its IAM policy."""

from __future__ import annotations

from tests.cloud.discovery import Call, Document
from tests.cloud.errors import invalid
from tests.cloud.policies import PUBLIC
from tests.cloud.project import Project
from tests.cloud.schemas import Json
from tests.cloud.service import ResourceService, answer_policy

HOST = "cloudresourcemanager.googleapis.com"


def services(project: Project) -> list[ResourceService]:
    """Return both versions of the API, served below /cloudresourcemanager."""
    old, new = (Document.load("cloudresourcemanager", version, "/cloudresourcemanager") for version in ("v1", "v3"))
    return [ResourceService(project, old, (), BEHAVIOUR_V1), ResourceService(project, new, (), BEHAVIOUR_V3)]


def _get_v1(project: Project, call: Call) -> Json:
    project.canonical(call.name, HOST)
    return {
        "projectNumber": project.number,
        "projectId": project.id,
        "lifecycleState": "ACTIVE",
        "name": project.id,
        "createTime": project.created,
    }


def _get_v3(project: Project, call: Call) -> Json:
    project.canonical(call.name, HOST)
    return {
        "name": f"projects/{project.number}",
        "projectId": project.id,
        "state": "ACTIVE",
        "displayName": project.id,
        "createTime": project.created,
        "updateTime": project.created,
        "etag": 'W/"1"',
    }


def _policy(project: Project, call: Call) -> Json:
    name = project.canonical(call.name, HOST)
    for binding in (call.body.get("policy") or {}).get("bindings") or []:
        if PUBLIC.intersection(binding.get("members") or []):
            raise invalid("Policy members must not be allUsers or allAuthenticatedUsers on a project.")
    return answer_policy(project, call, name)


IAM = {
    f"cloudresourcemanager.projects.{action}": _policy
    for action in ("getIamPolicy", "setIamPolicy", "testIamPermissions")
}
BEHAVIOUR_V1 = {"cloudresourcemanager.projects.get": _get_v1, **IAM}
BEHAVIOUR_V3 = {"cloudresourcemanager.projects.get": _get_v3, **IAM}
