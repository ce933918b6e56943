"""Builds over HTTP: those of triggers are listed, read, cancelled and approved, by either spelling of their names."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from tests.cloud import access, oauth, operations, pages
from tests.cloud.cloudbuild.cloud_build import CloudBuild
from tests.cloud.cloudbuild.filters import BRANCH, TAG, Run
from tests.cloud.cloudbuild.runs import FINAL
from tests.cloud.cloudbuild.triggers import COLLECTION, TRIGGERS
from tests.cloud.discovery import Call
from tests.cloud.errors import denied, invalid, not_found, unimplemented
from tests.cloud.project import Project, now
from tests.cloud.schemas import Json
from tests.cloud.service import Behaviour

HOST = "cloudbuild.googleapis.com"
KIND = "type.googleapis.com/google.devtools.cloudbuild.v1"
BUILD = re.compile(r"projects/[^/]+(?:/locations/([^/]+))?/builds(?:/([^/]+))?")
# google.rpc.Code of how a build ended.
CODES = {"CANCELLED": 1, "EXPIRED": 4, "FAILURE": 2, "INTERNAL_ERROR": 13, "TIMEOUT": 4}

Answer = Callable[[CloudBuild, Project, Call], Json]


def behaviour(cloud_build: CloudBuild) -> dict[str, Behaviour]:
    """Return the methods of builds, and what runs triggers."""

    def over(answer: Answer) -> Behaviour:
        return lambda project, call: answer(cloud_build, project, call)

    return {
        f"cloudbuild.{above}.{method}": over(answer)
        for method, answer in ANSWERS.items()
        for above in ("projects", "projects.locations")
    } | {"cloudbuild.operations.get": over(_operation)}


def _list(cloud_build: CloudBuild, project: Project, call: Call) -> Json:
    if call.query.get("filter"):
        raise unimplemented(f"the filter {call.query['filter']} of builds")
    location, _ = _parts(project, call)
    numbered = enumerate(reversed(cloud_build.builds.list()))
    found: dict[pages.Key, Json] = {(-index,): one for index, one in numbered if location in ("-", _location(one))}
    page = pages.cut(found, call.query)
    return {
        **({"builds": page.values} if page.values else {}),
        **({"nextPageToken": page.token} if page.token else {}),
    }


def _get(cloud_build: CloudBuild, project: Project, call: Call) -> Json:
    return _found(cloud_build, project, call)


def _cancel(cloud_build: CloudBuild, project: Project, call: Call) -> Json:
    return cloud_build.builds.cancel(_found(cloud_build, project, call)["id"], now())


def _approve(cloud_build: CloudBuild, project: Project, call: Call) -> Json:
    name = _found(cloud_build, project, call)["id"]
    result = call.body.get("approvalResult") or {}
    return _as_operation(cloud_build.builds.decide(name, result, call.request.principal or oauth.OWNER, now()))


def _run(cloud_build: CloudBuild, project: Project, call: Call) -> Json:
    """Answer triggers.run: by id or name, as an operation that is done when the build is."""
    name, trigger = _trigger(project, call)
    account = trigger.get("serviceAccount")
    if account:
        _check_acting(project, call, account)
    source = (call.body.get("source") or {}) if "locations" in call.method.id else call.body
    event = _event(source)
    if trigger.get("repositoryEventConfig") and not (event.ref or event.commit or trigger.get("sourceToBuild")):
        raise unimplemented("running a trigger of a repository's events without a branch, tag or commit")
    return _as_operation(cloud_build.run(name, event))


def _operation(cloud_build: CloudBuild, project: Project, call: Call) -> Json:
    name = call.name
    for build in cloud_build.builds.list():
        if _operation_name(build) == name:
            return _as_operation(build)
    return operations.get(project, call)


def _parts(project: Project, call: Call) -> tuple[str, str]:
    """Return location and id that a request names; the older spelling means the global ones."""
    found = BUILD.fullmatch(project.canonical(call.name, HOST))
    if found is None:
        raise invalid(f"Invalid build name: {call.name}")
    return found[1] or "global", found[2] or ""


def _found(cloud_build: CloudBuild, project: Project, call: Call) -> Json:
    location, name = _parts(project, call)
    build = cloud_build.builds.get(name)
    if _location(build) != location:
        raise not_found(f"build {name} was not found in {location}")
    return build


def _location(build: Json) -> str:
    return str(build["name"].split("/")[3])


def _trigger(project: Project, call: Call) -> tuple[str, Json]:
    name = COLLECTION.place(project.canonical(call.name, HOST))
    known = project.resources(TRIGGERS)
    place, _, wanted = name.rpartition("/")
    for full, trigger in list(known.items()):
        if full == name or (full.rpartition("/")[0] == place and trigger["name"] == wanted):
            return full, trigger
    raise not_found(f"trigger {wanted} was not found")


def _check_acting(project: Project, call: Call, account: str) -> None:
    """Refuse who may not act as the trigger's service account: it is whose rights the build has."""
    resource = f"//iam.googleapis.com/{project.canonical(account, HOST)}"
    if not access.holds(project, call.request.principal, "iam.serviceAccounts.actAs", resource):
        email = account.rpartition("/")[2]
        raise denied(f"Permission 'iam.serviceaccounts.actAs' denied on service account {email} (or it may not exist).")


def _event(source: Json) -> Run:
    for name in ("dir", "invertRegex", "repoName"):
        if source.get(name):
            raise unimplemented(f"running a trigger with source.{name}")
    ref = source.get("branchName") and f"{BRANCH}{source['branchName']}"
    ref = ref or (source.get("tagName") and f"{TAG}{source['tagName']}") or ""
    return Run(ref, source.get("commitSha") or "", tuple((source.get("substitutions") or {}).items()))


def _as_operation(build: Json) -> Json:
    operation = {
        "name": _operation_name(build),
        "metadata": {"@type": f"{KIND}.BuildOperationMetadata", "build": build},
    }
    if build["status"] not in FINAL:
        return operation
    if build["status"] == "SUCCESS":
        return {**operation, "done": True, "response": {"@type": f"{KIND}.Build", **build}}
    error = {"code": CODES[build["status"]], "message": f"Build {build['id']} ended with {build['status']}."}
    return {**operation, "done": True, "error": error}


def _operation_name(build: Json) -> str:
    return f"operations/build/{build['projectId']}/{base64.urlsafe_b64encode(build['id'].encode()).decode()}"


ANSWERS: dict[str, Answer] = {
    "builds.approve": _approve,
    "builds.cancel": _cancel,
    "builds.get": _get,
    "builds.list": _list,
    "triggers.run": _run,
}
