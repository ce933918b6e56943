"""Notification channels: what each type needs, and secrets that are never shown again."""

from __future__ import annotations

from tests.cloud.collection import Change, Collection
from tests.cloud.errors import failed_precondition, invalid
from tests.cloud.monitoring.alerts import CHANNELS, POLICIES
from tests.cloud.schemas import Json

# The labels that a type needs: https://cloud.google.com/monitoring/support/notification-options
TYPES = {
    "email": {"email_address"},
    "google_chat": {"space"},
    "pagerduty": {"service_key"},
    "pubsub": {"topic"},
    "slack": {"channel_name", "auth_token"},
    "sms": {"number"},
    "webhook_basicauth": {"url", "username", "password"},
    "webhook_tokenauth": {"url"},
}
SENSITIVE = {"auth_token", "password", "service_key"}


def _check(new: Json, change: Change) -> None:
    needed = TYPES.get(new.get("type") or "")
    if needed is None:
        raise invalid(f'Field notification_channel.type had an invalid value of "{new.get("type")}".')
    labels = new.get("labels") or {}
    for name in sorted(needed - set(labels)):
        raise invalid(f'Field notification_channel.labels had an invalid value: the label "{name}" is missing.')
    for name in sorted(set(labels) - needed):
        raise invalid(f'Field notification_channel.labels had an invalid value: unknown label "{name}".')
    if new["type"] == "email" and "@" not in labels["email_address"]:
        raise invalid('Field notification_channel.labels["email_address"] had an invalid value.')


def _check_delete(change: Change) -> None:
    if change.call.query.get("force"):
        return
    for name, policy in change.project.resources(POLICIES).items():
        if change.name in policy.get("notificationChannels", []):
            raise failed_precondition(f"The notification channel {change.name} is used by {name}; use force.")


def _complete(new: Json, change: Change) -> Json:
    record = {"mutateTime": change.moment, "mutatedBy": change.call.request.principal or "owner@example.com"}
    records = [record, *(change.old or {}).get("mutationRecords", [])]
    created = (change.old or {}).get("creationRecord") or record
    enabled = new.get("enabled", True)
    return {**new, "enabled": enabled, "creationRecord": created, "mutationRecords": records}


def _shown(body: Json) -> Json:
    labels = {name: "*" * 8 if name in SENSITIVE else value for name, value in body.get("labels", {}).items()}
    return {**body, "labels": labels}


COLLECTION = Collection(
    methods=CHANNELS,
    check=_check,
    check_delete=_check_delete,
    complete=_complete,
    shown=_shown,
    output_only=frozenset({"creationRecord", "mutationRecords", "verificationStatus"}),
)
