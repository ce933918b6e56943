"""Cloud Run's Admin API: what may be asked of services and revisions; CloudRun makes it true."""

from __future__ import annotations

import re

from tests.cloud import operations, pages
from tests.cloud.collection import Change, Collection, from_query
from tests.cloud.discovery import Call, Document
from tests.cloud.errors import denied, not_found, unimplemented
from tests.cloud.policies import SERVICE_ACCOUNTS
from tests.cloud.project import Project
from tests.cloud.run import template, traffic
from tests.cloud.run.cloud_run import CloudRun
from tests.cloud.run.conditions import operation_error
from tests.cloud.run.specs import read_template
from tests.cloud.schemas import Json
from tests.cloud.service import Behaviour, ResourceService

SERVICES = "run.projects.locations.services"
REVISIONS = "run.projects.locations.services.revisions"
ID = re.compile(r"[a-z]([-a-z0-9]{0,47}[a-z0-9])?")


def service(project: Project, cloud_run: CloudRun) -> ResourceService:
    """Return the API, served below /run."""
    document = Document.load("run", "v2", "/run")
    return ResourceService(project, document, (_services(cloud_run),), _revisions(cloud_run))


def _services(cloud_run: CloudRun) -> Collection:
    return Collection(
        methods=SERVICES,
        new_id=from_query("serviceId"),
        id_rule=ID,
        check=_check,
        complete=_complete,
        effect=lambda service, change: {**service, **cloud_run.deploy(service, forced=_is_forced(change))},
        after_delete=lambda change: cloud_run.remove(change.name),
        failure=lambda service: operation_error(service["terminalCondition"]),
        farewell=lambda change: {**(change.old or {}), "deleteTime": change.moment},
        proto="google.cloud.run.v2.Service",
    )


def _check(new: Json, change: Change) -> None:
    template.check(new.get("template") or {})
    _check_account(new["template"].get("serviceAccount") or "", change.project)
    traffic.read_targets(new)


def _check_account(email: str, project: Project) -> None:
    """Refuse one of this project's own accounts that is not there, in the words for those that may not be used."""
    is_ours = email.endswith(f"@{project.id}.iam.gserviceaccount.com")
    if is_ours and f"projects/{project.id}/serviceAccounts/{email}" not in project.resources(SERVICE_ACCOUNTS):
        text = f"Permission 'iam.serviceaccounts.actAs' denied on service account {email} (or it may not exist)."
        raise denied(text)


def _is_forced(change: Change) -> bool:
    return bool(change.call.query.get("forceNewRevision"))


def _complete(new: Json, change: Change) -> Json:
    """Return a service with defaults; what only its deployment knows comes from there."""
    old, complete = change.old or {}, template.completed(new["template"], change.project.number)
    read_template(complete, change.id)  # a trial, too, is refused what the double cannot do
    return {
        **new,
        "template": complete,
        "creator": old.get("creator") or _caller(change),
        "lastModifier": _caller(change),
        "ingress": new.get("ingress") or "INGRESS_TRAFFIC_ALL",
        "launchStage": new.get("launchStage") or "GA",
        "scaling": new.get("scaling") or {},
        "traffic": traffic.read_targets(new),
        "generation": str(int(old.get("generation", "0")) + 1),
        "reconciling": True,  # until it is deployed, as who reads it meanwhile sees
    }


def _caller(change: Change) -> str:
    return change.call.request.principal or "owner@example.com"


def _revisions(cloud_run: CloudRun) -> dict[str, Behaviour]:
    def list_revisions(project: Project, call: Call) -> Json:
        service = _canonical(project, call).removesuffix("/revisions")
        if service.endswith("/-"):
            raise unimplemented("the revisions of every service in one list")
        found = cloud_run.revisions(service)
        page = pages.cut({(index,): revision for index, revision in enumerate(found)}, call.query)
        return pages.listing(page, revisions=page.values)

    def get(project: Project, call: Call) -> Json:
        service, _, name = _canonical(project, call).partition("/revisions/")
        found = [one for one in cloud_run.revisions(service) if one["name"].endswith(f"/{name}")]
        if not found:
            raise not_found(f"Resource '{name}' of kind 'REVISION' does not exist.")
        return found[0]

    def delete(project: Project, call: Call) -> Json:
        revision = get(project, call)
        service, _, name = revision["name"].partition("/revisions/")
        cloud_run.delete_revision(service, name)
        outcome = {"@type": "type.googleapis.com/google.cloud.run.v2.Revision", **revision}
        return operations.finish(project, call, revision["name"], outcome)

    return {f"{REVISIONS}.list": list_revisions, f"{REVISIONS}.get": get, f"{REVISIONS}.delete": delete}


def _canonical(project: Project, call: Call) -> str:
    return project.canonical(call.name, call.document.host)
