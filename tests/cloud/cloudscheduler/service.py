"""Cloud Scheduler: jobs that say when they run next, and run when somebody asks; none runs by itself."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from datetime import UTC, datetime

from tests.cloud import resources
from tests.cloud.cloudscheduler import jobs
from tests.cloud.collection import Change, Collection
from tests.cloud.discovery import Call, Document
from tests.cloud.errors import invalid, not_found
from tests.cloud.policies import SERVICE_ACCOUNTS
from tests.cloud.project import Project
from tests.cloud.pubsub.broker import Broker
from tests.cloud.pubsub.service import TOPICS
from tests.cloud.schemas import Json
from tests.cloud.service import ResourceService

JOBS = "cloudscheduler.projects.locations.jobs"
ID = re.compile(r"[A-Za-z0-9_-]{1,500}")
TARGETS = ("appEngineHttpTarget", "httpTarget", "pubsubTarget")
CRON = re.compile(r"\S+(\s+\S+){4}")
ENGLISH = re.compile(r"every\s.+", re.IGNORECASE)
RETRY = {"maxRetryDuration": "0s", "minBackoffDuration": "5s", "maxBackoffDuration": "3600s", "maxDoublings": 5}
AGENT = {"User-Agent": "Google-Cloud-Scheduler"}
BODY_METHODS = {"POST", "PUT", "PATCH"}


def service(project: Project, broker: Broker) -> ResourceService:
    """Return the API, served below /cloudscheduler."""
    document = Document.load("cloudscheduler", "v1", "/cloudscheduler")
    return ResourceService(project, document, (COLLECTION,), {**BEHAVIOUR, f"{JOBS}.run": _run(broker)})


def _id(call: Call) -> str:
    name = call.body.get("name") or ""
    if name and name.rpartition("/")[0].rpartition("/")[2] != "jobs":
        raise invalid('Job name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/jobs/<JOB_ID>".')
    return name.rpartition("/")[2]


def _check(new: Json, change: Change) -> None:
    schedule = new.get("schedule") or ""
    if not CRON.fullmatch(schedule) and not ENGLISH.fullmatch(schedule):
        raise invalid("Schedule or time zone is invalid.")
    if (new.get("timeZone") or "UTC") not in zoneinfo.available_timezones():
        raise invalid("Schedule or time zone is invalid.")
    _scheduled(new)
    if sum(bool(new.get(target)) for target in TARGETS) != 1:
        raise invalid("Job must have exactly one target.")
    if new.get("httpTarget"):
        _check_http(new["httpTarget"], change.project)
    topic = (new.get("pubsubTarget") or {}).get("topicName")
    if topic and change.project.canonical(topic, change.call.document.host) not in change.project.resources(TOPICS):
        raise not_found(f"Topic '{topic}' was not found.")


def _check_http(target: Json, project: Project) -> None:
    if not re.match("https?://", target.get("uri") or ""):
        raise invalid("HttpTarget.uri must begin with http:// or https://.")
    if target.get("body") and target.get("httpMethod", "POST") not in BODY_METHODS:
        raise invalid(f"HttpTarget.body is not allowed with {target['httpMethod']}.")
    if target.get("oauthToken") and target.get("oidcToken"):
        raise invalid("HttpTarget: set oauth_token or oidc_token, not both.")
    email = (target.get("oauthToken") or target.get("oidcToken") or {}).get("serviceAccountEmail")
    is_ours = email and email.endswith(f"@{project.id}.iam.gserviceaccount.com")
    if is_ours and f"projects/{project.id}/serviceAccounts/{email}" not in project.resources(SERVICE_ACCOUNTS):
        raise not_found(f"Service account {email} does not exist.")


def _complete(new: Json, change: Change) -> Json:
    job = {
        "attemptDeadline": "180s",
        "state": "ENABLED",
        "timeZone": "UTC",
        **new,
        "userUpdateTime": change.moment,
    }
    if new.get("retryConfig"):
        job["retryConfig"] = {**RETRY, **new["retryConfig"]}
    if "httpTarget" in new:
        target = {"httpMethod": "POST", **new["httpTarget"]}
        job["httpTarget"] = {**target, "headers": {**AGENT, **(target.get("headers") or {})}}
    return _scheduled(job)


def _scheduled(job: Json) -> Json:
    """Return a job with its next time; what a schedule in English means is not known here.

    Raises CloudError: 400 for a schedule that cannot be read.
    """
    rest = {name: value for name, value in job.items() if name != "scheduleTime"}
    following = None if ENGLISH.fullmatch(job["schedule"]) else jobs.next_time(job, datetime.now(UTC))
    return {**rest, "scheduleTime": jobs.write_time(following)} if following else rest


def _run(broker: Broker) -> Callable[[Project, Call], Json]:
    """Return what runs a job at once and answers with how that went."""

    def answer(project: Project, call: Call) -> Json:
        name = resources.name_of(COLLECTION, project, call)
        with project.holding(name):
            job = jobs.run(resources.found(COLLECTION, project, name), broker.publish, datetime.now(UTC))
            project.resources(JOBS)[name] = job
        return job

    return answer


def _switch(state: str) -> Callable[[Project, Call], Json]:
    # The provider resumes a job that it has just made; Google takes that although its reference says otherwise.
    def answer(project: Project, call: Call) -> Json:
        name = resources.name_of(COLLECTION, project, call)
        with project.lock:
            job = _scheduled({**resources.found(COLLECTION, project, name), "state": state})
            project.resources(JOBS)[name] = job
        return job

    return answer


COLLECTION = Collection(methods=JOBS, new_id=_id, id_rule=ID, check=_check, complete=_complete)
BEHAVIOUR = {f"{JOBS}.pause": _switch("PAUSED"), f"{JOBS}.resume": _switch("ENABLED")}
