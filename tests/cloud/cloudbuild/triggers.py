"""Build triggers: every way to start one, and what Cloud Build refuses of it."""

from __future__ import annotations

import re
import uuid

from tests.cloud.cloudbuild.repositories import CONNECTIONS, REPOSITORIES, kind
from tests.cloud.collection import STAMPS, Change, Collection
from tests.cloud.errors import conflict, invalid, not_found
from tests.cloud.policies import SERVICE_ACCOUNTS
from tests.cloud.project import Project
from tests.cloud.pubsub.service import TOPICS
from tests.cloud.schemas import Json
from tests.cloud.secretmanager import service as secretmanager

TRIGGERS = "cloudbuild.projects.locations.triggers"
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,63}")
SUBSTITUTION = re.compile(r"_[A-Z0-9_]+")
ACCOUNT = re.compile(r"projects/[^/]+/serviceAccounts/([^/]+)")
LEGACY = re.compile(r"^(projects/[^/]+)/triggers")
EVENTS = ("developerConnectEventConfig", "github", "pubsubConfig", "repositoryEventConfig", "triggerTemplate")
EVENTS += ("bitbucketServerTriggerConfig", "webhookConfig")
WORK = ("autodetect", "build", "filename", "gitFileSource")
OWN_LOGS = {"CLOUD_LOGGING_ONLY", "NONE"}


def _check(new: Json, change: Change) -> None:
    _check_name(new.get("name") or "", change)
    events = [name for name in EVENTS if new.get(name)]
    if len(events) > 1:
        raise invalid(f"trigger: only one of {', '.join(events)} can be set.")
    if not events and not new.get("sourceToBuild"):
        raise invalid("trigger: a manual trigger needs a source_to_build.")
    if sum(bool(new.get(name)) for name in WORK) != 1:
        raise invalid("trigger: exactly one of build, filename, git_file_source and autodetect must be set.")
    if new.get("gitFileSource") and "repositoryEventConfig" in events:
        raise invalid("trigger: git_file_source is for manual, Pub/Sub and webhook triggers; use filename.")
    for name in new.get("substitutions") or {}:
        if not SUBSTITUTION.fullmatch(name):
            raise invalid(f"trigger.substitutions: key '{name}' must match {SUBSTITUTION.pattern}.")
    _check_account(new, change.project)
    _check_event(new, change)


def _check_name(name: str, change: Change) -> None:
    if not NAME.fullmatch(name):
        raise invalid(f"trigger.name '{name}' must match {NAME.pattern}.")
    place = change.name.rpartition("/")[0]
    for known, trigger in change.project.resources(TRIGGERS).items():
        if trigger["name"] == name and known != change.name and known.startswith(place):
            raise conflict(f"trigger with name {name} already exists.")


def _check_account(new: Json, project: Project) -> None:
    account = new.get("serviceAccount")
    if not account:
        return
    found = ACCOUNT.fullmatch(account)
    if not found:
        raise invalid("trigger.service_account must be projects/{PROJECT_ID}/serviceAccounts/{ACCOUNT}.")
    if project.canonical(account, "cloudbuild.googleapis.com") not in project.resources(SERVICE_ACCOUNTS):
        raise not_found(f"Service account {found[1]} does not exist.")
    build, options = new.get("build"), (new.get("build") or {}).get("options") or {}
    own = options.get("logging") in OWN_LOGS or options.get("defaultLogsBucketBehavior") == "REGIONAL_USER_OWNED_BUCKET"
    if build and not own and not build.get("logsBucket"):
        raise invalid(
            "if 'build.service_account' is specified, the build must either (a) specify 'build.logs_bucket', (b) use "
            "the REGIONAL_USER_OWNED_BUCKET build.options.default_logs_bucket_behavior option, or (c) use either "
            "CLOUD_LOGGING_ONLY / NONE logging options"
        )


def _check_event(new: Json, change: Change) -> None:
    project = change.project
    event = new.get("repositoryEventConfig") or {}
    names = [
        event.get("repository"),
        *((new.get(part) or {}).get("repository") for part in ("sourceToBuild", "gitFileSource")),
    ]
    for name in filter(None, names):
        _check_repository(name, change)
    if event and ("push" in event) == ("pullRequest" in event):
        raise invalid("trigger.repository_event_config: exactly one of push and pull_request must be set.")
    for rule in (event.get("push") or {}, event.get("pullRequest") or {}):
        _check_regex(rule.get("branch") or rule.get("tag") or "")
    topic = (new.get("pubsubConfig") or {}).get("topic")
    if topic and project.canonical(topic, "pubsub.googleapis.com") not in project.resources(TOPICS):
        raise not_found(f"Topic '{topic}' was not found.")
    secret = (new.get("webhookConfig") or {}).get("secret")
    if secret and secretmanager.resolve(project, secret) is None:
        raise not_found(f"Secret version '{secret}' was not found.")


def _check_repository(name: str, change: Change) -> None:
    if change.project.canonical(name, "cloudbuild.googleapis.com") not in change.project.resources(REPOSITORIES):
        raise not_found(f"Repository '{name}' was not found.")
    if name.split("/")[3] != change.name.split("/")[3]:
        raise invalid(f"The trigger must be in the region of its repository, {name.split('/')[3]}.")


def _check_regex(text: str) -> None:
    try:
        re.compile(text)
    except re.error as fault:
        raise invalid(f"trigger.repository_event_config: '{text}' is no regular expression: {fault}") from None


def _complete(new: Json, change: Change) -> Json:
    trigger = {**new, "id": change.id, "resourceName": change.name}
    event = new.get("repositoryEventConfig")
    if event:
        connection = event["repository"].partition("/repositories/")[0]
        known = change.project.resources(CONNECTIONS)[change.project.canonical(connection, "cloudbuild.googleapis.com")]
        trigger["repositoryEventConfig"] = {**event, "repositoryType": kind(known)}
    if new.get("pubsubConfig"):
        subscription = f"projects/{change.project.id}/subscriptions/gcb-{new['name']}"
        trigger["pubsubConfig"] = {**new["pubsubConfig"], "subscription": subscription, "state": "OK"}
    if new.get("webhookConfig"):
        trigger["webhookConfig"] = {**new["webhookConfig"], "state": "OK"}
    return trigger


def _place(name: str) -> str:
    """Return the name with the location that the older paths leave out."""
    return LEGACY.sub(r"\1/locations/global/triggers", name)


COLLECTION = Collection(
    methods=TRIGGERS,
    new_id=lambda call: str(uuid.uuid4()),
    check=_check,
    complete=_complete,
    place=_place,
    schema="BuildTrigger",
    aliases=("cloudbuild.projects.triggers",),
    stamps=STAMPS - {"name"},
)
