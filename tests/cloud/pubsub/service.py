"""Pub/Sub: topics and subscriptions as the API has them; the broker carries the messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from tests.cloud import resources
from tests.cloud.collection import Change, Collection
from tests.cloud.discovery import Call, Document
from tests.cloud.errors import invalid, not_found
from tests.cloud.project import Project
from tests.cloud.pubsub.broker import Broker
from tests.cloud.schemas import Json
from tests.cloud.service import Behaviour, ResourceService

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


class ProjectCatalog:
    """The project's topics and subscriptions, as the broker finds them."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def topic(self, name: str) -> Json | None:
        """Return a topic, or None."""
        return self._project.resources(TOPICS).get(name)

    def subscription(self, name: str) -> Json | None:
        """Return a subscription, or None."""
        return self._project.resources(SUBSCRIPTIONS).get(name)

    def subscriptions(self) -> Iterable[Json]:
        """Return every subscription."""
        return list(self._project.resources(SUBSCRIPTIONS).values())


def service(project: Project, broker: Broker) -> ResourceService:
    """Return the API, served below /pubsub."""
    document = Document.load("pubsub", "v1", "/pubsub")
    return ResourceService(project, document, (TOPIC, _subscriptions(broker)), _behaviour(broker))


def _subscriptions(broker: Broker) -> Collection:
    """Return the collection of subscriptions, whose messages the broker pushes and forgets."""

    def effect(subscription: Json, change: Change) -> Json:
        if (subscription.get("pushConfig") or {}).get("pushEndpoint"):
            broker.start()
        return subscription

    return replace(SUBSCRIPTION, effect=effect, after_delete=lambda change: broker.forget(change.name))


def _behaviour(broker: Broker) -> dict[str, Behaviour]:
    def publish(project: Project, call: Call) -> Json:
        name = resources.name_of(TOPIC, project, call)
        return {"messageIds": broker.publish(name, call.body.get("messages") or [])}

    def pull(project: Project, call: Call) -> Json:
        name = resources.name_of(SUBSCRIPTION, project, call)
        found = broker.pull(name, call.body.get("maxMessages") or 0)
        return {"receivedMessages": found} if found else {}

    def acknowledge(project: Project, call: Call) -> Json:
        broker.acknowledge(resources.name_of(SUBSCRIPTION, project, call), _ack_ids(call))
        return {}

    def modify_ack_deadline(project: Project, call: Call) -> Json:
        name = resources.name_of(SUBSCRIPTION, project, call)
        broker.modify_ack_deadline(name, _ack_ids(call), call.body.get("ackDeadlineSeconds") or 0)
        return {}

    return {
        f"{SUBSCRIPTIONS}.acknowledge": acknowledge,
        f"{SUBSCRIPTIONS}.modifyAckDeadline": modify_ack_deadline,
        f"{SUBSCRIPTIONS}.pull": pull,
        f"{TOPICS}.publish": publish,
    }


def _ack_ids(call: Call) -> list[str]:
    ids: list[str] = call.body.get("ackIds") or []
    if not ids:
        raise invalid("No acknowledgement ids were given.")
    return ids


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
