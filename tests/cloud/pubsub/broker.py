"""What Pub/Sub does with messages: takes them, keeps a copy for each subscription, lets pull, and pushes.

Topics and subscriptions themselves are asked of the catalog each time, as the API describes them. Times are seconds of
the clock that is given. Pushes are made by push_due(), or by a thread between start() and stop().
"""

from __future__ import annotations

import base64
import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from tests.cloud import oauth, outgoing
from tests.cloud.errors import invalid, not_found, unimplemented
from tests.cloud.instants import SECOND, read_duration, write_instant
from tests.cloud.schemas import Json

# https://cloud.google.com/pubsub/quotas#resource_limits
MOST_MESSAGES = 1000
MOST_ATTRIBUTES = 100
LONGEST_KEY, LONGEST_VALUE = 256, 1024
LARGEST_BYTES = 10_000_000
RETENTION_SECONDS = 7 * 24 * 3600.0
ACK_SECONDS = 10
LONGEST_ACK_SECONDS = 600
MOST_ATTEMPTS = 5  # where a dead-letter policy names no number
# https://cloud.google.com/pubsub/docs/push: what acknowledges, and how long the next push waits without a retry policy
ACKNOWLEDGING = {102, 200, 201, 202, 204}
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.1, 60.0
RETRY_POLICY = {"minimumBackoff": "10s", "maximumBackoff": "600s"}
# Longer than any subscriber that still answers; the thread looks again when something was published.
IDLE_SECONDS = 3600.0

# Takes a topic and a message.
Listener = Callable[[str, Json], None]


class Catalog(Protocol):
    """The topics and subscriptions that there are, by their full names."""

    def topic(self, name: str) -> Json | None:
        """Return a topic, or None."""

    def subscription(self, name: str) -> Json | None:
        """Return a subscription, or None."""

    def subscriptions(self) -> Iterable[Json]:
        """Return every subscription."""


@dataclass
class _Copy:
    """A message as one subscription has it."""

    message: Json
    published: float
    available: float  # from when it may be handed out
    attempts: int = 0
    ack_id: str = ""


