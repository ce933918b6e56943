"""Connections to GitHub and the like, and the repositories linked over them (Cloud Build v2)."""

from __future__ import annotations

import re

from tests.cloud import access
from tests.cloud.collection import Change, Collection, from_query
from tests.cloud.errors import conflict, failed_precondition, invalid
from tests.cloud.schemas import Json
from tests.cloud.secretmanager import service as secretmanager

CONNECTIONS = "cloudbuild.projects.locations.connections"
REPOSITORIES = "cloudbuild.projects.locations.connections.repositories"
ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.~-]{0,62}")
KINDS = {
    "bitbucketCloudConfig": "BITBUCKET_CLOUD",
    "bitbucketDataCenterConfig": "BITBUCKET_DATA_CENTER",
    "githubConfig": "GITHUB",
    "githubEnterpriseConfig": "GITHUB_ENTERPRISE",
    "gitlabConfig": "GITLAB_ENTERPRISE",
}
REMOTE = re.compile(r"https://[^/]+/.+\.git")


def kind(connection: Json) -> str:
    """Return the kind of repositories that a connection leads to, as triggers name it."""
    return next(name for config, name in KINDS.items() if config in connection)


def _check(new: Json, change: Change) -> None:
    if sum(config in new for config in KINDS) != 1:
        raise invalid("connection: exactly one connection configuration must be set.")
    secret = ((new.get("githubConfig") or {}).get("authorizerCredential") or {}).get("oauthTokenSecretVersion")
    if secret:
        _check_secret(secret, change)


def _check_secret(secret: str, change: Change) -> None:
    project = change.project
    agent = project.agent("gcp-sa-cloudbuild")
    name = project.canonical(secret, "secretmanager.googleapis.com")
    resource = f"//secretmanager.googleapis.com/{name.partition('/versions/')[0]}"
    readable = access.holds(project, agent, "secretmanager.versions.access", resource)
    if secretmanager.resolve(project, name) is None or not readable:
        raise failed_precondition(f"could not access secret '{secret}' with service account {agent}")


def _complete(new: Json, change: Change) -> Json:
    completed = {**new, "installationState": {"stage": "COMPLETE"}}
    credential = (new.get("githubConfig") or {}).get("authorizerCredential")
    if credential:
        named = {**credential, "username": credential.get("username") or "pilot"}
        completed["githubConfig"] = {**new["githubConfig"], "authorizerCredential": named}
    return completed


def _check_delete(change: Change) -> None:
    if any(kind == REPOSITORIES for kind, _ in change.project.below(change.name)):
        raise failed_precondition(f"The connection {change.name} still has repositories.")


def _check_repository(new: Json, change: Change) -> None:
    remote = new.get("remoteUri") or ""
    if not REMOTE.fullmatch(remote):
        raise invalid(f"repository.remote_uri must be an https address that ends in .git, not '{remote}'.")
    parent = change.name.rpartition("/")[0]
    for name, known in change.project.resources(REPOSITORIES).items():
        if name.startswith(f"{parent}/") and known["remoteUri"] == remote and name != change.name:
            raise conflict(f"{remote} is linked already, as {name}.")


def _check_unused(change: Change) -> None:
    for trigger in change.project.resources("cloudbuild.projects.locations.triggers").values():
        if (trigger.get("repositoryEventConfig") or {}).get("repository") == change.name:
            message = f"The repository {change.name} is used by the trigger {trigger['name']}."
            raise failed_precondition(message)


CONNECTION = Collection(
    methods=CONNECTIONS,
    new_id=from_query("connectionId"),
    id_rule=ID,
    check=_check,
    check_delete=_check_delete,
    complete=_complete,
    proto="google.devtools.cloudbuild.v2.Connection",
)
REPOSITORY = Collection(
    methods=REPOSITORIES,
    new_id=from_query("repositoryId"),
    id_rule=ID,
    check=_check_repository,
    check_delete=_check_unused,
    proto="google.devtools.cloudbuild.v2.Repository",
)
