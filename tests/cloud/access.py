"""Who may do what: from the policies on a resource, on what it lies in, and on the project.

A request without a principal is the owner's, and everything is allowed to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from tests.cloud import conditions, roles
from tests.cloud.discovery import Call
from tests.cloud.errors import CloudError, denied
from tests.cloud.project import Project
from tests.cloud.schemas import Json

# Who shows no identity at all: only allUsers means it too.
ANONYMOUS = ""
STORAGE = "storage.googleapis.com"
PROJECTS = "cloudresourcemanager.googleapis.com"
CUSTOM_ROLES = "iam.projects.roles"
DATASETS = "bigquery.datasets"
# These are asked of what is above them: of the project, or of the resource that they are made in.
OF_PARENT = {"create", "insert", "list", "batchEnable", "query"}
# Who made a job may ask for it; whether others may is for the method to find out.
OPEN = {"bigquery.jobs.get", "bigquery.jobs.getQueryResults"}
# Where a request names the service account that will act: the caller needs iam.serviceAccounts.actAs on it.
ACTING = {
    "cloudbuild.projects.locations.triggers.create": ("serviceAccount",),
    "cloudbuild.projects.locations.triggers.patch": ("serviceAccount",),
    "cloudscheduler.projects.locations.jobs.create": ("httpTarget", "oidcToken", "serviceAccountEmail"),
    "pubsub.projects.subscriptions.create": ("pushConfig", "oidcToken", "serviceAccountEmail"),
    "run.projects.locations.services.create": ("template", "serviceAccount"),
    "run.projects.locations.services.patch": ("template", "serviceAccount"),
}
# The API that holds the policies, where it is another one.
POLICIES_OF = {"iamcredentials.googleapis.com": "iam.googleapis.com"}
TYPES = {"buckets": "Bucket", "objects": "Object", "secrets": "Secret", "services": "Service", "topics": "Topic"}
RESOURCE = re.compile(r"//([^/]+)/(.*)", re.DOTALL)
BASIC_GROUPS = {"projectEditor": "roles/editor", "projectOwner": "roles/owner", "projectViewer": "roles/viewer"}
DATASET_ROLES = {"OWNER": "dataOwner", "READER": "dataViewer", "WRITER": "dataEditor"}
SPECIAL_GROUPS = {"projectOwners": "projectOwner", "projectReaders": "projectViewer", "projectWriters": "projectEditor"}


def check(project: Project, call: Call, is_live: Callable[[str, str], bool]) -> None:
    """Refuse what the caller may not do; `is_live` tells whether a bucket has an object.

    Raises CloudError: 403.
    """
    caller = call.request.principal
    if caller is None:
        return
    for permission, resource in _needs(project, call, is_live):
        if not holds(project, caller, permission, resource):
            raise refusal(call, caller, permission, resource)
    account = _acting(project, call)
    if account and not holds(project, caller, "iam.serviceAccounts.actAs", account):
        email = account.rpartition("/")[2]
        message = f"Permission 'iam.serviceaccounts.actAs' denied on service account {email} (or it may not exist)."
        raise denied(message)


def holds(project: Project, principal: str | None, permission: str, resource: str) -> bool:
    """Tell whether a principal has a permission on a resource, for example `//pubsub.googleapis.com/projects/p`."""
    if principal is None:
        return True
    return any(
        _contains(project, binding["role"], permission)
        and _is_met(binding.get("condition"), resource)
        and any(_means(project, member, principal) for member in binding["members"])
        for policy in _policies(project, resource)
        for binding in policy["bindings"]
    )


def refusal(call: Call, caller: str, permission: str, resource: str) -> CloudError:
    """Return the refusal of what a caller may not do with a resource."""
    name = RESOURCE.fullmatch(resource)[2]  # type: ignore[index]
    if call.document.host == STORAGE:
        kind = "object" if "/objects/" in name else "bucket"
        text = f"{caller} does not have {permission} access to the Google Cloud Storage {kind}."
        return denied(f"{text} Permission '{permission}' denied on resource (or it may not exist).")
    return denied(f"Permission '{permission}' denied on resource '{name}' (or resource may not exist).")


def _needs(project: Project, call: Call, is_live: Callable[[str, str], bool]) -> Iterator[tuple[str, str]]:
    if call.method.id in OPEN:
        return
    permission = roles.permission(call.method)
    if call.document.host != STORAGE:
        name = project.canonical(call.name, call.document.host)
        above = name.rpartition("/")[0] if call.method.action in OF_PARENT else name
        yield permission, f"//{POLICIES_OF.get(call.document.host, call.document.host)}/{above}"
        return
    if "upload_id" in call.query:
        return  # the address of an upload under way is itself the permission to go on
    if permission.startswith("storage.buckets.") and "bucket" not in call.path:
        yield permission, f"//{PROJECTS}/projects/{project.id}"
        return
    if "sourceObject" in call.path:
        yield "storage.objects.get", _storage_name(call.path["sourceBucket"], call.path["sourceObject"])
    bucket = call.path.get("bucket") or call.path.get("destinationBucket")
    if bucket is None:
        yield permission, f"//{PROJECTS}/projects/{project.id}"
        return
    name = _object(call)
    yield permission, _storage_name(bucket, name)
    if permission == "storage.objects.create" and name and is_live(bucket, name):
        yield "storage.objects.delete", _storage_name(bucket, name)  # to overwrite is to delete


def _object(call: Call) -> str | None:
    """Return the object that a call is about: in its path, or in the parameters or body of an upload."""
    named = call.path.get("object") or call.path.get("destinationObject")
    if named or call.method.action != "insert":
        return named
    return call.query.get("name") or _described_name(call.request.body)


def _described_name(body: bytes) -> str | None:
    """Return the name in the JSON that an upload starts with, alone or as the first part of several."""
    start = body.find(b"{")
    try:
        described = json.JSONDecoder().raw_decode(body[start:].decode("utf-8", "replace"))[0] if start >= 0 else {}
    except (RecursionError, ValueError):
        return None
    name = described.get("name")
    return name if isinstance(name, str) else None


def _storage_name(bucket: str, name: str | None) -> str:
    return f"//{STORAGE}/projects/_/buckets/{bucket}" + (f"/objects/{name}" if name else "")


def _acting(project: Project, call: Call) -> str | None:
    """Return the account that a resource will act as, with what a patch leaves alone as it is."""
    path = ACTING.get(call.method.id)
    if path is None or (call.method.action == "patch" and path[0] not in call.body):
        return None
    value: Any = call.body
    if (mask := call.query.get("updateMask")) and not _names(mask, path):
        value = project.resources(call.method.id.rpartition(".")[0]).get(call.name)
    for field in path:
        value = (value or {}).get(field)
    if not value and call.document.host != "run.googleapis.com":
        return None
    email = (value or f"{project.number}-compute@developer.gserviceaccount.com").rpartition("/")[2]
    return f"//iam.googleapis.com/projects/{project.id}/serviceAccounts/{email}"


def _names(mask: str, path: tuple[str, ...]) -> bool:
    """Tell whether a mask names a field, or what it lies in; its words may be spelled in either way."""
    wanted = ".".join(path).lower()
    chosen = (one.replace("_", "").lower() for one in mask.split(","))
    return any(wanted == one or wanted.startswith(f"{one}.") for one in chosen)


def _policies(project: Project, resource: str) -> Iterator[Json]:
    """Yield the policy of a resource, then those of what it lies in, the project's last."""
    host, name = RESOURCE.fullmatch(resource).groups()  # type: ignore[union-attr]
    parts = name.split("/")
    # The name of an object may hold slashes; between bucket and object there is nothing that has a policy.
    # A budget belongs to the account that pays; who may read or edit its one project may do so with the budget, too.
    steps = (4,) if host == STORAGE else (2,) if parts[0] == "billingAccounts" else range(len(parts), 2, -1)
    for length in steps:
        above = "/".join(parts[:length])
        yield project.policies.get(f"//{host}/{above}", {"bindings": []})
        if host == "bigquery.googleapis.com" and above in project.resources(DATASETS):
            yield _dataset_policy(project, project.resources(DATASETS)[above])
    yield project.policies.get(f"//{PROJECTS}/projects/{project.id}", {"bindings": []})


