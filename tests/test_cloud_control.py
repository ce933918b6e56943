"""The control plane of the double: resources, policies, principals and refusals, as clients of Google meet them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from google.api_core import exceptions as google_errors
from google.auth.credentials import AnonymousCredentials
from google.cloud import run_v2, storage
from googleapiclient.errors import HttpError

from tests.cloud import CloudDouble, access, conditions, oauth, roles
from tests.cloud.api import api_client, run_client
from tests.cloud.control import BEHAVIOUR
from tests.cloud.discovery import Document
from tests.cloud.errors import CloudError
from tests.cloud.project import FRESH_APIS
from tests.cloud.schemas import Json
from tests.cloud.service import ResourceService
from tests.cloud.tripwire import Tripwire
from tests.server import ROOT

PROJECT = "projects/local-project"
REGION = f"{PROJECT}/locations/europe-west6"
SERVICES = f"/run/v2/{REGION}/services"
SERVICE = {"template": {"containers": [{"image": "us-docker.pkg.dev/cloudrun/container/hello"}]}}
ACCOUNTS = f"/iam/v1/{PROJECT}/serviceAccounts"
METRICS = f"/logging/v2/{PROJECT}/metrics"
METRIC = {"name": "churn/requests", "filter": "severity>=ERROR"}
POLICIES = f"/monitoring/v3/{PROJECT}/alertPolicies"
SERVE = "serve@local-project.iam.gserviceaccount.com"
PROXIED = f"/iap/v1/{PROJECT}/iap_web/cloud_run-europe-west6/services/churn"
PERSON = "person@example.com"
STALE = oauth.identity_token(PERSON, "http://127.0.0.1", -1)
PREFIX = 'resource.name.startsWith("projects/_/buckets/models/objects/churn/")'


@pytest.fixture
def cloud() -> Iterator[CloudDouble]:
    """Give a project in which every API is enabled."""
    with CloudDouble() as double:
        yield double


@pytest.fixture
def http(cloud: CloudDouble) -> Iterator[httpx2.Client]:
    """Give a plain HTTP client of the project's owner."""
    with httpx2.Client(base_url=cloud.url, trust_env=False) as client:
        yield client


@pytest.fixture
def serve(http: httpx2.Client) -> str:
    """Give the service account `serve`."""
    assert http.post(ACCOUNTS, json={"accountId": "serve-account"}).status_code == 200
    return "serve-account@local-project.iam.gserviceaccount.com"


@pytest.fixture
def build_client(cloud: CloudDouble) -> Iterator[Callable[..., Any]]:
    """Give what builds Google's own client of an API from its description."""
    with contextlib.ExitStack() as stack:

        def build(name: str, version: str) -> Any:
            return stack.enter_context(api_client(cloud, name, version))

        yield build


def assert_refused(response: httpx2.Response, status: int, rpc: str, words: str = "") -> Json:
    """Check status and shape of an error as the newer APIs give it; return it."""
    assert response.status_code == status, response.text
    error: Json = response.json()["error"]
    assert (error["code"], error["status"]) == (status, rpc)
    assert words in error["message"]
    assert "errors" not in error
    return error


def assert_not_enabled(response: httpx2.Response, words: str) -> Json:
    """Check the refusal of an API that is not enabled: its reason is there for newer and for older clients."""
    assert response.status_code == 403, response.text
    error: Json = response.json()["error"]
    assert (error["code"], error["status"], error["details"][0]["reason"]) == (
        403,
        "PERMISSION_DENIED",
        "SERVICE_DISABLED",
    )
    (legacy,) = error["errors"]
    assert (legacy["reason"], legacy["domain"], legacy["message"]) == (
        "accessNotConfigured",
        "usageLimits",
        error["message"],
    )
    assert words in error["message"]
    return error


def grant(http: httpx2.Client, resource: str, role: str, *members: str, condition: str | None = None) -> None:
    """Add a binding to the policy of a resource by its path below the double."""
    policy = http.post(f"{resource}:getIamPolicy", json={})
    if policy.status_code == 404:  # older APIs ask with POST, newer ones with GET
        policy = http.get(f"{resource}:getIamPolicy")
    binding: Json = {"role": role, "members": list(members)}
    if condition:
        binding["condition"] = {"title": "t", "expression": condition}
    bindings = [*policy.json().get("bindings", []), binding]
    body = {"policy": {**policy.json(), "version": 3, "bindings": bindings}}
    done = http.post(f"{resource}:setIamPolicy", json=body)
    assert done.status_code == 200, done.text


class TestResources:
    """What every collection does, tried on some."""

    def test_a_resource_is_made_read_listed_and_deleted(self, http: httpx2.Client) -> None:
        """Create answers the resource, get and list find it, delete ends it, and each is told apart from absence."""
        made = http.post(METRICS, json=METRIC).json()
        path = f"{METRICS}/churn%2Frequests"
        assert http.get(path).json() == made
        assert http.get(METRICS).json() == {"metrics": [made]}
        assert_refused(http.post(METRICS, json=METRIC), 409, "ALREADY_EXISTS")
        assert http.delete(path).json() == {}
        assert_refused(http.get(path), 404, "NOT_FOUND")
        assert_refused(http.delete(path), 404, "NOT_FOUND")
        assert http.get(METRICS).json() == {}

    def test_a_list_comes_in_pages(self, http: httpx2.Client) -> None:
        """PageSize cuts, and the token goes on where the page ended."""
        for name in "abcde":
            http.post(METRICS, json={**METRIC, "name": name})
        names, token = [], ""
        while token is not None:
            page = http.get(METRICS, params={"pageSize": 2, "pageToken": token}).json()
            names.append([metric["name"] for metric in page["metrics"]])
            token = page.get("nextPageToken")
        assert names == [["a", "b"], ["c", "d"], ["e"]]

    def test_fields_that_the_server_owns_are_ignored(self, http: httpx2.Client) -> None:
        """A body may hold read-only fields, and they change nothing."""
        made = http.post(METRICS, json={**METRIC, "createTime": "2000-01-01T00:00:00Z", "resourceName": "x"}).json()
        assert made["resourceName"] == f"{PROJECT}/metrics/churn/requests"
        assert not made["createTime"].startswith("2000")

    @pytest.mark.parametrize("mask", ["displayName", "display_name"])
    def test_a_mask_names_what_changes(self, mask: str, http: httpx2.Client) -> None:
        """Only the fields of the mask change, in either spelling; what it names and the body lacks is cleared."""
        service = http.post(
            f"/monitoring/v3/{PROJECT}/services?serviceId=churn", json={"displayName": "a", "custom": {}}
        )
        path = f"/monitoring/v3/{PROJECT}/services/churn"
        changed = {"displayName": "b", "userLabels": {"x": "y"}}
        assert http.patch(path, params={"updateMask": mask}, json=changed).json()["displayName"] == "b"
        assert "userLabels" not in http.get(path).json()
        assert "displayName" not in http.patch(path, params={"updateMask": mask}, json={}).json()
        assert service.json()["name"] == http.get(path).json()["name"]

    def test_a_mask_reaches_into_maps_and_messages(self, http: httpx2.Client) -> None:
        """A path may end inside a message, and one that names nothing is refused."""
        http.post(SERVICES, params={"serviceId": "churn"}, json={**SERVICE, "labels": {"a": "1", "b": "2"}})
        done = http.patch(f"{SERVICES}/churn", params={"updateMask": "labels.a"}, json={"labels": {"a": "3", "b": "4"}})
        assert done.json()["response"]["labels"] == {"a": "3", "b": "2"}
        refused = http.patch(f"{SERVICES}/churn", params={"updateMask": "nothing"}, json={})
        assert_refused(refused, 400, "INVALID_ARGUMENT", "nothing")

    def test_a_location_may_be_left_open_in_lists(self, http: httpx2.Client) -> None:
        """A list of the location `-` holds every location."""
        for region in ("europe-west6", "us-east1"):
            http.post(f"/run/v2/{PROJECT}/locations/{region}/services?serviceId=churn", json=SERVICE)
        assert len(http.get(f"/run/v2/{PROJECT}/locations/-/services").json()["services"]) == 2
        assert len(http.get(SERVICES).json()["services"]) == 1

    def test_an_operation_can_be_asked_for_again(self, http: httpx2.Client) -> None:
        """What takes time elsewhere is done here, and its operation is kept; another name is 404."""
        operation = http.post(SERVICES, params={"serviceId": "churn"}, json=SERVICE).json()
        assert operation["done"]
        assert http.get(f"/run/v2/{operation['name']}").json() == operation
        assert http.post(f"/run/v2/{operation['name']}:wait", json={}).json() == operation
        assert_refused(http.get(f"/run/v2/{REGION}/operations/other"), 404, "NOT_FOUND")

    def test_an_older_etag_is_refused(self, http: httpx2.Client) -> None:
        """An update or deletion that names an etag needs the present one."""
        path = f"{SERVICES}/churn"
        http.post(SERVICES, params={"serviceId": "churn"}, json=SERVICE)
        first = http.get(path).json()
        assert http.patch(path, json=first).status_code == 200
        assert_refused(http.patch(path, json=first), 409, "ABORTED")
        assert_refused(http.delete(path, params={"etag": first["etag"]}), 409, "ABORTED")
        assert http.delete(path, params={"etag": http.get(path).json()["etag"]}).status_code == 200

    def test_trying_changes_nothing(self, http: httpx2.Client) -> None:
        """ValidateOnly checks and answers, and nothing is kept."""
        tried = http.post(SERVICES, params={"serviceId": "churn", "validateOnly": True}, json=SERVICE)
        assert tried.json()["response"]["template"]["timeout"] == "300s"
        assert_refused(http.get(f"{SERVICES}/churn"), 404, "NOT_FOUND")
        assert http.get(f"{SERVICES}/churn/revisions").status_code == 404
        http.post(SERVICES, params={"serviceId": "churn"}, json=SERVICE)
        before = http.get(f"{SERVICES}/churn").json()
        wanted = {"template": {**SERVICE["template"], "timeout": "10s"}}
        tried = http.patch(f"{SERVICES}/churn", params={"validateOnly": True}, json=wanted)
        assert tried.json()["response"]["template"]["timeout"] == "10s"
        assert http.delete(f"{SERVICES}/churn", params={"validateOnly": True}).status_code == 200
        assert http.get(f"{SERVICES}/churn").json() == before
        assert len(http.get(f"{SERVICES}/churn/revisions").json()["revisions"]) == 1

    def test_tests_see_what_is_kept(self, http: httpx2.Client, cloud: CloudDouble) -> None:
        """The double gives a copy of each collection by full name."""
        http.post(METRICS, json=METRIC)
        kept = cloud.resources("logging.projects.metrics")
        assert list(kept) == [f"{PROJECT}/metrics/churn/requests"]
        kept.clear()
        assert cloud.resources("logging.projects.metrics")

    def test_the_project_has_a_number_too(self, http: httpx2.Client, cloud: CloudDouble) -> None:
        """A resource is found under the project's id and number, and another project is refused without a hint."""
        http.post(METRICS, json=METRIC)
        number = http.get(f"/cloudresourcemanager/v1/{PROJECT}").json()["projectNumber"]
        assert http.get(f"/logging/v2/projects/{number}/metrics").json() == http.get(METRICS).json()
        error = assert_refused(http.get("/logging/v2/projects/other/metrics"), 403, "PERMISSION_DENIED")
        assert error["details"][0]["reason"] == "CONSUMER_INVALID"

    def test_a_busy_api_answers_429(self, http: httpx2.Client, cloud: CloudDouble) -> None:
        """A fault rule strikes any method, in the shape of its API."""
        cloud.faults.add("status", method="logging.projects.metrics.create", status=429)
        assert_refused(http.post(METRICS, json=METRIC), 429, "RESOURCE_EXHAUSTED")
        assert http.post(METRICS, json=METRIC).status_code == 200


