"""Cloud Run's Admin API: what may be asked of services and revisions; CloudRun makes it true."""

from __future__ import annotations

import re

from tests.cloud import operations
from tests.cloud.collection import Change, Collection, from_query
from tests.cloud.discovery import Call, Document
from tests.cloud.errors import not_found
from tests.cloud.project import Project
from tests.cloud.run import template, traffic
from tests.cloud.run.cloud_run import CloudRun
from tests.cloud.run.conditions import operation_error
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
        effect=lambda service, change: {**service, **cloud_run.deploy(service, change.old)},
        after_delete=lambda change: cloud_run.remove(change.name),
        failure=lambda service: operation_error(service["terminalCondition"]),
        farewell=lambda change: {**(change.old or {}), "deleteTime": change.moment},
        proto="google.cloud.run.v2.Service",
    )


def _check(new: Json, change: Change) -> None:
    template.check(new.get("template") or {})
    traffic.read_targets(new)


def _complete(new: Json, change: Change) -> Json:
    """Return a service with defaults; what only its deployment knows comes from there."""
    old = change.old or {}
    return {
        **new,
        "template": template.completed(new["template"], change.project.number),
        "creator": old.get("creator") or _caller(change),
        "lastModifier": _caller(change),
        "ingress": new.get("ingress") or "INGRESS_TRAFFIC_ALL",
        "launchStage": new.get("launchStage") or "GA",
        "scaling": new.get("scaling") or {},
        "traffic": traffic.read_targets(new),
        "generation": str(int(old.get("generation", "0")) + 1),
    }


def _caller(change: Change) -> str:
    return change.call.request.principal or "owner@example.com"


def _revisions(cloud_run: CloudRun) -> dict[str, Behaviour]:
    def list_revisions(project: Project, call: Call) -> Json:
        return {"revisions": cloud_run.revisions(_canonical(project, call))}

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