def _dataset_policy(project: Project, dataset: Json) -> Json:
    """Return a dataset's access entries as the policy that they are."""
    bindings = []
    for entry in dataset["access"]:
        role = DATASET_ROLES.get(entry.get("role", ""))
        name = f"roles/bigquery.{role}" if role else entry.get("role", "")
        group = SPECIAL_GROUPS.get(entry.get("specialGroup", ""))
        member = f"{group}:{project.id}" if group else entry.get("iamMember") or f"user:{entry.get('userByEmail')}"
        bindings.append({"role": name, "members": [member]})
    return {"bindings": bindings}


def _contains(project: Project, role: str, permission: str) -> bool:
    custom = project.resources(CUSTOM_ROLES).get(role)
    if custom:
        return not custom.get("deleted") and permission in custom.get("includedPermissions", [])
    return role.startswith("roles/") and roles.contains(role, permission)  # of a view in a dataset it is none


def _means(project: Project, member: str, principal: str) -> bool:
    kind, _, name = member.partition(":")
    if kind in BASIC_GROUPS:
        policy = project.policies.get(f"//{PROJECTS}/projects/{project.id}", {"bindings": []})
        held = (one for one in policy["bindings"] if one["role"] == BASIC_GROUPS[kind])
        return any(_means(project, other, principal) for binding in held for other in binding["members"])
    if member == "allUsers" or principal == ANONYMOUS:
        return member == "allUsers"
    return member == "allAuthenticatedUsers" or (kind in ("serviceAccount", "user") and name == principal)


def _is_met(condition: Json | None, resource: str) -> bool:
    if not condition:
        return True
    host, name = RESOURCE.fullmatch(resource).groups()  # type: ignore[union-attr]
    parts = name.split("/")
    kind = parts[4] if host == STORAGE and len(parts) > 4 else parts[-2]
    attributes = {
        "resource.name": name,
        "resource.service": host,
        "resource.type": f"{host}/{TYPES.get(kind, kind)}",
        "request.time": datetime.now(UTC),
    }
    return conditions.holds(condition["expression"], attributes)