THRESHOLD = {"filter": 'metric.type="x" resource.type="y"', "duration": "0s", "comparison": "COMPARISON_GT"}
CONDITION = {"displayName": "c", "conditionThreshold": THRESHOLD}
POLICY: Json = {"displayName": "p", "combiner": "OR", "conditions": [CONDITION]}
DATASET = {"datasetReference": {"projectId": "local-project", "datasetId": "records"}}
TABLE = {"tableReference": {"projectId": "local-project", "datasetId": "records", "tableId": "t"}}
TRIGGERS = f"/cloudbuild/v1/{REGION}/triggers"
TRIGGER = {"name": "t", "sourceToBuild": {"uri": "https://x/y.git", "ref": "refs/heads/main"}, "filename": "b.yaml"}
BUILD = {"steps": [{"name": "ubuntu"}]}


def changed(base: Json, **fields: Any) -> Json:
    """Return a body with other fields."""
    return {**base, **fields}


def with_variable(name: str, value: str) -> Json:
    """Return a service of Cloud Run whose container has an environment variable."""
    return {"template": {"containers": [{"image": "x", "env": [{"name": name, "value": value}]}]}}


def limited(**limits: str) -> Json:
    """Return a service of Cloud Run whose container has these limits."""
    return {"template": {"containers": [{"image": "x", "resources": {"limits": limits}}]}}


def sized(template: Json | None = None, cpu_idle: bool = True, **limits: str) -> Json:
    """Return a service of Cloud Run with these limits, billed by requests, in a template that says more."""
    resources = {"limits": limits, "cpuIdle": cpu_idle}
    return {"template": {"containers": [{"image": "x", "resources": resources}], **(template or {})}}


def aligned(**aggregation: str) -> Json:
    """Return an alert policy whose one condition has an aggregation."""
    condition = {**CONDITION, "conditionThreshold": {**THRESHOLD, "aggregations": [aggregation]}}
    return {**POLICY, "conditions": [condition]}


def linked(*urls: str, name: str = "Runbook") -> Json:
    """Return an alert policy whose documentation links to pages."""
    return {**POLICY, "documentation": {"links": [{"displayName": name, "url": url} for url in urls]}}


def objective(indicator: Json) -> Json:
    """Return a service level objective."""
    return {"goal": 0.9, "rollingPeriod": "86400s", "serviceLevelIndicator": {"requestBased": indicator}}


GEN2 = {"executionEnvironment": "EXECUTION_ENVIRONMENT_GEN2"}
GOOD_TEMPLATES = {
    "most-of-1": sized(cpu="1", memory="4Gi"),
    "most-of-2": sized(cpu="2000m", memory="8Gi"),
    "most-of-half": sized(cpu="500m", memory="1Gi"),
    "least-of-gen2": sized(GEN2, memory="512Mi"),
    "less-than-1": sized({"maxInstanceRequestConcurrency": 1}, cpu="80m", memory="128Mi"),
    "always-billed": sized(cpu_idle=False, cpu="1"),
}
BAD_TEMPLATES = {
    "memory-of-1": (sized(cpu="1", memory="4097Mi"), "at most 4096Mi"),
    "memory-of-2": (sized(cpu="2", memory="9Gi"), "at most 8192Mi"),
    "memory-of-4": (sized(cpu="4", memory="17Gi"), "at most 16384Mi"),
    "memory-of-6": (sized(cpu="6", memory="25Gi"), "at most 24576Mi"),
    "memory-of-8": (sized(cpu="8", memory="33Gi"), "at most 32768Mi"),
    "memory-below-1": (sized(cpu="900m", memory="1025Mi"), "at most 1024Mi"),
    "memory-below-half": (sized(cpu="400m", memory="513Mi"), "at most 512Mi"),
    "memory-of-gen2": (sized(GEN2, memory="256Mi"), "at least 512Mi"),
    "concurrency-below-1": (sized({"maxInstanceRequestConcurrency": 2}, cpu="500m"), "must be 1"),
    "billing-below-1": (sized(cpu_idle=False, cpu="500m"), "cpuIdle"),
    "gen2-below-1": (sized(GEN2, cpu="500m"), "first generation"),
    "negative-concurrency": (sized({"maxInstanceRequestConcurrency": -1}), "from 0 to 1000"),
    "unknown-limit": (sized(disk="1Gi"), "disk"),
}
COUNTER, HISTOGRAM = (
    f'metric.type="run.googleapis.com/{name}" resource.type="cloud_run_revision"'
    for name in ("request_count", "request_latencies")
)
PROMQL = {
    "displayName": "c",
    "conditionPrometheusQueryLanguage": {"query": "up > 0", "disableMetricValidation": True},
}
BAD_POLICIES = {
    "label-value": (changed(POLICY, userLabels={"team": "Data"}), "the value 'Data'"),
    "long-label-value": (changed(POLICY, userLabels={"team": "a" * 64}), "the value"),
    "label-key": (changed(POLICY, userLabels={"1team": "a"}), "the key '1team'"),
    "labels": (changed(POLICY, userLabels={f"a{index}": "" for index in range(65)}), "more than 64"),
    "link": (linked("runbook.md"), "runbook.md"),
    "link-without-name": (linked("https://example.com", name=""), "display_name"),
    "links": (linked(*["https://example.com"] * 4), "more than 3"),
    "long-text": (changed(POLICY, documentation={"content": "a" * 8193}), "8192 characters"),
    "two-queries": (changed(POLICY, conditions=[PROMQL, PROMQL]), "only condition"),
    "query-and-threshold": (changed(POLICY, conditions=[PROMQL, CONDITION]), "only condition"),
    "alignment-too-short": (aligned(perSeriesAligner="ALIGN_RATE", alignmentPeriod="59s"), "alignmentPeriod"),
    "alignment-too-long": (aligned(perSeriesAligner="ALIGN_RATE", alignmentPeriod="90001s"), "alignmentPeriod"),
    "no-alignment": (aligned(perSeriesAligner="ALIGN_RATE"), "alignmentPeriod"),
    "reduced-unaligned": (aligned(crossSeriesReducer="REDUCE_SUM", alignmentPeriod="60s"), "must be aligned"),
}
GOOD_POLICIES = {
    "labels": changed(POLICY, userLabels={"team": "data-1_a", "empty": ""}),
    "links": linked(*["https://example.com/book?service=${resource.name}#errors"] * 3),
    "one-query": changed(POLICY, conditions=[PROMQL]),
    "longest-alignment": aligned(
        perSeriesAligner="ALIGN_RATE", crossSeriesReducer="REDUCE_SUM", alignmentPeriod="90000s"
    ),
}
BAD_OBJECTIVES = {
    "cut-of-a-counter": (objective({"distributionCut": {"distributionFilter": COUNTER, "range": {"max": 1}}}), "INT64"),
    "cut-of-a-log-counter": (
        objective(
            {
                "distributionCut": {
                    "distributionFilter": 'metric.type="logging.googleapis.com/user/churn/requests"',
                    "range": {"max": 1},
                }
            }
        ),
        "INT64",
    ),
    "ratio-of-a-distribution": (
        objective({"goodTotalRatio": {"goodServiceFilter": COUNTER, "totalServiceFilter": HISTOGRAM}}),
        "DISTRIBUTION",
    ),
}


