"""Service Usage: APIs are enabled and disabled at once, while Google needs minutes until they answer."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

from tests.cloud import operations, pages
from tests.cloud.discovery import Call, Document
from tests.cloud.errors import denied, invalid, unimplemented
from tests.cloud.project import FRESH_APIS, Project, error_info
from tests.cloud.schemas import Json
from tests.cloud.service import ResourceService

HOST = "serviceusage.googleapis.com"
LARGEST_BATCH = 20
NAME = re.compile(r"projects/[^/]+/services/([a-z0-9.-]+)")


def service(project: Project) -> ResourceService:
    """Return the API, served below /serviceusage."""
    return ResourceService(project, Document.load("serviceusage", "v1", "/serviceusage"), (), BEHAVIOUR)


@cache
def known_apis() -> frozenset[str]:
    """Return the APIs that can be enabled: those that have a discovery document, and those of a fresh project."""
    documents = files("googleapiclient.discovery_cache") / "documents"
    return FRESH_APIS | {f"{path.name.partition('.')[0]}.googleapis.com" for path in documents.iterdir()}


def _get(project: Project, call: Call) -> Json:
    return _resource(project, _api(project, call.name))


def _list(project: Project, call: Call) -> Json:
    wanted = call.query.get("filter") or ""
    if wanted not in ("", "state:ENABLED", "state:DISABLED"):
        raise unimplemented(f"the filter {wanted}")
    state = wanted.removeprefix("state:")
    found: dict[pages.Key, Json] = {(api,): _resource(project, api) for api in known_apis() | project.enabled}
    page = pages.cut({key: api for key, api in found.items() if state in ("", api["state"])}, call.query)
    return pages.listing(page, services=page.values)


def _enable(project: Project, call: Call) -> Json:
    api = _api(project, call.name)
    with project.lock:
        project.enabled.add(api)
    return _finish(project, call, {"service": _resource(project, api)})


def _batch_enable(project: Project, call: Call) -> Json:
    asked = call.body.get("serviceIds") or []
    if not 1 <= len(asked) <= LARGEST_BATCH:
        raise invalid(f"Between 1 and {LARGEST_BATCH} services can be enabled at once, not {len(asked)}.")
    project.canonical(call.name, HOST)
    for api in asked:
        _check_known(api)
    with project.lock:
        project.enabled.update(asked)
    return _finish(project, call, {"services": [_resource(project, api) for api in asked]})


def _batch_get(project: Project, call: Call) -> Json:
    return {"services": [_resource(project, _api(project, name)) for name in call.query.get("names", [])]}


def _disable(project: Project, call: Call) -> Json:
    api = _api(project, call.name)
    with project.lock:
        project.enabled.discard(api)
    return _finish(project, call, {"service": _resource(project, api)})


def _finish(project: Project, call: Call, outcome: Json) -> Json:
    response = "".join(part.capitalize() for part in re.findall("[a-zA-Z][a-z]*", call.method.action))
    response = {"batchEnable": "BatchEnableServices"}.get(call.method.action, f"{response}Service")
    kind = f"type.googleapis.com/google.api.serviceusage.v1.{response}Response"
    return operations.finish(project, call, "", {"@type": kind, **outcome})


def _resource(project: Project, api: str) -> Json:
    parent = f"projects/{project.number}"
    return {
        "name": f"{parent}/services/{api}",
        "parent": parent,
        "config": {"name": api},
        "state": "ENABLED" if api in project.enabled else "DISABLED",
    }


def _api(project: Project, name: str) -> str:
    found = NAME.fullmatch(project.canonical(name, HOST))
    if not found:
        raise invalid(f"Invalid service name: {name}")
    return _check_known(found[1])


def _check_known(api: str) -> str:
    if api not in known_apis():
        info = error_info("SERVICE_CONFIG_NOT_FOUND_OR_PERMISSION_DENIED", services=api)
        raise denied(f"Not found or permission denied for service(s): {api}.", info)
    return api


BEHAVIOUR = {
    "serviceusage.services.batchEnable": _batch_enable,
    "serviceusage.services.batchGet": _batch_get,
    "serviceusage.services.disable": _disable,
    "serviceusage.services.enable": _enable,
    "serviceusage.services.get": _get,
    "serviceusage.services.list": _list,
}
