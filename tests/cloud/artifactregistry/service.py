"""Artifact Registry: repositories with cleanup policies, which nobody carries out, and what was pushed into them."""

from __future__ import annotations

import re

from tests.cloud.artifactregistry import contents
from tests.cloud.artifactregistry.images import Images
from tests.cloud.collection import Change, Collection, from_query, populated
from tests.cloud.discovery import Document
from tests.cloud.errors import invalid
from tests.cloud.project import Project
from tests.cloud.schemas import Json
from tests.cloud.service import ResourceService

REPOSITORIES = "artifactregistry.projects.locations.repositories"
ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
RULES = ("condition", "mostRecentVersions")
SCANNING = {"enablementConfig": "INHERITED", "enablementState": "SCANNING_DISABLED"}
SCANNING["enablementStateReason"] = "API containerscanning.googleapis.com is not enabled."


def service(project: Project, images: Images) -> ResourceService:
    """Return the API, served below /artifactregistry."""
    document, repositories = Document.load("artifactregistry", "v1", "/artifactregistry"), _repositories(images)
    return ResourceService(project, document, (repositories,), contents.behaviour(images, repositories))


def _repositories(images: Images) -> Collection:
    return Collection(
        methods=REPOSITORIES,
        new_id=from_query("repositoryId"),
        id_rule=ID,
        check=_check,
        complete=_complete,
        shown=lambda body: {**body, "sizeBytes": str(contents.size(images, body["name"]))},
        output_only=frozenset({"sizeBytes"}),
        fixed=frozenset({"format", "mode", "kmsKeyName"}),
        unmasked=populated,
        proto="google.devtools.artifactregistry.v1.Repository",
    )


def _check(new: Json, change: Change) -> None:
    if new.get("format", "FORMAT_UNSPECIFIED") == "FORMAT_UNSPECIFIED":
        raise invalid("repository.format must be specified.")
    for key, policy in (new.get("cleanupPolicies") or {}).items():
        if policy.get("id", key) != key:
            raise invalid(f"The cleanup policy '{key}' has the other id '{policy['id']}'.")
        if sum(rule in policy for rule in RULES) != 1:
            raise invalid(f"The cleanup policy '{key}' needs exactly one of condition and most_recent_versions.")
        if policy.get("action") not in ("DELETE", "KEEP"):
            raise invalid(f"The cleanup policy '{key}' needs an action.")
        if "mostRecentVersions" in policy and policy["action"] != "KEEP":
            raise invalid(f"The cleanup policy '{key}': most_recent_versions can only be kept.")


def _complete(new: Json, change: Change) -> Json:
    _, project, _, location, _, name = change.name.split("/")
    policies = {key: {"id": key, **policy} for key, policy in (new.get("cleanupPolicies") or {}).items()}
    completed = {
        **new,
        "mode": new.get("mode") or "STANDARD_REPOSITORY",
        "registryUri": f"{location}-docker.pkg.dev/{project.replace(':', '/')}/{name}",
        "vulnerabilityScanningConfig": {**SCANNING, **(new.get("vulnerabilityScanningConfig") or {})},
    }
    return {**completed, "cleanupPolicies": policies} if policies else completed