class TestRefusals:
    """What Google would not take."""

    @pytest.mark.parametrize(("body", "words"), BAD_TEMPLATES.values(), ids=BAD_TEMPLATES)
    def test_sizes_of_instances(self, body: Json, words: str, http: httpx2.Client) -> None:
        """CPU, memory, generation, billing and concurrency have to go together as Cloud Run documents it."""
        refused = http.post(SERVICES, params={"serviceId": "churn", "validateOnly": True}, json=body)
        assert_refused(refused, 400, "INVALID_ARGUMENT", words)

    @pytest.mark.parametrize("body", GOOD_TEMPLATES.values(), ids=GOOD_TEMPLATES)
    def test_sizes_that_instances_can_have(self, body: Json, http: httpx2.Client) -> None:
        """What is just within the bounds is taken."""
        taken = http.post(SERVICES, params={"serviceId": "churn", "validateOnly": True}, json=body)
        assert taken.status_code == 200, taken.text

    @pytest.mark.parametrize(("body", "words"), BAD_POLICIES.values(), ids=BAD_POLICIES)
    def test_alert_policies(self, body: Json, words: str, http: httpx2.Client) -> None:
        """Labels, documentation, conditions and aggregations of alert policies have the bounds of the reference."""
        assert_refused(http.post(POLICIES, json=body), 400, "INVALID_ARGUMENT", words)

    @pytest.mark.parametrize("body", GOOD_POLICIES.values(), ids=GOOD_POLICIES)
    def test_alert_policies_within_bounds(self, body: Json, http: httpx2.Client) -> None:
        """What is just within them is taken."""
        taken = http.post(POLICIES, json=body)
        assert taken.status_code == 200, taken.text

    @pytest.mark.parametrize(("body", "words"), BAD_OBJECTIVES.values(), ids=BAD_OBJECTIVES)
    def test_objectives(self, body: Json, words: str, http: httpx2.Client) -> None:
        """A cut needs a metric of distributions, a ratio metrics of numbers."""
        http.post(METRICS, json=METRIC)
        services = f"/monitoring/v3/{PROJECT}/services"
        http.post(f"{services}?serviceId=churn", json={"displayName": "a", "custom": {}})
        path = f"{services}/churn/serviceLevelObjectives"
        assert_refused(http.post(path, json=body), 400, "INVALID_ARGUMENT", words)
        cut = {"distributionCut": {"distributionFilter": HISTOGRAM, "range": {"max": 1}}}
        assert http.post(path, json=objective(cut)).status_code == 200

    @pytest.mark.parametrize(
        ("path", "body", "status", "rpc", "words"),
        [
            pytest.param(METRICS, changed(METRIC, x=1), 400, "INVALID_ARGUMENT", "Unknown name", id="unknown-field"),
            pytest.param(METRICS, changed(METRIC, filter=1), 400, "INVALID_ARGUMENT", "TYPE_STRING", id="ill-typed"),
            pytest.param(METRICS + "?x=1", METRIC, 400, "INVALID_ARGUMENT", "Unknown name", id="unknown-parameter"),
            pytest.param(METRICS, {"name": "x"}, 400, "INVALID_ARGUMENT", "filter", id="missing-field"),
            pytest.param(POLICIES, changed(POLICY, combiner="ALL"), 400, "INVALID_ARGUMENT", "TYPE_ENUM", id="enum"),
            pytest.param("/run/v2/nowhere", {}, 404, "NOT_FOUND", "No API", id="unknown-path"),
            pytest.param(ACCOUNTS, {"accountId": "short"}, 400, "INVALID_ARGUMENT", "6 to 30", id="short-account-id"),
            pytest.param(ACCOUNTS, {"accountId": "a" * 31}, 400, "INVALID_ARGUMENT", "6 to 30", id="long-account-id"),
            pytest.param(METRICS, changed(METRIC, name="a~b"), 400, "INVALID_ARGUMENT", "a~b", id="metric-name"),
            pytest.param(
                METRICS,
                changed(METRIC, metricDescriptor={"labels": [{"key": "outcome"}]}),
                400,
                "INVALID_ARGUMENT",
                "Number of label descriptors must match",
                id="label-without-extractor",
            ),
            pytest.param(
                METRICS,
                changed(METRIC, labelExtractors={"outcome": "EXTRACT(jsonPayload.outcome)"}),
                400,
                "INVALID_ARGUMENT",
                "Number of label descriptors must match",
                id="extractor-without-label",
            ),
            pytest.param(
                METRICS,
                changed(METRIC, metricDescriptor={"valueType": "DISTRIBUTION"}),
                400,
                "INVALID_ARGUMENT",
                "value extractor",
                id="distribution-without-value",
            ),
            pytest.param(
                METRICS,
                changed(
                    METRIC,
                    metricDescriptor={"labels": [{"key": "a"}]},
                    labelExtractors={"a": 'REGEXP_EXTRACT(insertId, "(a)(b)")'},
                ),
                400,
                "INVALID_ARGUMENT",
                "exactly one capture",
                id="two-groups",
            ),
            pytest.param(
                POLICIES, changed(POLICY, conditions=[]), 400, "INVALID_ARGUMENT", "conditions", id="no-condition"
            ),
            pytest.param(
                POLICIES,
                changed(POLICY, conditions=[{**CONDITION, "conditionAbsent": {"filter": "x", "duration": "0s"}}]),
                400,
                "INVALID_ARGUMENT",
                "exactly one kind",
                id="two-kinds",
            ),
            pytest.param(
                POLICIES,
                changed(POLICY, notificationChannels=[f"{PROJECT}/notificationChannels/1"]),
                404,
                "NOT_FOUND",
                "does not exist",
                id="unknown-channel",
            ),
            pytest.param(
                f"/monitoring/v3/{PROJECT}/notificationChannels",
                {"type": "email", "labels": {}},
                400,
                "INVALID_ARGUMENT",
                "email_address",
                id="channel-label",
            ),
            pytest.param(
                f"/monitoring/v1/{PROJECT}/dashboards",
                {"displayName": "d", "mosaicLayout": {"columns": 2, "tiles": [{"width": 3, "height": 1}]}},
                400,
                "INVALID_ARGUMENT",
                "fit",
                id="tile-too-wide",
            ),
            pytest.param(
                TRIGGERS,
                changed(TRIGGER, serviceAccount=f"{PROJECT}/serviceAccounts/x@y.z"),
                404,
                "NOT_FOUND",
                "x@y.z",
                id="unknown-account",
            ),
            pytest.param(
                TRIGGERS,
                {
                    "name": "t",
                    "filename": "b.yaml",
                    "repositoryEventConfig": {"repository": f"{REGION}/connections/a/repositories/b", "push": {}},
                },
                404,
                "NOT_FOUND",
                "Repository",
                id="unknown-repository",
            ),
            pytest.param(
                f"/pubsub/v1/{PROJECT}/subscriptions/abc",
                {"topic": f"{PROJECT}/topics/none"},
                404,
                "NOT_FOUND",
                "none",
                id="unknown-topic",
            ),
            pytest.param(
                f"/cloudscheduler/v1/{REGION}/jobs",
                {"name": f"{REGION}/jobs/a", "schedule": "often", "pubsubTarget": {"topicName": "x"}},
                400,
                "INVALID_ARGUMENT",
                "Schedule",
                id="no-cron",
            ),
            pytest.param(
                f"{SERVICES}?serviceId=churn",
                {"template": {"serviceAccount": SERVE, "containers": [{"image": "x"}]}},
                403,
                "PERMISSION_DENIED",
                "actAs",
                id="run-unknown-account",
            ),
            pytest.param(
                f"{SERVICES}?serviceId=churn",
                {"template": {"containers": [{"image": "x", "env": [{"name": "PORT", "value": "1"}]}]}},
                400,
                "INVALID_ARGUMENT",
                "reserved",
                id="run-reserved-variable",
            ),
            *(
                pytest.param(f"{SERVICES}?serviceId=churn", with_variable(name, value), 400, *rest, id=f"run-env-{id_}")
                for id_, name, value, *rest in (
                    ("empty", "", "1", "INVALID_ARGUMENT", "''"),
                    ("equals-sign", "A=B", "1", "INVALID_ARGUMENT", "A=B"),
                    ("reserved-prefix", "X_GOOGLE_A", "1", "INVALID_ARGUMENT", "reserved"),
                    ("nul-in-name", "A\0", "1", "INVALID_ARGUMENT", "A"),
                    ("nul-in-value", "A", "a\0b", "INVALID_ARGUMENT", "NUL"),
                )
            ),
            pytest.param(
                f"{SERVICES}?serviceId=churn",
                {"template": {"containers": [{"image": "x", "args": ["\0"]}]}},
                400,
                "INVALID_ARGUMENT",
                "NUL",
                id="run-nul-in-argument",
            ),
            pytest.param(
                f"{SERVICES}?serviceId=churn", limited(cpu="3"), 400, "INVALID_ARGUMENT", "for cpu", id="run-cpu"
            ),
            pytest.param(
                f"{SERVICES}?serviceId=churn",
                limited(cpu="4", memory="2047Mi"),
                400,
                "INVALID_ARGUMENT",
                "memory must be at least 2048Mi",
                id="run-memory",
            ),
            pytest.param(
                f"{SERVICES}?serviceId=churn",
                limited(memory="lots"),
                400,
                "INVALID_ARGUMENT",
                "lots",
                id="run-quantity",
            ),
            pytest.param(f"{SERVICES}?serviceId=Churn", SERVICE, 400, "INVALID_ARGUMENT", "Churn", id="run-name"),
        ],
    )
    def test_table(self, path: str, body: Json, status: int, rpc: str, words: str, http: httpx2.Client) -> None:
        """Each is refused with Google's status and a message that names what is wrong."""
        verb = "PUT" if "/pubsub/" in path else "POST"
        assert_refused(http.request(verb, path, json=body), status, rpc, words)

    def test_faults_of_a_body_are_listed_by_field(self, http: httpx2.Client) -> None:
        """A refusal of a body holds one violation for each field."""
        body = {"template": {"containers": [{"image": 1, "color": "red"}]}}
        error = assert_refused(http.post(SERVICES, params={"serviceId": "a"}, json=body), 400, "INVALID_ARGUMENT")
        violations = error["details"][0]["fieldViolations"]
        assert [fault["field"] for fault in violations] == ["template.containers[0]", "template.containers[0].image"]

    def test_an_alert_needs_a_metric_that_has_counted(self, http: httpx2.Client, cloud: CloudDouble) -> None:
        """A condition on a log-based metric is 404 until the metric has data, unless a query asks for no validation."""
        http.post(METRICS, json=METRIC)
        kind = "logging.googleapis.com/user/churn/requests"
        threshold = {**THRESHOLD, "filter": f'metric.type="{kind}" resource.type="cloud_run_revision"'}
        on_threshold = changed(POLICY, conditions=[{"displayName": "c", "conditionThreshold": threshold}])
        query: Json = {"query": "rate(logging_googleapis_com:user_churn_requests[5m]) > 0"}
        on_query = changed(POLICY, conditions=[{"displayName": "c", "conditionPrometheusQueryLanguage": query}])
        for policy in (on_threshold, on_query):
            assert_refused(http.post(POLICIES, json=policy), 404, "NOT_FOUND", "Cannot find metric")
        query["disableMetricValidation"] = True
        assert http.post(POLICIES, json=on_query).status_code == 200
        descriptors = cloud.state.resources("monitoring.projects.metricDescriptors")
        descriptors[f"{PROJECT}/metricDescriptors/{kind}"] = {"type": kind}
        assert http.post(POLICIES, json=on_threshold).status_code == 200

    def test_a_build_with_an_own_account_says_where_it_logs(self, http: httpx2.Client, serve: str) -> None:
        """An inline build of a trigger with a service account is refused without a logging option."""
        trigger = {key: value for key, value in TRIGGER.items() if key != "filename"}
        trigger |= {"serviceAccount": f"{PROJECT}/serviceAccounts/{serve}", "build": BUILD}
        assert_refused(http.post(TRIGGERS, json=trigger), 400, "INVALID_ARGUMENT", "logs_bucket")
        trigger["build"] = {**BUILD, "options": {"logging": "CLOUD_LOGGING_ONLY"}}
        assert http.post(TRIGGERS, json=trigger).status_code == 200

    def test_what_is_in_use_stays(self, http: httpx2.Client) -> None:
        """A dataset with tables and a channel with policies are deleted only by force."""
        datasets = f"/bigquery/bigquery/v2/{PROJECT}/datasets"
        http.post(datasets, json=DATASET)
        assert http.post(f"{datasets}/records/tables", json=TABLE).status_code == 200
        refused = http.delete(f"{datasets}/records")
        assert refused.status_code == 400
        assert refused.json()["error"]["errors"][0]["reason"] == "resourceInUse"
        assert http.delete(f"{datasets}/records", params={"deleteContents": True}).status_code == 204
        assert http.get(f"{datasets}/records/tables/t").status_code == 404

        channels = f"/monitoring/v3/{PROJECT}/notificationChannels"
        channel = http.post(channels, json={"type": "email", "labels": {"email_address": "a@b.c"}}).json()["name"]
        http.post(POLICIES, json=changed(POLICY, notificationChannels=[channel]))
        assert_refused(http.delete(f"/monitoring/v3/{channel}"), 400, "FAILED_PRECONDITION")
        assert http.delete(f"/monitoring/v3/{channel}", params={"force": True}).status_code == 200

    def test_a_table_never_loses_a_column(self, http: httpx2.Client) -> None:
        """Columns are added, not removed or changed."""
        datasets = f"/bigquery/bigquery/v2/{PROJECT}/datasets"
        http.post(datasets, json=DATASET)
        first, second = {"name": "a", "type": "STRING"}, {"name": "b", "type": "FLOAT64"}
        table = {**TABLE, "schema": {"fields": [first]}}
        http.post(f"{datasets}/records/tables", json=table)
        path = f"{datasets}/records/tables/t"
        assert http.patch(path, json={"schema": {"fields": [first, second]}}).status_code == 200
        for fields in ([second], [first, {**second, "type": "STRING"}]):
            assert http.patch(path, json={"schema": {"fields": fields}}).status_code == 400
        assert [field["type"] for field in http.get(path).json()["schema"]["fields"]] == ["STRING", "FLOAT"]

    def test_what_is_missing_says_so(self, http: httpx2.Client) -> None:
        """A method that Google has and the double has not answers 501 with its name."""
        refused = http.get(f"/run/v2/{REGION}/jobs")
        assert_refused(refused, 501, "UNIMPLEMENTED", "run.projects.locations.jobs.list")
        assert http.get("/eventarc/v1/x").status_code == 501


