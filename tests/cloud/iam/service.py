"""IAM: service accounts and the project's custom roles."""

from __future__ import annotations

import re

from tests.cloud import resources
from tests.cloud.collection import Change, Collection, from_body
from tests.cloud.discovery import Call, Document
from tests.cloud.errors import failed_precondition, invalid
from tests.cloud.policies import ROLES as CUSTOM_ROLES
from tests.cloud.policies import SERVICE_ACCOUNTS
from tests.cloud.project import Project, digest, now
from tests.cloud.schemas import Json
from tests.cloud.service import Behaviour, ResourceService

# https://cloud.google.com/iam/docs/service-accounts-create: 6 to 30 characters.
ACCOUNT_ID = re.compile(r"[a-z]([-a-z0-9]{4,28}[a-z0-9])")
ROLE_ID = re.compile(r"[a-zA-Z0-9_.]{3,64}")
PERMISSION = re.compile(r"[a-z][a-z0-9]*(\.[A-Za-z0-9]+){2}")
MOST_DISPLAY_NAME, MOST_DESCRIPTION = 100, 256


def service(project: Project) -> ResourceService:
    """Return the API, served below /iam."""
    return ResourceService(project, Document.load("iam", "v1", "/iam"), (ACCOUNTS, ROLES), BEHAVIOUR)


def _check_account(new: Json, change: Change) -> None:
    if len(new.get("displayName") or "") > MOST_DISPLAY_NAME:
        raise invalid(f"The display name has more than {MOST_DISPLAY_NAME} characters.")
    if len(new.get("description") or "") > MOST_DESCRIPTION:
        raise invalid(f"The description has more than {MOST_DESCRIPTION} characters.")


def _complete_account(new: Json, change: Change) -> Json:
    email = change.id
    return {
        **new,
        "projectId": change.project.id,
        "email": email,
        "uniqueId": (change.old or {}).get("uniqueId") or _unique_number(email, change.moment),
        "oauth2ClientId": (change.old or {}).get("oauth2ClientId") or _unique_number(email, change.moment),
    }


def _unique_number(*values: str) -> str:
    return str(10**20 + int(digest(*values), 16) % 10**20)


def _account_id(call: Call) -> str:
    return call.body.get("accountId") or ""


def _email_of_new(call: Call) -> str:
    identity = _account_id(call)
    if not ACCOUNT_ID.fullmatch(identity):
        raise invalid(
            f"Service account id '{identity}' has a wrong form: 6 to 30 lower-case letters, digits and hyphens, "
            f"the first a letter, the last no hyphen."
        )
    project = call.name.removeprefix("projects/").partition("/")[0]
    return f"{identity}@{project}.iam.gserviceaccount.com"


def _account_body(call: Call) -> Json:
    asked = call.body.get("serviceAccount")
    return (asked or {}) if call.method.action in ("create", "patch") else call.body


def _forget(change: Change) -> None:
    """Mark a deleted account in every policy, so that a new one of the same name inherits nothing."""
    member, gone = (
        f"serviceAccount:{change.id}",
        f"deleted:serviceAccount:{change.id}?uid={(change.old or {})['uniqueId']}",
    )
    with change.project.lock:
        for policy in change.project.policies.values():
            for binding in policy["bindings"]:
                binding["members"] = [gone if known == member else known for known in binding["members"]]


def _switch(is_disabled: bool) -> Behaviour:
    def answer(project: Project, call: Call) -> Json:
        name = resources.name_of(ACCOUNTS, project, call)
        with project.lock:
            account = resources.found(ACCOUNTS, project, name)
            project.resources(SERVICE_ACCOUNTS)[name] = {**account, "disabled": is_disabled}
        return {}

    return answer


def _role_body(call: Call) -> Json:
    return (call.body.get("role") or {}) if call.method.action == "create" else call.body


def _check_role(new: Json, change: Change) -> None:
    for permission in new.get("includedPermissions") or []:
        if not PERMISSION.fullmatch(permission):
            raise invalid(f"Permission {permission} is not valid.")


def _delete_role(project: Project, call: Call) -> Json:
    """Mark a custom role as deleted: its id stays taken for a week, and undelete brings it back."""
    name = resources.name_of(ROLES, project, call)
    with project.lock:
        role = resources.found(ROLES, project, name)
        if role.get("deleted"):
            raise failed_precondition(f"The role {name} is already deleted.")
        project.resources(CUSTOM_ROLES)[name] = {**role, "deleted": True, "etag": digest(name, now())}
        return project.resources(CUSTOM_ROLES)[name]


def _undelete_role(project: Project, call: Call) -> Json:
    name = resources.name_of(ROLES, project, call)
    with project.lock:
        role = resources.found(ROLES, project, name)
        project.resources(CUSTOM_ROLES)[name] = {field: value for field, value in role.items() if field != "deleted"}
        return project.resources(CUSTOM_ROLES)[name]


def _list_roles(project: Project, call: Call) -> Json:
    answer = resources.list_resources(ROLES, project, call)
    shown = [role for role in answer.get("roles", []) if call.query.get("showDeleted") or not role.get("deleted")]
    return {**answer, "roles": shown}


ACCOUNTS = Collection(
    methods=SERVICE_ACCOUNTS,
    new_id=_email_of_new,
    complete=_complete_account,
    check=_check_account,
    after_delete=_forget,
    body=_account_body,
    mask=lambda call: call.body.get("updateMask"),
    schema="ServiceAccount",
    output_only=frozenset({"projectId"}),
)
ROLES = Collection(
    methods=CUSTOM_ROLES,
    new_id=from_body("roleId"),
    id_rule=ROLE_ID,
    check=_check_role,
    body=_role_body,
    schema="Role",
    output_only=frozenset({"deleted"}),
)
BEHAVIOUR = {
    "iam.projects.roles.delete": _delete_role,
    "iam.projects.roles.list": _list_roles,
    "iam.projects.roles.undelete": _undelete_role,
    "iam.projects.serviceAccounts.disable": _switch(True),
    "iam.projects.serviceAccounts.enable": _switch(False),
}
