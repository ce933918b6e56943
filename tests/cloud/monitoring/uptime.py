"""Uptime checks: what one must say, and the defaults of what it leaves open."""

from __future__ import annotations

import re

from tests.cloud.collection import Change, Collection
from tests.cloud.discovery import Call
from tests.cloud.errors import invalid
from tests.cloud.project import digest
from tests.cloud.schemas import Json

CHECKS = "monitoring.projects.uptimeCheckConfigs"
PERIODS = {"60s", "300s", "600s", "900s"}
LONGEST_TIMEOUT_SECONDS, FEWEST_REGIONS = 60, 3
TARGETS = ("monitoredResource", "resourceGroup", "syntheticMonitor")


def _id(call: Call) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", (call.body.get("displayName") or "").lower()).strip("-")
    return f"{slug}-{digest(call, length=11)}"


def _check(new: Json, change: Change) -> None:
    if new.get("period", "60s") not in PERIODS:
        raise invalid(f"uptime_check_config.period must be one of {sorted(PERIODS)}.")
    if not 1 <= float((new.get("timeout") or "0s").rstrip("s")) <= LONGEST_TIMEOUT_SECONDS:
        raise invalid(f"uptime_check_config.timeout must be from 1s to {LONGEST_TIMEOUT_SECONDS}s.")
    if sum(bool(new.get(name)) for name in TARGETS) != 1:
        raise invalid("uptime_check_config: exactly one resource must be set.")
    if not new.get("syntheticMonitor") and ("httpCheck" in new) == ("tcpCheck" in new):
        raise invalid("uptime_check_config: exactly one of http_check and tcp_check must be set.")
    http = new.get("httpCheck") or {}
    if http.get("authInfo") and http.get("serviceAgentAuthentication"):
        raise invalid("uptime_check_config.http_check: set auth_info or auth_method, not both.")
    if new.get("selectedRegions") and len(new["selectedRegions"]) < FEWEST_REGIONS and not _has_usa(new):
        raise invalid(f"uptime_check_config.selected_regions must hold at least {FEWEST_REGIONS} locations.")


def _has_usa(new: Json) -> bool:
    return "USA" in new["selectedRegions"]  # which stands for three locations


def _complete(new: Json, change: Change) -> Json:
    completed = {**new, "period": new.get("period", "60s"), "checkerType": new.get("checkerType", "STATIC_IP_CHECKERS")}
    if (new.get("httpCheck") or {}).get("serviceAgentAuthentication"):
        change.project.agents.add(change.project.agent("gcp-sa-monitoring-notification"))
    if "httpCheck" in new:
        asked = new["httpCheck"] or {}
        port = 443 if asked.get("useSsl") else 80
        completed["httpCheck"] = {"path": "/", "port": port, "requestMethod": "GET", **_without_zero(asked)}
    if "monitoredResource" in new:
        labels = {"project_id": change.project.id, **(new["monitoredResource"].get("labels") or {})}
        completed["monitoredResource"] = {**new["monitoredResource"], "labels": labels}
    return completed


def _without_zero(values: Json) -> Json:
    return {name: value for name, value in values.items() if value not in (0, "", "METHOD_UNSPECIFIED")}


COLLECTION = Collection(
    methods=CHECKS, new_id=_id, check=_check, complete=_complete, fixed=frozenset({"monitoredResource"})
)