class TestEnabledApis:
    """A fresh project has few APIs."""

    @pytest.fixture
    def cloud(self) -> Iterator[CloudDouble]:
        """Give a project as Google makes one."""
        with CloudDouble(apis=FRESH_APIS) as double:
            yield double

    def test_an_api_answers_once_it_is_enabled(self, http: httpx2.Client) -> None:
        """Before, every call is refused with the address where to enable it."""
        error = assert_not_enabled(http.get(SERVICES), "has not been used in project")
        assert error["details"][0]["metadata"]["service"] == "run.googleapis.com"
        enabled = http.post(f"/serviceusage/v1/{PROJECT}/services/run.googleapis.com:enable", json={}).json()
        assert enabled["response"]["service"]["state"] == "ENABLED"
        assert http.get(SERVICES).status_code == 200
        http.post(f"/serviceusage/v1/{PROJECT}/services/run.googleapis.com:disable", json={})
        assert http.get(SERVICES).status_code == 403

    def test_storage_and_logging_are_there_from_the_start(self, http: httpx2.Client) -> None:
        """The APIs of every new project need nothing."""
        assert http.get("/storage/v1/b", params={"project": "local-project"}).status_code == 200
        assert http.get(METRICS).status_code == 200

    def test_an_api_that_google_does_not_have_is_refused(self, http: httpx2.Client) -> None:
        """A name that is spelled wrong is refused, and nothing of its batch is enabled."""
        body = {"serviceIds": ["run.googleapis.com", "runn.googleapis.com"]}
        refused = http.post(f"/serviceusage/v1/{PROJECT}/services:batchEnable", json=body)
        assert_refused(refused, 403, "PERMISSION_DENIED", "runn.googleapis.com")
        assert http.get(SERVICES).status_code == 403

    def test_billing_information_needs_its_api_and_to_see_the_project(self, http: httpx2.Client) -> None:
        """Cloud Billing, too, is refused until it is enabled; then whoever may get the project may ask."""
        path = f"/_as/{PERSON}/cloudbilling/v1/{PROJECT}/billingInfo"
        assert_not_enabled(http.get(path), "cloudbilling.googleapis.com")
        http.post(f"/serviceusage/v1/{PROJECT}/services/cloudbilling.googleapis.com:enable", json={})
        assert_refused(http.get(path), 403, "PERMISSION_DENIED", "'resourcemanager.projects.get'")
        grant(http, f"/cloudresourcemanager/v1/{PROJECT}", "roles/run.viewer", f"user:{PERSON}")
        assert http.get(path).status_code == 403
        grant(http, f"/cloudresourcemanager/v1/{PROJECT}", "roles/cloudscheduler.viewer", f"user:{PERSON}")
        assert http.get(path).json()["billingEnabled"] is True

    def test_budgets_count_on_a_project_that_the_caller_names(self, http: httpx2.Client) -> None:
        """Without user_project_override the call counts on gcloud's own project, where the API is off."""
        http.post(f"/serviceusage/v1/{PROJECT}/services/billingbudgets.googleapis.com:enable", json={})
        path = "/billingbudgets/v1/billingAccounts/012345-6789AB-CDEF01/budgets"
        assert_not_enabled(http.get(path), "764086051850")
        assert http.get(path, headers={"X-Goog-User-Project": "local-project"}).status_code == 200


class TestPolicies:
    """IAM policies of any resource."""

    @pytest.fixture
    def service(self, http: httpx2.Client) -> str:
        """Give the path of a Cloud Run service."""
        http.post(SERVICES, params={"serviceId": "churn"}, json=SERVICE)
        return f"{SERVICES}/churn"

    def test_a_policy_is_compare_and_set(self, http: httpx2.Client, service: str) -> None:
        """An etag from before another write is refused as ABORTED, which clients try again."""
        first = http.get(f"{service}:getIamPolicy").json()
        assert first == {"version": 1, "etag": "ACAB"}
        grant(http, service, "roles/run.invoker", "user:a@example.com")
        stale = {"policy": {**first, "bindings": [{"role": "roles/run.viewer", "members": ["user:b@example.com"]}]}}
        assert_refused(http.post(f"{service}:setIamPolicy", json=stale), 409, "ABORTED", "concurrent")
        assert [binding["role"] for binding in http.get(f"{service}:getIamPolicy").json()["bindings"]] == [
            "roles/run.invoker"
        ]

    @pytest.mark.parametrize(
        ("binding", "words"),
        [
            pytest.param({"role": "run.invoker", "members": ["allUsers"]}, "Role", id="role"),
            pytest.param({"role": "roles/run.invoker", "members": ["a@example.com"]}, "Invalid argument", id="member"),
            pytest.param({"role": "roles/run.invoker", "members": [f"serviceAccount:{SERVE}"]}, "exist", id="account"),
            pytest.param({"role": f"{PROJECT}/roles/none", "members": ["allUsers"]}, "exist", id="custom-role"),
            pytest.param(
                {
                    "role": "roles/run.invoker",
                    "members": ["user:a@b.c"],
                    "condition": {"expression": "resource.name =="},
                },
                "compilation failed",
                id="condition",
            ),
        ],
    )
    def test_bindings_that_make_no_sense_are_refused(
        self, binding: Json, words: str, http: httpx2.Client, service: str
    ) -> None:
        """Roles, members and conditions are checked before anything is kept."""
        body = {"policy": {"version": 3, "bindings": [binding]}}
        assert_refused(http.post(f"{service}:setIamPolicy", json=body), 400, "INVALID_ARGUMENT", words)
        assert http.get(f"{service}:getIamPolicy").json()["etag"] == "ACAB"

    @pytest.mark.parametrize("role", ["roles/run.invokr", "roles/compute.viewer"], ids=["misspelt", "not-in-table"])
    def test_a_role_that_is_not_known_is_no_guess(self, role: str, http: httpx2.Client, service: str) -> None:
        """What a predefined role allows is in a table; a grant of another one is 501, and nothing is kept."""
        bindings = [{"role": role, "members": ["allUsers"]}]
        refused = http.post(f"{service}:setIamPolicy", json={"policy": {"bindings": bindings}})
        assert_refused(refused, 501, "UNIMPLEMENTED", role)
        assert "tests/cloud/roles.py" in refused.json()["error"]["message"]
        assert http.get(f"{service}:getIamPolicy").json()["etag"] == "ACAB"
        http.post("/storage/v1/b", params={"project": "local-project"}, json={"name": "models"})
        assert http.put("/storage/v1/b/models/iam", json={"bindings": bindings}).status_code == 501
        entry = {"role": role, "userByEmail": "a@example.com"}
        body = {**DATASET, "access": [entry]}
        assert http.post(f"/bigquery/bigquery/v2/{PROJECT}/datasets", json=body).status_code == 501

    def test_a_service_agent_exists_once_something_needed_it(self, http: httpx2.Client, service: str) -> None:
        """Monitoring's agent cannot be granted anything before the first uptime check that authenticates."""
        number = http.get(f"/cloudresourcemanager/v1/{PROJECT}").json()["projectNumber"]
        agent = f"serviceAccount:service-{number}@gcp-sa-monitoring-notification.iam.gserviceaccount.com"
        body = {"policy": {"bindings": [{"role": "roles/run.invoker", "members": [agent]}]}}
        assert_refused(http.post(f"{service}:setIamPolicy", json=body), 400, "INVALID_ARGUMENT", "does not exist")
        check = {
            "displayName": "up",
            "timeout": "10s",
            "httpCheck": {"serviceAgentAuthentication": {"type": "OIDC_TOKEN"}},
            "monitoredResource": {"type": "uptime_url", "labels": {"host": "example.com"}},
        }
        assert http.post(f"/monitoring/v3/{PROJECT}/uptimeCheckConfigs", json=check).status_code == 200
        assert http.post(f"{service}:setIamPolicy", json=body).status_code == 200

    def test_conditions_need_version_3(self, http: httpx2.Client, service: str) -> None:
        """Who asks for less sees another role's name instead of the condition."""
        grant(http, service, "roles/run.invoker", "user:a@example.com", condition='resource.type == "x"')
        full = http.get(f"{service}:getIamPolicy", params={"options.requestedPolicyVersion": 3}).json()
        assert (full["version"], full["bindings"][0]["condition"]["expression"]) == (3, 'resource.type == "x"')
        plain = http.get(f"{service}:getIamPolicy").json()
        assert plain["version"] == 1
        assert "condition" not in plain["bindings"][0]
        assert "_withcond_" in plain["bindings"][0]["role"]
        body = {"policy": {**full, "version": 1}}
        assert_refused(http.post(f"{service}:setIamPolicy", json=body), 400, "INVALID_ARGUMENT", "version 3")

    def test_only_what_exists_has_a_policy(self, http: httpx2.Client, service: str) -> None:
        """The policy of nothing is 404, and a policy ends with its resource."""
        grant(http, service, "roles/run.invoker", "allUsers")
        http.delete(service)
        assert_refused(http.get(f"{service}:getIamPolicy"), 404, "NOT_FOUND")
        http.post(SERVICES, params={"serviceId": "churn"}, json=SERVICE)
        assert "bindings" not in http.get(f"{service}:getIamPolicy").json()


