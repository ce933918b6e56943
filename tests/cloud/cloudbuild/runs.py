"""What becomes of a trigger that fires: a build with its substitutions, waiting for approval or handed to a runner.

Nothing is built here: a runner is a function that takes a queued build, and without one builds stay queued.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.cloud.cloudbuild import substitutions
from tests.cloud.cloudbuild.filters import Event, Message, PullRequest, Push, Run
from tests.cloud.discovery import Document
from tests.cloud.errors import failed_precondition, invalid, not_found, unimplemented
from tests.cloud.schemas import Json

# What a build has where its configuration does not say.
DEFAULTS = {"queueTtl": "3600s", "timeout": "3600s"}
OWN_LOGS = {"CLOUD_LOGGING_ONLY", "NONE"}
FINAL = {"SUCCESS", "FAILURE", "INTERNAL_ERROR", "TIMEOUT", "CANCELLED", "EXPIRED"}

Runner = Callable[[Json], None]
# The configuration file of a repository at a ref or commit, parsed: (repository, path, revision).
ReadConfiguration = Callable[[str, str, str], Json]


@dataclass(frozen=True)
class Place:
    """Where a build runs."""

    project: str
    number: str
    location: str


@dataclass(frozen=True)
class _Source:
    repository: str
    ref: str
    commit: str


def build_of(trigger: Json, event: Event, place: Place, read: ReadConfiguration, moment: str) -> Json:
    """Return the build that a trigger makes of an event, queued, or pending where the trigger asks for approval.

    Raises CloudError: 400 where Cloud Build would not make one: a configuration that is none, a substitution that has
    no value, a service account without a place for logs; 501 for triggers that detect their configuration.
    """
    source = _source(trigger, event)
    configuration = _configuration(trigger, source, read)
    name = str(uuid.uuid4())
    account = trigger.get("serviceAccount") or configuration.get("serviceAccount")
    _check_logs(configuration, account)
    build: Json = {
        **DEFAULTS,
        **configuration,
        "id": name,
        "name": f"projects/{place.number}/locations/{place.location}/builds/{name}",
        "projectId": place.project,
        "status": "QUEUED",
        "createTime": moment,
        "buildTriggerId": trigger["id"],
        "tags": [*configuration.get("tags", []), *trigger.get("tags", []), f"trigger-{trigger['id']}"],
        # Builds of triggers may leave names unused, and their values may name other values.
        "options": {
            **configuration.get("options", {}),
            "substitutionOption": "ALLOW_LOOSE",
            "dynamicSubstitutions": True,
        },
        "logUrl": f"https://console.cloud.google.com/cloud-build/builds;region={place.location}/{name}?project={place.number}",
        **_built_from(source),
        **({"serviceAccount": account} if account else {}),
    }
    written, given = _written(trigger, event, configuration), _given(trigger, event, source)
    resolved = substitutions.resolve(written, {**_own(build, place), **given}, event)
    build["substitutions"] = {name: resolved[name] for name in (*given, *written)}
    return _held(build, trigger.get("approvalConfig") or {})


def values_of(build: Json, place: Place) -> dict[str, str]:
    """Return every name that a build's steps may use: its substitutions, and those that each build has."""
    return {**_own(build, place), **build["substitutions"]}


def decided(build: Json, result: Json, approver: str, moment: str) -> Json:
    """Return a pending build after a decision: queued, or cancelled.

    Which status a rejected build has is not documented; here it is CANCELLED, as that of one that will never run.

    Raises CloudError: 400 for a build that waits for nothing, or without a decision.
    """
    decision = result.get("decision")
    if decision not in ("APPROVED", "REJECTED"):
        raise invalid("approval_result.decision must be APPROVED or REJECTED.")
    if build["status"] != "PENDING":
        raise failed_precondition(f"Build {build['id']} is not pending approval.")
    noted = {**result, "approverAccount": approver, "approvalTime": moment}
    approval = {**build["approval"], "state": decision, "result": noted}
    if decision == "APPROVED":
        return {**build, "status": "QUEUED", "approval": approval}
    return {**build, "status": "CANCELLED", "finishTime": moment, "approval": approval}


