"""Cloud Billing Budgets: budgets of the account that pays for the project."""

from __future__ import annotations

import uuid

from tests.cloud.collection import Change, Collection
from tests.cloud.discovery import Document
from tests.cloud.errors import denied, invalid, not_found
from tests.cloud.monitoring.alerts import CHANNELS
from tests.cloud.project import Project
from tests.cloud.pubsub.service import TOPICS
from tests.cloud.schemas import Json
from tests.cloud.service import ResourceService

BUDGETS = "billingbudgets.billingAccounts.budgets"
MOST_CHANNELS = 5
PERIODS = ("calendarPeriod", "customPeriod")


def service(project: Project) -> ResourceService:
    """Return the API, served below /billingbudgets."""
    return ResourceService(project, Document.load("billingbudgets", "v1", "/billingbudgets"), (COLLECTION,))


def _check(new: Json, change: Change) -> None:
    account = change.name.split("/")[1]
    if account != change.project.billing_account:
        raise denied(f"The caller does not have permission on the billing account {account}.")
    amount = new.get("amount") or {}
    if ("specifiedAmount" in amount) == ("lastPeriodAmount" in amount):
        raise invalid("budget.amount: exactly one of specified_amount and last_period_amount must be set.")
    for rule in new.get("thresholdRules") or []:
        if (rule.get("thresholdPercent") or -1) < 0:
            raise invalid("budget.threshold_rules: threshold_percent is required and must not be negative.")
    _check_notifications(new.get("notificationsRule") or {}, change.project)
    for name in (new.get("budgetFilter") or {}).get("projects") or []:
        change.project.canonical(name, change.call.document.host)


def _check_notifications(rule: Json, project: Project) -> None:
    channels = rule.get("monitoringNotificationChannels") or []
    if len(channels) > MOST_CHANNELS:
        raise invalid(f"At most {MOST_CHANNELS} monitoring notification channels are allowed.")
    for channel in channels:
        if channel not in project.resources(CHANNELS):
            raise not_found(f"The notification channel '{channel}' does not exist.")
    if rule.get("pubsubTopic") and rule["pubsubTopic"] not in project.resources(TOPICS):
        raise not_found(f"The topic '{rule['pubsubTopic']}' does not exist.")
    if rule and not channels and not rule.get("pubsubTopic"):
        raise invalid("budget.notifications_rule needs a topic or notification channels.")


def _complete(new: Json, change: Change) -> Json:
    asked = new.get("budgetFilter") or {}
    defaults = {"creditTypesTreatment": "INCLUDE_ALL_CREDITS"}
    if not any(period in asked for period in PERIODS):
        defaults["calendarPeriod"] = "MONTH"
    chosen = {**defaults, **asked}
    if asked.get("projects"):
        chosen["projects"] = [f"projects/{change.project.number}"]
    rules = [{"spendBasis": "CURRENT_SPEND", **rule} for rule in new.get("thresholdRules") or []]
    return {**new, "budgetFilter": chosen, "amount": _priced(new["amount"]), "thresholdRules": rules}


def _priced(amount: Json) -> Json:
    specified = amount.get("specifiedAmount")
    return amount if specified is None else {"specifiedAmount": {"currencyCode": "USD", **specified}}


COLLECTION = Collection(methods=BUDGETS, new_id=lambda call: str(uuid.uuid4()), check=_check, complete=_complete)