class TestPrincipals:
    """Requests whose path starts with /_as/EMAIL are made by that account."""

    def test_nothing_is_allowed_at_first(self, http: httpx2.Client, serve: str) -> None:
        """An account without grants is refused everything, in Google's words."""
        http.post(SERVICES, params={"serviceId": "churn"}, json=SERVICE)
        refused = http.get(f"/_as/{serve}{SERVICES}/churn")
        assert_refused(refused, 403, "PERMISSION_DENIED", "Permission 'run.services.get' denied on resource")

    @pytest.mark.parametrize(
        ("role", "allowed"),
        [
            pytest.param("roles/run.viewer", {"GET"}, id="viewer"),
            pytest.param("roles/run.developer", {"GET", "DELETE"}, id="developer"),
            pytest.param("roles/viewer", {"GET"}, id="basic-viewer"),
            pytest.param("roles/owner", {"GET", "DELETE"}, id="owner"),
            pytest.param("roles/run.invoker", set(), id="invoker"),
        ],
    )
    def test_a_grant_on_the_project_reaches_what_is_in_it(
        self, role: str, allowed: set[str], http: httpx2.Client, serve: str
    ) -> None:
        """A role gives its permissions, not those of others."""
        http.post(SERVICES, params={"serviceId": "churn"}, json=SERVICE)
        grant(http, f"/cloudresourcemanager/v1/{PROJECT}", role, f"serviceAccount:{serve}")
        tried = {verb: http.request(verb, f"/_as/{serve}{SERVICES}/churn").status_code for verb in ("GET", "DELETE")}
        assert {verb for verb, status in tried.items() if status == 200} == allowed

    def test_a_grant_on_a_resource_reaches_only_that(self, http: httpx2.Client, serve: str) -> None:
        """The service beside it, and the list of both, stay closed."""
        for name in ("churn", "reviews"):
            http.post(SERVICES, params={"serviceId": name}, json=SERVICE)
        grant(http, f"{SERVICES}/churn", "roles/run.viewer", f"serviceAccount:{serve}")
        statuses = [http.get(f"/_as/{serve}{SERVICES}{path}").status_code for path in ("/churn", "/reviews", "")]
        assert statuses == [200, 403, 403]

    def test_a_custom_role_gives_what_it_lists(self, http: httpx2.Client, serve: str) -> None:
        """And no more."""
        body = {"roleId": "lister", "role": {"title": "x", "includedPermissions": ["run.services.list"]}}
        role = http.post(f"/iam/v1/{PROJECT}/roles", json=body).json()["name"]
        grant(http, f"/cloudresourcemanager/v1/{PROJECT}", role, f"serviceAccount:{serve}")
        assert http.get(f"/_as/{serve}{SERVICES}").status_code == 200
        assert http.get(f"/_as/{serve}{SERVICES}/churn").status_code == 403

    def test_who_deploys_must_be_allowed_to_act(self, http: httpx2.Client, serve: str) -> None:
        """A service with an identity needs iam.serviceAccounts.actAs on it."""
        grant(http, f"/cloudresourcemanager/v1/{PROJECT}", "roles/run.developer", f"serviceAccount:{serve}")
        body = {"template": {**SERVICE["template"], "serviceAccount": serve}}
        path = f"/_as/{serve}{SERVICES}?serviceId=churn"
        assert_refused(http.post(path, json=body), 403, "PERMISSION_DENIED", "actAs")
        grant(http, f"{ACCOUNTS}/{serve}", "roles/iam.serviceAccountUser", f"serviceAccount:{serve}")
        assert http.post(path, json=body).status_code == 200

    def test_a_dataset_grants_by_its_access_entries(self, http: httpx2.Client, serve: str) -> None:
        """BigQuery's own access entries count like bindings."""
        datasets = f"/bigquery/bigquery/v2/{PROJECT}/datasets"
        http.post(datasets, json=DATASET)
        assert http.get(f"/_as/{serve}{datasets}/records").status_code == 403
        http.patch(f"{datasets}/records", json={"access": [{"role": "READER", "userByEmail": serve}]})
        assert http.get(f"/_as/{serve}{datasets}/records").status_code == 200

    def test_a_deleted_account_leaves_its_grants(self, http: httpx2.Client, serve: str) -> None:
        """An account that is made again under the same name inherits nothing."""
        http.post(SERVICES, params={"serviceId": "churn"}, json=SERVICE)
        grant(http, f"{SERVICES}/churn", "roles/run.viewer", f"serviceAccount:{serve}")
        http.delete(f"{ACCOUNTS}/{serve}")
        http.post(ACCOUNTS, json={"accountId": "serve-account"})
        assert http.get(f"/_as/{serve}{SERVICES}/churn").status_code == 403
        member = http.get(f"{SERVICES}/churn:getIamPolicy").json()["bindings"][0]["members"][0]
        assert member.startswith(f"deleted:serviceAccount:{serve}?uid=")

    def test_the_journal_tells_who_asked(self, http: httpx2.Client, cloud: CloudDouble, serve: str) -> None:
        """A request without a principal is the owner's."""
        http.get(SERVICES)
        http.get(f"/_as/{serve}{SERVICES}")
        asked = cloud.requests.of("run.projects.locations.services.list")
        assert [entry.principal for entry in asked] == [None, serve]

    def test_who_may_what_can_be_asked(self, http: httpx2.Client, serve: str) -> None:
        """TestIamPermissions answers for the one who asks."""
        http.post(SERVICES, params={"serviceId": "churn"}, json=SERVICE)
        grant(http, f"{SERVICES}/churn", "roles/run.viewer", f"serviceAccount:{serve}")
        asked = {"permissions": ["run.services.get", "run.services.delete"]}
        path = f"{SERVICES}/churn:testIamPermissions"
        assert http.post(path, json=asked).json() == asked
        assert http.post(f"/_as/{serve}{path}", json=asked).status_code == 403
        grant(http, f"{SERVICES}/churn", "roles/run.admin", f"serviceAccount:{serve}")
        assert http.post(f"/_as/{serve}{path}", json=asked).json() == asked