class Builds:
    """The builds of one place, by id, the newest last; safe for threads."""

    def __init__(self, runner: Runner | None = None) -> None:
        """Keep builds; a runner is given each one when it is queued, in the thread that queues it."""
        self.runner = runner
        self._lock = threading.RLock()
        self._builds: dict[str, Json] = {}

    def add(self, build: Json) -> Json:
        """Keep a build, and hand it on unless it waits for approval."""
        with self._lock:
            self._builds[build["id"]] = build
        return self._hand_on(build)

    def get(self, name: str) -> Json:
        """Return a build by its id.

        Raises CloudError: 404 without it.
        """
        with self._lock:
            if name not in self._builds:
                raise not_found(f"build {name} was not found")
            return self._builds[name]

    def list(self) -> list[Json]:
        """Return all builds, the newest first, as the API lists them."""
        with self._lock:
            return list(reversed(self._builds.values()))

    def decide(self, name: str, result: Json, approver: str, moment: str) -> Json:
        """Approve or reject a build, and hand it on where it was approved.

        Raises CloudError: 404 without it, 400 where it waits for nothing.
        """
        with self._lock:
            build = self._builds[name] = decided(self.get(name), result, approver, moment)
        return self._hand_on(build)

    def cancel(self, name: str, moment: str) -> Json:
        """Cancel a build that has not ended.

        Raises CloudError: 404 without it, 400 where it has ended.
        """
        with self._lock:
            build = self.get(name)
            if build["status"] in FINAL:
                raise failed_precondition(f"Build {name} is already complete.")
            return self.update(name, {"status": "CANCELLED", "finishTime": moment})

    def update(self, name: str, changed: Mapping[str, Any]) -> Json:
        """Change fields of a build, as a runner does with its status, and return it."""
        with self._lock:
            build = self._builds[name] = {**self.get(name), **changed}
            return build

    def _hand_on(self, build: Json) -> Json:
        if build["status"] != "QUEUED" or self.runner is None:
            return build
        self.runner(build)
        return self.get(build["id"])


def _source(trigger: Json, event: Event) -> _Source:
    """Return what is built: the commit of the event, else what the trigger names."""
    if isinstance(event, Push):
        return _Source(event.repository, event.ref, event.commit)
    if isinstance(event, PullRequest):
        return _Source(event.repository, "", event.commit)
    named = trigger.get("sourceToBuild") or {}
    repository = named.get("repository") or (trigger.get("repositoryEventConfig") or {}).get("repository", "")
    ref = named.get("ref", "")
    if isinstance(event, Run):
        ref = event.ref or ref
        return _Source(repository, ref, event.commit)
    assert isinstance(event, Message)
    return _Source(repository, ref, "")


def _configuration(trigger: Json, source: _Source, read: ReadConfiguration) -> Json:
    """Return the build's template: the trigger's own, or a file of the repository."""
    if trigger.get("build"):
        template: Json = trigger["build"]
        return template
    file = trigger.get("gitFileSource") or {}
    path = file.get("path") or trigger.get("filename")
    if not path:
        raise unimplemented("triggers that detect their configuration by themselves")
    revision = file.get("revision") or source.commit or source.ref
    return _document().schemas.accept("Build", read(file.get("repository") or source.repository, path, revision), "")


def _check_logs(configuration: Json, account: str | None) -> None:
    options = configuration.get("options") or {}
    is_regional = options.get("defaultLogsBucketBehavior") == "REGIONAL_USER_OWNED_BUCKET"
    if account and not (options.get("logging") in OWN_LOGS or is_regional or configuration.get("logsBucket")):
        raise invalid(
            "if 'build.service_account' is specified, the build must either (a) specify 'build.logs_bucket', (b) use "
            "the REGIONAL_USER_OWNED_BUCKET build.options.default_logs_bucket_behavior option, or (c) use either "
            "CLOUD_LOGGING_ONLY / NONE logging options"
        )


def _written(trigger: Json, event: Event, configuration: Json) -> dict[str, str]:
    """Return the user's substitutions: the run's own win, then the trigger's, then the configuration's."""
    written = {**configuration.get("substitutions", {}), **trigger.get("substitutions", {})}
    if isinstance(event, Run):
        written |= dict(event.substitutions)
    for name in written:
        if not substitutions.USER_NAME.fullmatch(name):
            raise invalid(f"substitution key '{name}' must match {substitutions.USER_NAME.pattern}")
    return written


def _given(trigger: Json, event: Event, source: _Source) -> dict[str, str]:
    path = (trigger.get("gitFileSource") or {}).get("path") or trigger.get("filename") or ""
    named = {"TRIGGER_NAME": trigger["name"], "TRIGGER_BUILD_CONFIG_PATH": path}
    return {**named, **substitutions.of_event(event, source.repository, source.ref, source.commit)}


def _own(build: Json, place: Place) -> dict[str, str]:
    """Return the names that every build has, and that the API does not list."""
    account = build.get("serviceAccount", "")
    return {
        "PROJECT_ID": place.project,
        "PROJECT_NUMBER": place.number,
        "LOCATION": place.location,
        "BUILD_ID": build["id"],
        "SERVICE_ACCOUNT": account,
        "SERVICE_ACCOUNT_EMAIL": account.rpartition("/")[2],
    }


def _built_from(source: _Source) -> Json:
    if not source.repository:
        return {}
    connected = {"repository": source.repository, "revision": source.commit or source.ref}
    found: Json = {"source": {"connectedRepository": connected}}
    if source.commit:
        found["sourceProvenance"] = {"resolvedConnectedRepository": connected}
    return found


def _held(build: Json, approval: Json) -> Json:
    if not approval.get("approvalRequired"):
        return build
    return {**build, "status": "PENDING", "approval": {"config": approval, "state": "PENDING"}}


@cache
def _document() -> Document:
    return Document.load("cloudbuild", "v1")