class Broker:
    """The messages of one project; safe for threads."""

    def __init__(
        self, catalog: Catalog, send: outgoing.Send = outgoing.send, clock: Callable[[], float] = time.time
    ) -> None:
        """Make one without messages."""
        self._catalog = catalog
        self._send = send
        self._clock = clock
        self._ids = itertools.count(1)
        self._changed = threading.Condition()
        self._queues: dict[str, list[_Copy]] = {}
        self._listeners: list[Listener] = []
        self._stopping = False
        self._thread: threading.Thread | None = None

    @property
    def is_pushing(self) -> bool:
        """Whether there is a thread that pushes."""
        return self._thread is not None

    def listen(self, listener: Listener) -> None:
        """Have the double itself told each message with its topic, in the thread that publishes it."""
        self._listeners.append(listener)

    def publish(self, topic: str, messages: list[Json]) -> list[str]:
        """Take messages and return their ids.

        Raises CloudError: 404 without the topic, 400 for a message that Pub/Sub does not take.
        """
        if self._catalog.topic(topic) is None:
            raise _unknown(topic)
        _check(messages)
        with self._changed:
            now = self._clock()
            taken = [self._stamp(message, now) for message in messages]
            for subscription in self._catalog.subscriptions():
                if subscription["topic"] == topic:
                    _check_supported(subscription)
                    queue = self._queues.setdefault(subscription["name"], [])
                    queue += [_Copy(message, now, now) for message in taken]
            self._changed.notify_all()
        for message, listener in itertools.product(taken, self._listeners):
            listener(topic, message)
        return [message["messageId"] for message in taken]

    def pull(self, subscription: str, most: int) -> list[Json]:
        """Return messages that nobody holds, and keep them from others until the deadline.

        Raises CloudError: 404 without the subscription, 400 for one that pushes or for no number of messages.
        """
        found = self._subscription(subscription)
        if most <= 0:
            raise invalid("The value for max_messages must be greater than zero.")
        if _endpoint(found):
            raise invalid(f"The subscription {subscription} pushes its messages.")
        with self._changed:
            copies = self._available(found)[:most]
            for copy in copies:
                self._hand_out(copy, found)
            return [{"ackId": copy.ack_id, "message": copy.message, **_attempt(copy, found)} for copy in copies]

    def acknowledge(self, subscription: str, ack_ids: Iterable[str]) -> None:
        """Forget messages that were handled; an id whose deadline has passed does nothing.

        Raises CloudError: 404 without the subscription.
        """
        self._subscription(subscription)
        done = set(ack_ids)
        with self._changed:
            queue = self._queues.get(subscription, [])
            queue[:] = [copy for copy in queue if copy.ack_id not in done or copy.available <= self._clock()]

    def modify_ack_deadline(self, subscription: str, ack_ids: Iterable[str], seconds: int) -> None:
        """Hold messages for longer, or give them back at once with 0 seconds.

        Raises CloudError: 404 without the subscription, 400 for a deadline beyond ten minutes.
        """
        found = self._subscription(subscription)
        if not 0 <= seconds <= LONGEST_ACK_SECONDS:
            raise invalid(f"The acknowledgement deadline must be 0 to {LONGEST_ACK_SECONDS} seconds, not {seconds}.")
        held = set(ack_ids)
        with self._changed:
            for copy in self._queues.get(subscription, []):
                if copy.ack_id in held and copy.available > self._clock():
                    copy.available = self._clock() + (seconds or _pause(copy, found))
            self._changed.notify_all()

    def forget(self, subscription: str) -> None:
        """Drop the messages of a subscription that was deleted."""
        with self._changed:
            self._queues.pop(subscription, None)

    def push_due(self) -> float | None:
        """Push every message whose time has come; return the time of the next one, or None."""
        for subscription in self._catalog.subscriptions():
            if _endpoint(subscription):
                with self._changed:
                    copies = self._available(subscription)
                for copy in copies:
                    self._push(copy, subscription)
        with self._changed:
            pushed = [one["name"] for one in self._catalog.subscriptions() if _endpoint(one)]
            return min((copy.available for name in pushed for copy in self._queues.get(name, [])), default=None)

    def start(self) -> None:
        """Push in a thread, as messages come and as their pauses end; it looks around at once."""
        with self._changed:
            self._changed.notify_all()
            if self._thread is None:
                self._stopping = False
                self._thread = threading.Thread(target=self._keep_pushing, daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Push no more, and wait for the push that is under way."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _keep_pushing(self) -> None:
        while not self._stopping:
            due = self.push_due()
            with self._changed:
                pause = IDLE_SECONDS if due is None else due - self._clock()
                if not self._stopping and pause > 0:
                    self._changed.wait_for(lambda: self._stopping or self._has_due(), timeout=pause)

    def _has_due(self) -> bool:
        now = self._clock()
        pushing = [one["name"] for one in self._catalog.subscriptions() if _endpoint(one)]
        return any(copy.available <= now for name in pushing for copy in self._queues.get(name, []))

    def _push(self, copy: _Copy, subscription: Json) -> None:
        with self._changed:
            self._hand_out(copy, subscription)
        endpoint, body = _endpoint(subscription), json.dumps(_push_body(copy, subscription)).encode()
        deadline = subscription.get("ackDeadlineSeconds") or ACK_SECONDS
        status = self._send("POST", endpoint, _push_headers(subscription), body, deadline)
        with self._changed:
            queue = self._queues.get(subscription["name"], [])
            if status in ACKNOWLEDGING:
                queue[:] = [one for one in queue if one is not copy]
                return
            copy.available = self._clock() + _pause(copy, subscription)
        self._bury(copy, subscription)

    def _bury(self, copy: _Copy, subscription: Json) -> None:
        """Send a message that failed too often to the topic of dead letters."""
        policy = subscription.get("deadLetterPolicy") or {}
        if not policy.get("deadLetterTopic") or copy.attempts < (policy.get("maxDeliveryAttempts") or MOST_ATTEMPTS):
            return
        if self._catalog.topic(policy["deadLetterTopic"]) is None:
            return
        with self._changed:
            queue = self._queues.get(subscription["name"], [])
            if not any(one is copy for one in queue):
                return  # the subscription was deleted meanwhile
            queue[:] = [one for one in queue if one is not copy]
        _, project, _, name = subscription["name"].split("/")
        source = {
            "CloudPubSubDeadLetterSourceDeliveryCount": str(copy.attempts),
            "CloudPubSubDeadLetterSourceSubscription": name,
            "CloudPubSubDeadLetterSourceSubscriptionProject": project,
            "CloudPubSubDeadLetterSourceTopicPublishTime": copy.message["publishTime"],
        }
        attributes = {**copy.message.get("attributes", {}), **source}
        data = {"data": copy.message["data"]} if "data" in copy.message else {}
        self.publish(policy["deadLetterTopic"], [{**data, "attributes": attributes}])

    def _available(self, subscription: Json) -> list[_Copy]:
        """Return the copies that may be handed out, and drop those that were kept too long."""
        now = self._clock()
        text = subscription.get("messageRetentionDuration")
        kept = read_duration(text) if text else RETENTION_SECONDS
        queue = self._queues.setdefault(subscription["name"], [])
        queue[:] = [copy for copy in queue if now - copy.published < kept]
        return [copy for copy in queue if copy.available <= now]

    def _hand_out(self, copy: _Copy, subscription: Json) -> None:
        copy.attempts += 1
        copy.ack_id = uuid.uuid4().hex
        copy.available = self._clock() + (subscription.get("ackDeadlineSeconds") or ACK_SECONDS)

    def _subscription(self, name: str) -> Json:
        found = self._catalog.subscription(name)
        if found is None:
            raise _unknown(name)
        return found

    def _stamp(self, message: Json, now: float) -> Json:
        own = {name: message[name] for name in ("data", "attributes", "orderingKey") if message.get(name)}
        return {
            **own,
            "messageId": str(next(self._ids)),
            "publishTime": write_instant(int(now * 1000) * SECOND // 1000),
        }


def _unknown(name: str) -> Exception:
    return not_found(f"Resource not found (resource={name.rpartition('/')[2]}).")


def _endpoint(subscription: Json) -> str:
    return (subscription.get("pushConfig") or {}).get("pushEndpoint") or ""


def _check_supported(subscription: Json) -> None:
    if subscription.get("filter"):
        raise unimplemented("filters of subscriptions")
    if "noWrapper" in (subscription.get("pushConfig") or {}):
        raise unimplemented("pushes without their wrapper")
    if _endpoint(subscription):
        outgoing.check(_endpoint(subscription))  # whoever publishes hears of it, not the thread that pushes


def _check(messages: list[Json]) -> None:
    if not messages:
        raise invalid(
            "The value for message_count is too small. You passed 0 in the request, but the minimum value is 1."
        )
    if len(messages) > MOST_MESSAGES:
        raise invalid(f"The value for message_count is too large, the maximum value is {MOST_MESSAGES}.")
    for message in messages:
        _check_message(message)
    if sum(len(json.dumps(message)) for message in messages) > LARGEST_BYTES:
        raise invalid(f"Request payload size exceeds the limit: {LARGEST_BYTES} bytes.")


def _check_message(message: Json) -> None:
    attributes = message.get("attributes") or {}
    if not message.get("data") and not attributes:
        raise invalid(
            "One or more messages in the publish request is empty. Each message must contain either non-empty data, "
            "or at least one attribute."
        )
    if len(attributes) > MOST_ATTRIBUTES:
        raise invalid(f"A message has {len(attributes)} attributes, the maximum is {MOST_ATTRIBUTES}.")
    for key, value in attributes.items():
        if not key or len(key.encode()) > LONGEST_KEY or key.startswith("goog"):
            raise invalid(f"A message attribute key is empty, too long or reserved: '{key}'.")
        if len(value.encode()) > LONGEST_VALUE:
            raise invalid(f"The attribute '{key}' has a value of more than {LONGEST_VALUE} bytes.")


def _pause(copy: _Copy, subscription: Json) -> float:
    """Return how long a message waits that was not acknowledged: with each attempt twice as long."""
    policy = subscription.get("retryPolicy")
    if policy is not None:
        named = {**RETRY_POLICY, **policy}
        first, longest = read_duration(named["minimumBackoff"]), read_duration(named["maximumBackoff"])
    elif _endpoint(subscription):
        first, longest = FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS
    else:
        return 0.0  # redelivered at once
    return float(min(longest, first * 2 ** (copy.attempts - 1)))


def _attempt(copy: _Copy, subscription: Json) -> Json:
    return {"deliveryAttempt": copy.attempts} if subscription.get("deadLetterPolicy") else {}


def _push_body(copy: _Copy, subscription: Json) -> Json:
    """Return what is posted: https://cloud.google.com/pubsub/docs/push#receive_push."""
    message = copy.message
    both = {"message_id": message["messageId"], "publish_time": message["publishTime"]}
    return {"message": {**message, **both}, "subscription": subscription["name"], **_attempt(copy, subscription)}


def _push_headers(subscription: Json) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": "CloudPubSub-Google", "Accept": "application/json"}
    token = subscription["pushConfig"].get("oidcToken")
    if not token:
        return headers
    audience = token.get("audience") or _endpoint(subscription)
    identity = oauth.identity_token(token["serviceAccountEmail"], audience)
    return {**headers, "Authorization": f"Bearer {identity}"}


def text_message(text: str, **attributes: str) -> Json:
    """Return a message of a text, as publish() takes it."""
    return {"data": base64.b64encode(text.encode()).decode(), "attributes": attributes}