class TestProxy:
    """Identity-Aware Proxy in front of a service of Cloud Run."""

    @pytest.fixture
    def uri(self, http: httpx2.Client) -> str:
        """Give the address of a service that has it in front, and that nobody was granted anything on."""
        body = {**SERVICE, "iapEnabled": True}
        assert http.post(SERVICES, params={"serviceId": "churn"}, json=body).status_code == 200
        return str(http.get(f"{SERVICES}/churn").json()["uri"])

    @pytest.fixture
    def proxy(self, http: httpx2.Client) -> str:
        """Give the service account with which the proxy asks Cloud Run."""
        number = http.get(f"/cloudresourcemanager/v1/{PROJECT}").json()["projectNumber"]
        return f"serviceAccount:service-{number}@gcp-sa-iap.iam.gserviceaccount.com"

    def ask(self, uri: str, who: str = PERSON, verb: str = "GET", header: str = "Authorization") -> int:
        """Ask the service as somebody; return the status."""
        headers = {header: f"Bearer {oauth.identity_token(who, uri)}"}
        return httpx2.request(verb, uri, headers=headers, trust_env=False).status_code

    def test_both_the_caller_and_the_proxy_need_a_role(self, http: httpx2.Client, uri: str, proxy: str) -> None:
        """The proxy lets a caller through who has its role, and then is itself one whom Cloud Run must let in."""
        assert self.ask(uri) == 403
        grant(http, f"{SERVICES}/churn", "roles/run.invoker", f"user:{PERSON}")
        assert self.ask(uri) == 403, "may invoke, but not get through"
        grant(http, PROXIED, "roles/iap.httpsResourceAccessor", f"user:{PERSON}")
        assert self.ask(uri) == 403, "gets through, but the proxy may not invoke"
        grant(http, f"{SERVICES}/churn", "roles/run.invoker", proxy)
        assert self.ask(uri) == 200
        assert self.ask(uri, header="Proxy-Authorization") == 200
        assert self.ask(uri, "stranger@example.com") == 403

    def test_the_role_may_be_granted_on_the_project(self, http: httpx2.Client, uri: str, proxy: str) -> None:
        """Without the caller's own right to invoke."""
        grant(http, f"{SERVICES}/churn", "roles/run.invoker", proxy)
        grant(http, f"/cloudresourcemanager/v1/{PROJECT}", "roles/iap.httpsResourceAccessor", f"user:{PERSON}")
        assert self.ask(uri) == 200

    @pytest.mark.parametrize(
        ("verb", "headers", "status"),
        [
            pytest.param("GET", {"Accept": "text/html,*/*"}, 302, id="browser"),
            pytest.param("POST", {"Accept": "text/html,*/*"}, 401, id="browser-posts"),
            pytest.param("GET", {}, 401, id="program"),
            pytest.param("GET", {"Accept": "text/html", "Authorization": "Bearer nonsense"}, 401, id="no-token"),
            pytest.param("GET", {"Authorization": f"Bearer {STALE}"}, 401, id="expired"),
        ],
    )
    def test_who_shows_no_identity_is_to_sign_in(self, verb: str, headers: Json, status: int, uri: str) -> None:
        """A browser is led to the sign-in page, a program is refused; both hear it from the proxy."""
        answer = httpx2.request(verb, uri, headers=headers, trust_env=False, follow_redirects=False)
        assert (answer.status_code, answer.headers["x-goog-iap-generated-response"]) == (status, "true")
        assert answer.headers.get("location", "").startswith("https://accounts.google.com/") == (status == 302)


class TestObjects:
    """Grants on objects of a bucket, used by Google's own client."""

    @pytest.fixture
    def bucket(self, cloud: CloudDouble, http: httpx2.Client, serve: str) -> Iterator[storage.Bucket]:
        """Give the bucket `models` as the account `serve` sees it."""
        cloud.storage.add_bucket("models", iamConfiguration={"uniformBucketLevelAccess": {"enabled": True}})
        for name in ("churn/1/manifest.json", "reviews/1/manifest.json"):
            cloud.storage.write("models", name, b"{}")
        options = {"api_endpoint": f"{cloud.url}/_as/{serve}"}
        client = storage.Client("local-project", AnonymousCredentials(), client_options=options)
        yield client.bucket("models")
        client.close()

    def grant(self, http: httpx2.Client, role: str, member: str, condition: str | None = None) -> None:
        """Add a binding to the bucket's policy."""
        policy = http.get("/storage/v1/b/models/iam", params={"optionsRequestedPolicyVersion": 3}).json()
        binding: Json = {"role": role, "members": [member]}
        if condition:
            binding["condition"] = {"title": "t", "expression": condition}
        changed = {"version": 3, "etag": policy["etag"], "bindings": [*policy["bindings"], binding]}
        assert http.put("/storage/v1/b/models/iam", json=changed).status_code == 200

    def test_a_prefix_is_all_that_a_condition_opens(
        self, http: httpx2.Client, bucket: storage.Bucket, serve: str
    ) -> None:
        """A model's identity reads its own versions, no other model's, and cannot even list."""
        with pytest.raises(google_errors.Forbidden):
            bucket.blob("churn/1/manifest.json").download_as_bytes()
        self.grant(http, "roles/storage.objectViewer", f"serviceAccount:{serve}", PREFIX)
        assert bucket.blob("churn/1/manifest.json").download_as_bytes() == b"{}"
        with pytest.raises(google_errors.Forbidden, match=r"storage\.objects\.get"):
            bucket.blob("reviews/1/manifest.json").download_as_bytes()
        with pytest.raises(google_errors.Forbidden, match=r"storage\.objects\.list"):
            list(bucket.list_blobs(prefix="churn/"))
        with pytest.raises(google_errors.Forbidden, match=r"storage\.objects\.create"):
            bucket.blob("churn/2/manifest.json").upload_from_string("{}")

    def test_who_creates_does_not_overwrite(self, http: httpx2.Client, bucket: storage.Bucket, serve: str) -> None:
        """ObjectCreator makes new objects below its prefix; to overwrite needs the permission to delete."""
        self.grant(http, "roles/storage.objectCreator", f"serviceAccount:{serve}", PREFIX)
        bucket.blob("churn/2/manifest.json").upload_from_string("{}")
        with pytest.raises(google_errors.Forbidden, match=r"storage\.objects\.delete"):
            bucket.blob("churn/2/manifest.json").upload_from_string("{}")
        with pytest.raises(google_errors.Forbidden):
            bucket.blob("reviews/2/manifest.json").upload_from_string("{}")
        self.grant(http, "roles/storage.objectUser", f"serviceAccount:{serve}", PREFIX)
        bucket.blob("churn/2/manifest.json").upload_from_string("other")

    def test_an_upload_in_pieces_goes_on_as_it_began(
        self, http: httpx2.Client, bucket: storage.Bucket, serve: str, cloud: CloudDouble
    ) -> None:
        """A resumable upload needs the permission at its start, on the object that it names."""
        self.grant(http, "roles/storage.objectCreator", f"serviceAccount:{serve}", PREFIX)
        with bucket.blob("churn/2/large.bin", chunk_size=256 * 1024).open("wb") as stream:
            stream.write(b"x" * 600_000)
        assert len(cloud.storage.read("models", "churn/2/large.bin")) == 600_000
        other = bucket.blob("reviews/2/large.bin")
        with pytest.raises(google_errors.Forbidden):
            other.create_resumable_upload_session()

    def test_a_member_that_does_not_exist_is_refused(self, http: httpx2.Client, bucket: storage.Bucket) -> None:
        """A bucket's policy holds to the same rules as every other."""
        body = {"bindings": [{"role": "roles/storage.objectViewer", "members": [f"serviceAccount:{SERVE}"]}]}
        refused = http.put("/storage/v1/b/models/iam", json=body)
        assert refused.status_code == 400
        assert "does not exist" in refused.json()["error"]["message"]


class TestRun:
    """Cloud Run through Google's own client."""

    @pytest.fixture
    def client(self, cloud: CloudDouble) -> Iterator[run_v2.ServicesClient]:
        """Give the client over REST."""
        with run_client(cloud) as client:
            yield client

    @pytest.fixture
    def revisions(self, cloud: CloudDouble) -> Iterator[run_v2.RevisionsClient]:
        """Give the client of revisions over REST."""
        options = {"api_endpoint": f"{cloud.url}/run"}
        client = run_v2.RevisionsClient(credentials=AnonymousCredentials(), client_options=options, transport="rest")
        yield client
        client.transport.close()

    @pytest.fixture
    def service(self, client: run_v2.ServicesClient) -> run_v2.Service:
        """Give a new service."""
        container = run_v2.Container(image="us-docker.pkg.dev/cloudrun/container/hello")
        service = run_v2.Service(template=run_v2.RevisionTemplate(containers=[container]))
        made: run_v2.Service = client.create_service(parent=REGION, service=service, service_id="churn").result()
        return made

    def test_a_service_is_ready_with_its_first_revision(
        self, service: run_v2.Service, revisions: run_v2.RevisionsClient
    ) -> None:
        """A new service serves its latest revision, with Cloud Run's defaults."""
        assert service.terminal_condition.state == run_v2.Condition.State.CONDITION_SUCCEEDED
        assert service.latest_ready_revision == service.latest_created_revision
        assert service.latest_ready_revision.startswith(f"{REGION}/services/churn/revisions/churn-00001-")
        assert service.traffic[0].percent == 100
        assert service.template.max_instance_request_concurrency == 80
        assert service.template.containers[0].ports[0].container_port == 8080
        assert list(service.urls) == [service.uri]
        assert httpx2.get(service.uri, trust_env=False).status_code == 403
        (revision,) = revisions.list_revisions(parent=service.name)
        assert revision.name == service.latest_ready_revision
        assert revisions.get_revision(name=revision.name) == revision

    def test_probes_are_completed(self, client: run_v2.ServicesClient, service: run_v2.Service) -> None:
        """A probe gets port, path and times; without a startup probe there is one all the same."""
        probe = run_v2.Probe(http_get=run_v2.HTTPGetAction())
        service.template.containers[0].startup_probe = None
        service.template.containers[0].liveness_probe = probe
        container = client.update_service(service=service).result().template.containers[0]
        assert container.liveness_probe.http_get == run_v2.HTTPGetAction(path="/", port=8080)
        assert (container.liveness_probe.period_seconds, container.liveness_probe.timeout_seconds) == (10, 1)
        assert container.startup_probe.tcp_socket.port == 8080
        assert container.startup_probe.period_seconds == 240

    def test_only_another_template_makes_a_revision(
        self, client: run_v2.ServicesClient, service: run_v2.Service
    ) -> None:
        """Traffic and labels of the service leave the revision; an environment variable makes a new one."""
        service.labels["a"] = "b"
        same = client.update_service(service=service).result()
        assert same.latest_created_revision == service.latest_created_revision
        same.template.containers[0].env.append(run_v2.EnvVar(name="A", value="b"))
        other = client.update_service(service=same).result()
        assert other.latest_created_revision != service.latest_created_revision
        assert other.generation == 3

    def test_a_revision_can_be_forced(
        self, http: httpx2.Client, service: run_v2.Service, revisions: run_v2.RevisionsClient
    ) -> None:
        """ForceNewRevision makes one of a template that did not change; lists are newest first, page by page."""
        forced = http.patch(f"{SERVICES}/churn", params={"forceNewRevision": True}, json=SERVICE).json()["response"]
        assert forced["latestReadyRevision"] != service.latest_ready_revision
        pages = revisions.list_revisions({"parent": service.name, "page_size": 1}).pages
        assert [[revision.name for revision in page.revisions] for page in pages] == [
            [forced["latestReadyRevision"]],
            [service.latest_ready_revision],
        ]
        revisions.delete_revision(name=service.latest_ready_revision).result()
        with pytest.raises(google_errors.NotFound):
            revisions.get_revision(name=service.latest_ready_revision)

    def test_traffic_is_split_among_revisions_that_exist(
        self, client: run_v2.ServicesClient, service: run_v2.Service
    ) -> None:
        """Percentages add up to 100, revisions are known, and a tag gives an address of its own."""
        name = service.latest_ready_revision.rpartition("/")[2]
        pinned = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
        service.traffic = [run_v2.TrafficTarget(type_=pinned, revision=name, percent=100, tag="stable")]
        mask = {"paths": ["traffic"]}
        done = client.update_service(service=service, update_mask=mask).result()
        assert done.traffic_statuses[0].tag == "stable"
        assert done.traffic_statuses[0].uri not in ("", done.uri)
        assert httpx2.get(done.traffic_statuses[0].uri, trust_env=False).status_code == 403
        service.etag = ""
        service.traffic[0].percent = 50
        with pytest.raises(google_errors.BadRequest, match="100"):
            client.update_service(service=service, update_mask=mask)
        service.traffic = [run_v2.TrafficTarget(type_=pinned, revision="other", percent=100)]
        unknown = client.update_service(service=service, update_mask=mask)
        with pytest.raises(google_errors.InternalServerError, match="Revision 'other' does not exist"):
            unknown.result()
        assert client.get_service(name=service.name).traffic_statuses == done.traffic_statuses

    def test_a_revision_name_is_used_once(self, client: run_v2.ServicesClient, service: run_v2.Service) -> None:
        """A name that exists with another configuration is refused."""
        service.template.revision = "churn-one"
        named = client.update_service(service=service).result()
        named.template.containers[0].image = "other"
        with pytest.raises(google_errors.Conflict, match="churn-one"):
            client.update_service(service=named)

    def test_what_cannot_start_is_the_operations_error(
        self, client: run_v2.ServicesClient, service: run_v2.Service
    ) -> None:
        """A revision without an image fails the operation, and the service says so while it goes on serving."""
        service.template.containers[0].image = "europe-west6-docker.pkg.dev/local-project/pilot/none"
        with pytest.raises(google_errors.NotFound, match="pilot/none' not found"):
            client.update_service(service=service).result()
        after = client.get_service(name=service.name)
        assert after.terminal_condition.state == run_v2.Condition.State.CONDITION_FAILED
        assert "pilot/none' not found" in after.terminal_condition.message
        assert after.latest_ready_revision == service.latest_ready_revision != after.latest_created_revision
        assert httpx2.get(after.uri, trust_env=False).status_code == 403

    def test_deleting_takes_the_revisions_with_it(
        self, client: run_v2.ServicesClient, service: run_v2.Service, revisions: run_v2.RevisionsClient
    ) -> None:
        """Nothing of a service stays, nor does anything answer at its address."""
        client.delete_service(name=service.name).result()
        with pytest.raises(google_errors.NotFound):
            client.get_service(name=service.name)
        with pytest.raises(google_errors.NotFound):
            revisions.get_revision(name=service.latest_ready_revision)
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(service.uri, trust_env=False)


