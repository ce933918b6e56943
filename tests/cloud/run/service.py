"""Cloud Run's Admin API: services make revisions; what runs behind them is a Runtime's business."""

from __future__ import annotations

import re
import uuid

from tests.cloud.collection import Change, Collection, from_query
from tests.cloud.discovery import Document
from tests.cloud.errors import conflict, denied, failed_precondition, invalid
from tests.cloud.policies import SERVICE_ACCOUNTS
from tests.cloud.project import Project, digest
from tests.cloud.run import template
from tests.cloud.run.runtime import InstantRuntime, Runtime
from tests.cloud.schemas import Json
from tests.cloud.service import ResourceService

SERVICES = "run.projects.locations.services"
REVISIONS = "run.projects.locations.services.revisions"
ID = re.compile(r"[a-z]([-a-z0-9]{0,47}[a-z0-9])?")
LATEST = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
PINNED = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
READY = "CONDITION_SUCCEEDED"
# Fields of a template that say something about it, not how it runs; the rest makes a revision.
REVISION_FIELDS = ("annotations", "containers", "encryptionKey", "executionEnvironment", "labels", "nodeSelector")
REVISION_FIELDS += ("maxInstanceRequestConcurrency", "scaling", "serviceAccount", "sessionAffinity", "timeout")
REVISION_FIELDS += ("volumes", "vpcAccess", "healthCheckDisabled", "gpuZonalRedundancyDisabled")


def service(project: Project, runtime: Runtime | None = None) -> ResourceService:
    """Return the API, served below /run; `runtime` makes the revisions run."""
    behind = runtime or InstantRuntime()
    return ResourceService(project, Document.load("run", "v2", "/run"), (_services(behind), REVISION_COLLECTION))


def _services(runtime: Runtime) -> Collection:
    return Collection(
        methods=SERVICES,
        new_id=from_query("serviceId"),
        id_rule=ID,
        check=_check,
        complete=_complete,
        effect=lambda service, change: _deployed(runtime, service, change),
        after_delete=lambda change: runtime.remove(change.name),
        failure=_failure,
        farewell=lambda change: {**(change.old or {}), "deleteTime": change.moment},
        proto="google.cloud.run.v2.Service",
    )


def _check(new: Json, change: Change) -> None:
    template.check(new.get("template") or {})
    _check_account((new.get("template") or {}).get("serviceAccount") or "", change.project)
    traffic = new.get("traffic") or []
    if traffic and sum(target.get("percent") or 0 for target in traffic) != 100:
        raise invalid("Violation in CreateServiceRequest.service.traffic: The sum of percentages must be 100.")
    tags = [target["tag"] for target in traffic if target.get("tag")]
    if len(tags) != len(set(tags)):
        raise invalid("Violation in CreateServiceRequest.service.traffic: A tag may be given only once.")
    for target in traffic:
        _check_target(target, new, change)


def _check_account(email: str, project: Project) -> None:
    is_ours = email.endswith(f"@{project.id}.iam.gserviceaccount.com")
    if is_ours and f"projects/{project.id}/serviceAccounts/{email}" not in project.resources(SERVICE_ACCOUNTS):
        text = f"Permission 'iam.serviceaccounts.actAs' denied on service account {email} (or it may not exist)."
        raise denied(text)


def _check_target(target: Json, new: Json, change: Change) -> None:
    name = target.get("revision")
    if not name:
        return
    known = change.project.resources(REVISIONS)
    if f"{change.name}/revisions/{name}" not in known and name != new["template"].get("revision"):
        raise failed_precondition(f"Revision named '{name}' was not found in Service '{change.id}'.")


def _complete(new: Json, change: Change) -> Json:
    """Return a service with defaults, and make its revision where the template changed."""
    old = change.old or {}
    service = {
        **new,
        "template": template.completed(new["template"], change.project.number),
        "creator": old.get("creator") or _caller(change),
        "lastModifier": _caller(change),
        "ingress": new.get("ingress") or "INGRESS_TRAFFIC_ALL",
        "launchStage": new.get("launchStage") or "GA",
        "traffic": [_target(target) for target in new.get("traffic") or [{"type": LATEST, "percent": 100}]],
        "generation": str(int(old.get("generation", "0")) + 1),
    }
    service["observedGeneration"] = service["generation"]
    service.setdefault("scaling", {})
    revision = _revision(service, change)
    ready = {"type": "Ready", "state": READY, "lastTransitionTime": change.moment}
    service |= {
        "latestCreatedRevision": revision,
        "latestReadyRevision": revision,
        "terminalCondition": ready,
        "conditions": [{**ready, "type": kind} for kind in ("RoutesReady", "ConfigurationsReady")],
        **_addresses(service, change),
    }
    service["trafficStatuses"] = [_status(target, service) for target in service["traffic"]]
    return service


