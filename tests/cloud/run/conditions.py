"""Conditions of services and revisions, and the operation errors that follow from them, in Cloud Run's words."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from tests.cloud.logging.entries import Origin
from tests.cloud.project import now
from tests.cloud.run.specs import Spec
from tests.cloud.schemas import Json

READY = "Ready"
TROUBLESHOOTING = "https://cloud.google.com/run/docs/troubleshooting#container-failed-to-start"
# google.rpc.Code, as the operations of failed deployments carry it.
NOT_FOUND = 5
FAILED_PRECONDITION = 9
INTERNAL = 13
SECRETS_FAILED = "SECRETS_ACCESS_CHECK_FAILED"


@dataclass(frozen=True)
class Failure:
    """Why something did not become ready; `reason` is the field of a condition that says so, with its value."""

    code: int
    message: str
    reason: tuple[str, str]


def condition(kind: str, failure: Failure | None = None) -> Json:
    """Return a condition that holds, or that failed."""
    said = {"type": kind, "lastTransitionTime": now()}
    if failure is None:
        return {**said, "state": "CONDITION_SUCCEEDED"}
    field, value = failure.reason
    return {**said, "state": "CONDITION_FAILED", "severity": "ERROR", "message": failure.message, field: value}


def image_missing(revision: str, message: str) -> Failure:
    """Return the failure of a revision whose image the registry does not have."""
    text = f"Revision '{revision}' is not ready and cannot serve traffic. {message}"
    return Failure(NOT_FOUND, text, ("reason", "CONTAINER_MISSING"))


def secrets_unavailable(revision: str, message: str) -> Failure:
    """Return the failure of a revision whose identity cannot read its secrets."""
    text = f"Revision '{revision}' is not ready and cannot serve traffic. {message}"
    return Failure(INTERNAL, text, ("reason", SECRETS_FAILED))


def not_started(origin: Origin, spec: Spec) -> Failure:
    """Return the failure of a revision whose container did not pass its startup probe."""
    why = (
        "The user-provided container failed to start and listen on the port defined provided by the "
        f"PORT={spec.port} environment variable within the allocated timeout. This can happen when the container port "
        "is misconfigured or if the timeout is too short. The health check timeout can be extended."
    )
    if not spec.startup.default:
        why = "The user-provided container failed the configured startup probe checks."
    text = (
        f"Revision '{origin.revision}' is not ready and cannot serve traffic. {why} Logs for this revision might "
        f"contain more information.\n\nLogs URL: {log_uri(origin)}\nFor more troubleshooting guidance, see "
        f"{TROUBLESHOOTING}"
    )
    return Failure(FAILED_PRECONDITION, text, ("revisionReason", "HEALTH_CHECK_CONTAINER_ERROR"))


def revision_missing(revision: str) -> Failure:
    """Return the failure of a service whose traffic names a revision that it does not have."""
    text = f"Revision '{revision}' does not exist or is deleted. Update all traffic to route to currently available "
    return Failure(INTERNAL, f"{text}revisions.", ("reason", "REVISION_FAILED"))


def log_uri(origin: Origin) -> str:
    """Return the console's address for a revision's log."""
    labels = f"resource.labels.service_name={origin.service!r}\nresource.labels.revision_name={origin.revision!r}"
    wanted = f'resource.type="cloud_run_revision"\n{labels}'.replace("'", '"')
    return (
        f"https://console.cloud.google.com/logs/viewer?project={origin.project}&resource=cloud_run_revision/"
        f"service_name/{origin.service}/revision_name/{origin.revision}&advancedFilter={quote(wanted, safe='.')}"
    )


def operation_error(terminal: Json) -> Json | None:
    """Return the google.rpc.Status of an operation that ended in this terminal condition; None where it succeeded."""
    if terminal["state"] != "CONDITION_FAILED":
        return None
    codes = {"CONTAINER_MISSING": NOT_FOUND, "REVISION_FAILED": INTERNAL, SECRETS_FAILED: INTERNAL}
    return {"code": codes.get(terminal.get("reason", ""), FAILED_PRECONDITION), "message": terminal["message"]}