class TestSecrets:
    """Secret Manager's versions."""

    def test_versions_count_up_and_show_their_payload_to_access_alone(self, build_client: Callable[..., Any]) -> None:
        """`latest` is the newest; a destroyed one gives nothing."""
        secrets = build_client("secretmanager", "v1").projects().secrets()
        secrets.create(parent=PROJECT, secretId="s", body={"replication": {"automatic": {}}}).execute()
        for data in ("Zmlyc3Q=", "c2Vjb25k"):
            made = secrets.addVersion(parent=f"{PROJECT}/secrets/s", body={"payload": {"data": data}}).execute()
            assert set(made) == {"name", "createTime", "state", "replicationStatus", "etag"}
        versions = secrets.versions()
        latest = versions.access(name=f"{PROJECT}/secrets/s/versions/latest").execute()
        assert latest["name"].endswith("/versions/2")
        assert latest["payload"]["data"] == "c2Vjb25k"
        versions.destroy(name=f"{PROJECT}/secrets/s/versions/2", body={}).execute()
        with pytest.raises(HttpError, match="DESTROYED"):
            versions.access(name=f"{PROJECT}/secrets/s/versions/2").execute()

    def test_a_revision_reads_secrets_as_its_identity(
        self, http: httpx2.Client, cloud: CloudDouble, serve: str
    ) -> None:
        """A service starts once its account may access the secret; the container has the payload."""
        image = "europe-west6-docker.pkg.dev/local-project/tests/container"
        cloud.images.push(ROOT / "tests" / "container", image, command=("python", "-S", "main.py"), environment={})
        secrets = f"/secretmanager/v1/{PROJECT}/secrets"
        http.post(secrets, params={"secretId": "salt"}, json={"replication": {"automatic": {}}})
        http.post(f"{secrets}/salt:addVersion", json={"payload": {"data": "c2VhIHNhbHQ="}})
        source = {"secretKeyRef": {"secret": "salt", "version": "latest"}}
        template = {"serviceAccount": serve, "containers": [{"image": image, "env": [{"name": "SALT"}]}]}
        template["containers"][0]["env"][0]["valueSource"] = source
        body = {"template": template, "invokerIamDisabled": True}
        refused = http.post(SERVICES, params={"serviceId": "churn"}, json=body).json()["error"]
        assert refused["code"] == 13
        assert f"Permission denied on secret: projects/{cloud.state.number}/secrets/salt/" in refused["message"]
        grant(http, f"{secrets}/salt", "roles/secretmanager.secretAccessor", f"serviceAccount:{serve}")
        done = http.patch(f"{SERVICES}/churn", params={"forceNewRevision": True}, json=body).json()["response"]
        assert httpx2.get(done["uri"], trust_env=False).json()["environment"]["SALT"] == "sea salt"
        http.post(f"{secrets}/salt/versions/1:disable", json={})
        refused = http.patch(f"{SERVICES}/churn", params={"forceNewRevision": True}, json=body).json()["error"]
        assert "is in DISABLED state" in refused["message"]
        http.post(f"/serviceusage/v1/{PROJECT}/services/secretmanager.googleapis.com:disable", json={})
        refused = http.patch(f"{SERVICES}/churn", params={"forceNewRevision": True}, json=body).json()["error"]
        assert "secretmanager.googleapis.com has not been used in project" in refused["message"]


class TestDouble:
    """What the double answers in its own name."""

    @pytest.mark.parametrize("path", ["/_double/", "/_double"])
    def test_it_says_what_it_can_be_asked(self, path: str, http: httpx2.Client) -> None:
        """One line for each, with its verb, its path and what it does; no request of these is in the journal."""
        lines = http.get(path).text.splitlines()
        assert len(lines) == len(BEHAVIOUR)
        for line, (verb, name) in zip(lines, BEHAVIOUR, strict=True):
            asked, _, says = line.partition("  ")
            assert asked == f"{verb} /_double/{name}"
            assert says.strip().endswith(".")
        assert http.get("/_double/requests").json() == []

    def test_a_cold_start_can_be_had(self, http: httpx2.Client, cloud: CloudDouble) -> None:
        """Idle instances end on demand, and a sample tells how many there are."""
        http.post(SERVICES, params={"serviceId": "churn"}, json=SERVICE)
        (facts,) = cloud.cloud_run.facts()
        assert facts.pool.idle == 1
        assert http.post("/_double/instances:scaleToZero").status_code == 204
        (facts,) = cloud.cloud_run.facts()
        assert facts.pool.idle == 0
        assert http.post("/_double/instances:measure").status_code == 204
        counts = cloud.signals.series.all("run.googleapis.com/container/instance_count")
        assert {(dict(one.labels)["state"], one.records[-1][1]) for one in counts} == {("active", 0), ("idle", 0)}

    def test_a_time_that_is_none_is_refused(self, http: httpx2.Client) -> None:
        """A body that is no such JSON, or names no time, is the asker's mistake."""
        for body in (b"[]", b"{", b'{"at": "noon"}', b'{"when": "2026-01-01T00:00:00Z"}'):
            assert http.post("/_double/alerts:evaluate", content=body).status_code == 400