def _caller(change: Change) -> str:
    return change.call.request.principal or "owner@example.com"


def _target(target: Json) -> Json:
    return {"type": PINNED if target.get("revision") else LATEST, **target}


def _status(target: Json, service: Json) -> Json:
    status = {name: value for name, value in target.items() if name in ("type", "revision", "percent", "tag")}
    if target.get("tag"):
        status["uri"] = service["uri"].replace("https://", f"https://{target['tag']}---")
    return status


def _addresses(service: Json, change: Change) -> Json:
    region = change.name.split("/")[3]
    short = f"https://{change.id}-{digest(change.project.id, length=10)}-{region[:2]}.a.run.app"
    return {"uri": short, "urls": [f"https://{change.id}-{change.project.number}.{region}.run.app", short]}


def _revision(service: Json, change: Change) -> str:
    """Return the full name of the revision that the template means; a changed template makes a new one."""
    old = change.old or {}
    wanted, forced = service["template"], change.call.query.get("forceNewRevision")
    known = change.project.resources(REVISIONS)
    if old and wanted == old["template"] and not forced:
        return str(old["latestCreatedRevision"])
    name = f"{change.name}/revisions/{wanted.get('revision') or _generated(change)}"
    if name in known:
        raise conflict(f"Revision named '{wanted.get('revision')}' with different configuration already exists.")
    if not change.call.query.get("validateOnly"):
        known[name] = _revision_resource(name, service, change)
    return name


def _generated(change: Change) -> str:
    # The service's generation counts on where a traffic change made no revision, as it does at Google.
    count = int((change.old or {}).get("generation", "0")) + 1
    return f"{change.id}-{count:05d}-{digest(uuid.uuid4(), length=3)}"


def _revision_resource(name: str, service: Json, change: Change) -> Json:
    spec = {field: service["template"][field] for field in REVISION_FIELDS if field in service["template"]}
    return {
        **spec,
        "name": name,
        "uid": str(uuid.uuid4()),
        "generation": "1",
        "observedGeneration": "1",
        "createTime": change.moment,
        "updateTime": change.moment,
        "launchStage": service["launchStage"],
        "service": change.id,
        "etag": digest(name, change.moment),
    }


def _deployed(runtime: Runtime, service: Json, change: Change) -> Json:
    deployed = {**service, **runtime.deploy(service, change.old)}
    with change.project.lock:
        revision = change.project.resources(REVISIONS).get(deployed["latestCreatedRevision"])
        if revision is not None and change.name in change.project.resources(SERVICES):
            is_ready = deployed["latestReadyRevision"] == deployed["latestCreatedRevision"]
            condition = deployed["terminalCondition"] if not is_ready else {**service["terminalCondition"]}
            revision["conditions"] = [{**condition, "type": "Ready"}]
    return deployed


def _failure(service: Json) -> Json | None:
    condition = service["terminalCondition"]
    if condition["state"] == READY:
        return None
    return {"code": 9, "message": condition.get("message", "")}


def _check_revision_delete(change: Change) -> None:
    service = change.project.resources(SERVICES)[change.name.rpartition("/revisions/")[0]]
    serving = {target.get("revision") for target in service["traffic"]} | {
        service["latestReadyRevision"].rpartition("/")[2]
    }
    if change.id in serving:
        raise failed_precondition(f"Revision '{change.id}' cannot be deleted: it is the latest one or serves traffic.")


REVISION_COLLECTION = Collection(
    methods=REVISIONS,
    schema="GoogleCloudRunV2Revision",
    check_delete=_check_revision_delete,
    farewell=lambda change: {**(change.old or {}), "deleteTime": change.moment},
    proto="google.cloud.run.v2.Revision",
)
