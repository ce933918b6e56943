"""Our own rules on what Terraform plans to make, held against the JSON of a plan; each gives its faults in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

PUBLIC = {"allUsers", "allAuthenticatedUsers"}
# What may be granted on the whole project, and to whom; the identities that serve are not among them.
PROJECT_ROLES = {
    "apply": None,  # makes everything, after approval
    "deliver": {"roles/iam.securityReviewer", "roles/logging.logWriter", "roles/viewer"},
    "verify": {"roles/bigquery.jobUser", "roles/browser", "roles/logging.logWriter"},
}

Resource = Mapping[str, Any]
Faults = Iterator[str]


def faults(plan: Mapping[str, Any]) -> list[str]:
    """Return every fault of a plan, as `terraform show -json` writes it."""
    resources = list(_resources(plan["planned_values"]["root_module"]))
    access = {
        name: model["access"] for name, model in plan["variables"]["models"]["value"].items() if "access" in model
    }
    return [fault for rule in RULES for fault in rule(resources, access)]


def no_public_access(resources: list[Resource], access: Mapping[str, str]) -> Faults:
    """Only a model whose access is public may be called by everybody; nothing else is open to everybody."""
    for resource in resources:
        members = {resource["values"].get("member"), *(resource["values"].get("members") or [])}
        if members & PUBLIC and access.get(_model(resource), "private") != "public":
            yield f"{resource['address']} lets everybody in"
        if resource["values"].get("invoker_iam_disabled"):
            yield f"{resource['address']} asks nobody who they are"


def own_identity(resources: list[Resource], access: Mapping[str, str]) -> Faults:
    """Every service and trigger names its identity: the default one may change everything."""
    for resource in _of(resources, "google_cloud_run_v2_service"):
        for template in resource["values"]["template"]:
            if "service_account" in template and not template["service_account"]:
                yield f"{resource['address']} runs as the default identity"
    for resource in _of(resources, "google_cloudbuild_trigger"):
        if "service_account" in resource["values"] and not resource["values"]["service_account"]:
            yield f"{resource['address']} builds as the default identity"


def no_project_wide_grants(resources: list[Resource], access: Mapping[str, str]) -> Faults:
    """Project-wide grants are those of PROJECT_ROLES, one member each, none that replaces others."""
    for resource in resources:
        kind = resource["type"]
        if kind in ("google_project_iam_binding", "google_project_iam_policy"):
            yield f"{resource['address']} replaces what others have granted"
        if kind == "google_project_iam_member":
            key = str(resource.get("index", ""))
            identity = "apply" if resource["name"] == "apply" else key.partition(" ")[0]
            roles = PROJECT_ROLES.get(identity, set())
            if roles is not None and resource["values"]["role"] not in roles:
                yield f"{resource['address']} grants {resource['values']['role']} on the whole project"


def instance_ceiling(resources: list[Resource], access: Mapping[str, str]) -> Faults:
    """Every service has a most number of instances: without one, a loop in a caller is a bill."""
    for resource in _of(resources, "google_cloud_run_v2_service"):
        for template in resource["values"]["template"]:
            if not any(scaling.get("max_instance_count") for scaling in template.get("scaling") or []):
                yield f"{resource['address']} has no instance ceiling"


def closed_buckets(resources: list[Resource], access: Mapping[str, str]) -> Faults:
    """Buckets have uniform access, keep versions, and cannot be made public."""
    for resource in _of(resources, "google_storage_bucket"):
        values = resource["values"]
        if not values["uniform_bucket_level_access"] or values["public_access_prevention"] != "enforced":
            yield f"{resource['address']} could be made public"
        if not any(versioning["enabled"] for versioning in values["versioning"]):
            yield f"{resource['address']} forgets what is overwritten"


RULES: tuple[Callable[[list[Resource], Mapping[str, str]], Faults], ...] = (
    no_public_access,
    own_identity,
    no_project_wide_grants,
    instance_ceiling,
    closed_buckets,
)


def _resources(module: Mapping[str, Any]) -> Iterator[Resource]:
    yield from (resource for resource in module.get("resources", []) if resource["mode"] == "managed")
    for child in module.get("child_modules", []):
        yield from _resources(child)


def _of(resources: list[Resource], kind: str) -> Iterator[Resource]:
    return (resource for resource in resources if resource["type"] == kind)


def _model(resource: Resource) -> str:
    """Return the model whose endpoint a resource belongs to: module.endpoint["churn"]...."""
    return str(resource["address"]).partition('module.endpoint["')[2].partition('"')[0]
