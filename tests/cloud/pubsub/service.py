"""Pub/Sub: topics and subscriptions; messages are not carried here."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.cloud.collection import Change, Collection
from tests.cloud.discovery import Call, Document
from tests.cloud.errors import invalid, not_found
from tests.cloud.project import Project
from tests.cloud.schemas import Json
from tests.cloud.service import ResourceService

TOPICS = "pubsub.projects.topics"
SUBSCRIPTIONS = "pubsub.projects.subscriptions"
# https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names
ID = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}")
DELETED_TOPIC = "_deleted-topic_"
DEFAULTS = {
    "ackDeadlineSeconds": 10,
    "expirationPolicy": {"ttl": "2678400s"},
    "messageRetentionDuration": "604800s",
    "pushConfig": {},
}
LEAST_ACK_SECONDS, MOST_ACK_SECONDS = 10, 600


def service(project: Project) -> ResourceService:
    """Return the API, served below /pubsub."""
    return ResourceService(project, Document.load("pubsub", "v1", "/pubsub"), (TOPIC, SUBSCRIPTION))


def _body(field: str) -> Callable[[Call], Json]:
    """Return the reading of a resource that an update has below a field of its own."""
    return lambda call: (call.body.get(field) or {}) if call.method.action == "patch" else call.body


def _mask(call: Call) -> str | None:
    # Terraform gives it as a parameter, the client libraries in the body.
    mask: str | None = call.body.get("updateMask") or call.query.get("updateMask")
    if not mask:
        raise invalid("The update_mask in the Update request must be set, and must contain a non-empty paths list.")
    return mask


def _check_subscription(new: Json, change: Change) -> None:
    topic = new.get("topic") or ""
    known = change.project.resources(TOPICS)
    if topic != DELETED_TOPIC and change.project.canonical(topic, change.call.document.host) not in known:
        raise not_found(f"Resource not found (resource={topic.rpartition('/')[2]}).")
    if not LEAST_ACK_SECONDS <= (new.get("ackDeadlineSeconds") or LEAST_ACK_SECONDS) <= MOST_ACK_SECONDS:
        raise invalid(f"The acknowledgement deadline must be {LEAST_ACK_SECONDS} to {MOST_ACK_SECONDS} seconds.")
    endpoint = (new.get("pushConfig") or {}).get("pushEndpoint")
    if endpoint and not endpoint.startswith(("https://", "http://127.0.0.1", "http://localhost")):
        raise invalid(f"Invalid push endpoint given (endpoint={endpoint}).")
    dead = (new.get("deadLetterPolicy") or {}).get("deadLetterTopic")
    if dead and dead not in known:
        raise not_found(f"Resource not found (resource={dead.rpartition('/')[2]}).")


def _complete_subscription(new: Json, change: Change) -> Json:
    topic = change.project.canonical(new["topic"], change.call.document.host)
    return {**DEFAULTS, **new, "topic": topic, "state": "ACTIVE"}


def _orphan(change: Change) -> None:
    """Leave the subscriptions of a deleted topic without one, as the service does."""
    with change.project.lock:
        for subscription in change.project.resources(SUBSCRIPTIONS).values():
            if subscription["topic"] == change.name:
                subscription["topic"] = DELETED_TOPIC


TOPIC = Collection(
    methods=TOPICS,
    id_rule=ID,
    complete=lambda new, change: {**new, "state": "ACTIVE"},
    after_delete=_orphan,
    body=_body("topic"),
    mask=_mask,
    schema="Topic",
)
SUBSCRIPTION = Collection(
    methods=SUBSCRIPTIONS,
    id_rule=ID,
    check=_check_subscription,
    complete=_complete_subscription,
    body=_body("subscription"),
    mask=_mask,
    schema="Subscription",
    fixed=frozenset({"topic", "filter", "enableMessageOrdering"}),
)
