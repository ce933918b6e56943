"""IAM policies: reading, compare-and-set and the rules for bindings, the same for whatever carries one."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping

from tests.cloud import conditions, roles
from tests.cloud.discovery import Call
from tests.cloud.errors import aborted, invalid
from tests.cloud.project import Project, digest
from tests.cloud.schemas import Json

PREDEFINED = re.compile(r"roles/[A-Za-z0-9_.]+")
CUSTOM = re.compile(r"(projects|organizations)/([^/]+)/roles/[A-Za-z0-9_.]+")
PRINCIPAL = re.compile(
    r"allUsers|allAuthenticatedUsers"
    r"|(deleted:)?(user|serviceAccount|group):[^@\s]+@[^@\s]+|domain:[^@\s]+"
    r"|project(Owner|Editor|Viewer):[^\s]+|principal(Set)?://[^\s]+"
)
PUBLIC = {"allUsers", "allAuthenticatedUsers"}
EMPTY: Json = {"version": 1, "bindings": []}
# Service agents that a project has only after something needed them; others come with their API.
LATE_AGENTS = ("gcp-sa-monitoring-notification", "gs-project-accounts")
SERVICE_ACCOUNTS = "iam.projects.serviceAccounts"
ROLES = "iam.projects.roles"


def get(project: Project, call: Call, resource: str) -> Json:
    """Answer getIamPolicy; a policy with conditions looks older to who does not ask for version 3."""
    policy = project.policies.get(resource, EMPTY)
    return shown(policy, _asked_version(call))


def put(project: Project, call: Call, resource: str) -> Json:
    """Answer setIamPolicy; an etag that is given must be the present one.

    Raises CloudError: 400 for a binding that no policy can have, 409 ABORTED for an older etag, 501 for a role that is
    not known here.
    """
    asked = call.body.get("policy") or {}
    if asked.get("etag") not in (None, "", etag(project.policies.get(resource, EMPTY))):
        message = "There were concurrent policy changes. Please retry the whole read-modify-write with exponential"
        raise aborted(f"{message} backoff. The request's ETag did not match the current policy's ETag.")
    project.policies[resource] = checked(project, asked)
    return shown(project.policies[resource], 3)


def test(call: Call, allows: Callable[[str], bool]) -> Json:
    """Answer testIamPermissions: those of the permissions asked for that the caller has."""
    asked = call.body.get("permissions") or call.query.get("permissions") or []
    held = [permission for permission in asked if allows(permission)]
    return {"permissions": held} if held else {}


def checked(project: Project, asked: Json) -> Json:
    """Return a policy as it is kept.

    Raises CloudError: 400 for a role, member or condition that no policy can have, 501 for a role not known here.
    """
    version = asked.get("version") or 1
    bindings = [binding for binding in asked.get("bindings") or [] if binding.get("members")]
    for binding in bindings:
        _check(project, binding, version)
    kept = [{name: value for name, value in binding.items() if value} for binding in bindings]
    return {"version": version, "bindings": kept}


def shown(policy: Json, asked_version: int = 3) -> Json:
    """Return a policy as the API answers it."""
    is_conditional = any(binding.get("condition") for binding in policy["bindings"])
    if is_conditional and asked_version < 3:
        bindings = [_unconditional(binding) for binding in policy["bindings"]]
        return {"version": 1, "etag": etag(policy), "bindings": bindings}
    bindings = policy["bindings"]
    return {"version": 3 if is_conditional else 1, "etag": etag(policy), **({"bindings": bindings} if bindings else {})}


def etag(policy: Json) -> str:
    """Return the entity tag of a policy; that of an empty one is Google's own constant."""
    return base64.b64encode(digest(policy["bindings"])[:8].encode()).decode() if policy["bindings"] else "ACAB"


def _unconditional(binding: Json) -> Json:
    """Return a binding as who does not know of conditions sees it: with another role's name."""
    if not binding.get("condition"):
        return binding
    return {"role": f"{binding['role']}_withcond_{digest(binding['condition'])}", "members": binding["members"]}


def _asked_version(call: Call) -> int:
    options = call.body.get("options") or {}
    version = call.query.get("options.requestedPolicyVersion") or options.get("requestedPolicyVersion") or 1
    return int(version)


def _check(project: Project, binding: Json, version: int) -> None:
    _check_role(project, binding.get("role") or "")
    for member in binding["members"]:
        if not PRINCIPAL.fullmatch(member):
            raise invalid(
                f"Invalid argument: The member {member} is of an unknown type. Please set a valid type prefix."
            )
        _check_member(project, member)
    if binding.get("condition") and version != 3:
        raise invalid("A policy with conditional role bindings must specify version 3.")
    if binding.get("condition"):
        conditions.check(binding["condition"].get("expression") or "")
    if binding.get("condition") and PUBLIC.intersection(binding["members"]):
        raise invalid("Conditions can't be set on public principals.")


def _check_role(project: Project, role: str) -> None:
    custom = CUSTOM.fullmatch(role)
    if custom and custom[2] == project.id and role not in project.resources(ROLES):
        raise invalid(f"Role ({role}) does not exist in the resource's hierarchy.")
    if not custom and not PREDEFINED.fullmatch(role):
        raise invalid(f"Role {role} is not supported for this resource.")
    if not custom:
        roles.check(role)


def _check_member(project: Project, member: str) -> None:
    kind, _, email = member.partition(":")
    if kind == "serviceAccount" and email in map(project.agent, LATE_AGENTS) and email not in project.agents:
        raise invalid(f"Service account {email} does not exist.")
    if kind != "serviceAccount" or not email.endswith(f"@{project.id}.iam.gserviceaccount.com"):
        return
    if f"projects/{project.id}/serviceAccounts/{email}" not in project.resources(SERVICE_ACCOUNTS):
        raise invalid(f"Service account {email} does not exist.")


BEHAVIOUR: Mapping[str, Callable[[Project, Call, str], Json]] = {"getIamPolicy": get, "setIamPolicy": put}