class TestImages:
    """Artifact Registry shows what was pushed."""

    @pytest.fixture
    def repository(self, http: httpx2.Client) -> str:
        """Give the full name of a new repository."""
        http.post(f"/artifactregistry/v1/{REGION}/repositories?repositoryId=pilot", json={"format": "DOCKER"})
        return f"{REGION}/repositories/pilot"

    def test_what_was_pushed_is_listed(
        self, repository: str, cloud: CloudDouble, build_client: Callable[..., Any], tmp_path: Path
    ) -> None:
        """An image is a Docker image and a version of its package, with its tags; other repositories' are not there."""
        (tmp_path / "main.py").write_text("print()")
        name = "europe-west6-docker.pkg.dev/local-project/pilot/churn"
        first = cloud.images.push(tmp_path, name, ("latest", "v1"))
        cloud.images.push(tmp_path, name.replace("/pilot/", "/other/"))
        (tmp_path / "main.py").write_text("print(2)")
        second = cloud.images.push(tmp_path, name)
        api = build_client("artifactregistry", "v1").projects().locations().repositories()
        shown = {
            one["uri"]: one.get("tags") for one in api.dockerImages().list(parent=repository).execute()["dockerImages"]
        }
        assert shown == {f"{name}@{first}": ["v1"], f"{name}@{second}": ["latest"]}
        image = api.dockerImages().get(name=f"{repository}/dockerImages/churn@{first}").execute()
        assert image["imageSizeBytes"] == "7"
        (package,) = api.packages().list(parent=repository).execute()["packages"]
        versions = api.packages().versions().list(parent=package["name"]).execute()["versions"]
        assert {one["name"] for one in versions} == {f"{package['name']}/versions/{one}" for one in (first, second)}
        tags = api.packages().tags().list(parent=package["name"]).execute()["tags"]
        assert {one["name"].rpartition("/")[2]: one["version"].rpartition("/")[2] for one in tags} == {
            "latest": second,
            "v1": first,
        }
        assert api.get(name=repository).execute()["sizeBytes"] == "15"

    def test_pages_and_slashes(
        self, repository: str, cloud: CloudDouble, build_client: Callable[..., Any], tmp_path: Path
    ) -> None:
        """Lists come in pages, and a slash in a name is escaped."""
        (tmp_path / "main.py").write_text("print()")
        for name in ("a/b", "c"):
            cloud.images.push(tmp_path, f"europe-west6-docker.pkg.dev/local-project/pilot/{name}")
        packages = build_client("artifactregistry", "v1").projects().locations().repositories().packages()
        page = packages.list(parent=repository, pageSize=1).execute()
        assert [one["name"] for one in page["packages"]] == [f"{repository}/packages/a%2Fb"]
        assert packages.get(name=f"{repository}/packages/a%2Fb").execute() == page["packages"][0]
        rest = packages.list(parent=repository, pageSize=1, pageToken=page["nextPageToken"]).execute()
        assert [one["name"] for one in rest["packages"]] == [f"{repository}/packages/c"]
        assert "nextPageToken" not in rest

    def test_what_is_not_there_is_404(self, repository: str, build_client: Callable[..., Any]) -> None:
        """Neither a missing repository nor a missing image answers; an empty repository lists nothing."""
        images = build_client("artifactregistry", "v1").projects().locations().repositories().dockerImages()
        assert images.list(parent=repository).execute() == {}
        with pytest.raises(HttpError, match="404"):
            images.list(parent=f"{REGION}/repositories/none").execute()
        with pytest.raises(HttpError, match="404"):
            images.get(name=f"{repository}/dockerImages/churn@sha256:{'0' * 64}").execute()


class TestOtherClients:
    """How clients differ that mean the same."""

    def test_names_may_be_those_of_the_protobuf(self, http: httpx2.Client) -> None:
        """Fields and parameters are taken in snake_case too, and enum values as numbers."""
        body = {"format": 1, "cleanup_policies": {"old": {"action": "DELETE", "condition": {"tag_state": "ANY"}}}}
        done = http.post(f"/artifactregistry/v1/{REGION}/repositories?repository_id=images", json=body).json()
        assert done["response"]["format"] == "DOCKER"
        assert done["response"]["cleanupPolicies"]["old"]["condition"] == {"tagState": "ANY"}

    def test_fields_of_one_message_are_selected_together(self, http: httpx2.Client, cloud: CloudDouble) -> None:
        """`items/name,items/size` means both, as gcloud asks."""
        cloud.storage.add_bucket("models")
        cloud.storage.write("models", "a", b"abc")
        selected = http.get("/storage/v1/b/models/o", params={"fields": "items/name,items/size"}).json()
        assert selected == {"items": [{"name": "a", "size": "3"}]}

    def test_go_reads_over_the_xml_api(self, http: httpx2.Client, cloud: CloudDouble) -> None:
        """An object is downloaded from /BUCKET/OBJECT, also an older generation; what is missing is 404."""
        cloud.storage.add_bucket("models", versioning={"enabled": True})
        first = cloud.storage.write("models", "a/b c", b"first")
        cloud.storage.write("models", "a/b c", b"second")
        assert http.get("/models/a/b%20c").content == b"second"
        assert http.get("/models/a/b%20c", params={"generation": first}).content == b"first"
        assert http.get("/models/none").status_code == 404
        assert http.get("/nowhere/none").status_code == 404

    def test_gcloud_ends_lines_with_line_feeds_alone(self, http: httpx2.Client, cloud: CloudDouble) -> None:
        """A multipart upload may do without carriage returns, and its boundary may be in single quotes."""
        cloud.storage.add_bucket("models")
        parts = ("Content-Type: application/json\n\n{}", "Content-Type: text/plain\n\nhello\n")
        body = "".join(f"--==x==\n{part}\n" for part in parts) + "--==x==--\n"
        headers = {"Content-Type": "multipart/related; boundary='==x=='"}
        path = "/upload/storage/v1/b/models/o?uploadType=multipart&name=a"
        assert http.post(path, content=body, headers=headers).status_code == 200
        assert cloud.storage.read("models", "a") == b"hello\n"

    @pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not on PATH")
    @pytest.mark.parametrize(
        ("command", "words"),
        [("storage ls gs://models/**", "gs://models/a/b.txt"), ("logging metrics list", "churn/requests")],
    )
    def test_gcloud_finds_the_double(
        self, command: str, words: str, http: httpx2.Client, cloud: CloudDouble, tmp_path: Path
    ) -> None:
        """The endpoint overrides in the environment lead gcloud here."""
        cloud.storage.add_bucket("models")
        cloud.storage.write("models", "a/b.txt", b"")
        http.post(METRICS, json=METRIC)
        (tmp_path / "token").write_text("x")
        settings = {
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(tmp_path / "token"),
            "CLOUDSDK_CONFIG": str(tmp_path / "config"),
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_PROJECT": cloud.project,
            "PATH": os.environ["PATH"],
        }
        with Tripwire() as tripwire:
            environment = {**settings, **tripwire.environment, **cloud.environment}
            arguments = ["gcloud", *command.split()]
            done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60)
        assert words in done.stdout, done.stderr
        assert not tripwire.hosts


ATTRIBUTES = {
    "resource.name": "projects/_/buckets/b/objects/churn/1",
    "resource.type": "storage.googleapis.com/Object",
}


class TestConditions:
    """The expressions of IAM conditions."""

    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ('resource.name.startsWith("projects/_/buckets/b/objects/churn/")', True),
            ('resource.name.startsWith("projects/_/buckets/c")', False),
            ("resource.type == 'storage.googleapis.com/Object' && resource.name.endsWith('/1')", True),
            ('resource.type != "storage.googleapis.com/Object" || !resource.name.contains("churn")', False),
            ('(resource.type == "x" || resource.name.matches("churn/[0-9]$")) && true', True),
            ('resource.type in ["x", "storage.googleapis.com/Object"]', True),
        ],
    )
    def test_table(self, expression: str, expected: bool) -> None:
        """Each means what it says."""
        assert conditions.holds(expression, ATTRIBUTES) is expected

    def test_what_is_not_known_is_no_guess(self) -> None:
        """An attribute or function without an implementation answers 501."""
        with pytest.raises(CloudError) as caught:
            conditions.holds("resource.matchTag('a/b', 'c')", ATTRIBUTES)
        assert caught.value.status == 501


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: abc\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: +1\r\n\r\n{",
        b"Content-Length: 99999999999999999999\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n\r\n",
    ],
    ids=["no-number", "negative", "signed", "huge", "no-chunk-size", "negative-chunk", "empty-chunk-size"],
)
def test_a_body_of_no_size_ends_the_connection(fields: bytes, cloud: CloudDouble) -> None:
    """Where a body would end is not guessed: the answer is 400, and the connection is closed after it."""
    address = (cloud.url.removeprefix("http://").partition(":")[0], int(cloud.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(f"POST {METRICS} HTTP/1.1\r\nHost: x\r\n".encode() + fields)
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"malformed" in answer


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("allUsers", {"", "a@b.c"}),
        ("allAuthenticatedUsers", {"a@b.c"}),
        ("user:a@b.c", {"a@b.c"}),
        ("user:x@b.c", set()),
    ],
)
def test_a_caller_without_identity_is_all_users_alone(member: str, expected: set[str], cloud: CloudDouble) -> None:
    """Who shows no identity has what allUsers has, and nothing else."""
    resource = f"//run.googleapis.com/{REGION}/services/churn"
    cloud.state.policies[resource] = {"version": 1, "bindings": [{"role": "roles/run.invoker", "members": [member]}]}
    callers = (access.ANONYMOUS, "a@b.c")
    allowed = {caller for caller in callers if access.holds(cloud.state, caller, "run.routes.invoke", resource)}
    assert allowed == expected


def test_what_is_declared_is_googles(cloud: CloudDouble) -> None:
    """Every collection and every method written by hand is one of its discovery document."""
    services = [service for service in cloud.services if isinstance(service, ResourceService)]
    for service in services:
        methods = {method.id: method for method in service.document.methods}
        assert set(service.behaviour) <= set(methods)
        assert set(service.collections) <= {method.collection for method in methods.values()}
    assert cloud.state.collections == {prefix for service in services for prefix in service.collections}


def test_every_role_that_terraform_grants_is_known() -> None:
    """The predefined roles that infra/ names are in the table, so that none is granted in vain."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "infra").rglob("*.tf")]
    named = {role for source in sources for role in re.findall(r"roles/[A-Za-z0-9_.]*[A-Za-z0-9_]", source)}
    assert "roles/run.invoker" in named
    for role in named:
        roles.check(role)


def test_permissions_follow_methods() -> None:
    """The permission of a method is the one that Google's reference names."""
    expected = {
        ("run", "v2"): {"run.projects.locations.services.patch": "run.services.update"},
        ("storage", "v1"): {
            "storage.objects.insert": "storage.objects.create",
            "storage.objects.get": "storage.objects.get",
        },
        ("logging", "v2"): {
            "logging.entries.write": "logging.logEntries.create",
            "logging.projects.metrics.get": "logging.logMetrics.get",
        },
        ("cloudbuild", "v1"): {"cloudbuild.projects.locations.triggers.run": "cloudbuild.builds.create"},
        ("monitoring", "v3"): {"monitoring.projects.timeSeries.list": "monitoring.timeSeries.list"},
        ("secretmanager", "v1"): {"secretmanager.projects.secrets.versions.access": "secretmanager.versions.access"},
        ("bigquery", "v2"): {"bigquery.tabledata.insertAll": "bigquery.tables.updateData"},
    }
    for (name, version), methods in expected.items():
        known = {method.id: method for method in Document.load(name, version, f"/{name}").methods}
        assert {method: roles.permission(known[method]) for method in methods} == methods
