"""infra/ applied by the real Terraform and provider on the double: made, unchanged, changed, released to, destroyed."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from google.auth.credentials import Credentials

from infra.bootstrap import APIS
from lifecycle.environment import Environment
from lifecycle.google_apis import release_credentials
from lifecycle.rollout.cloud_run import CANDIDATE, STABLE, Endpoint, Share
from lifecycle.rollout.images import find_image, keep_image
from tests.cloud import CloudDouble, bare, given, oauth
from tests.cloud.api import api_client
from tests.cloud.artifactregistry.images import HELLO
from tests.cloud.cloudbuild import machine
from tests.cloud.cloudbuild.filters import PullRequest, Push
from tests.cloud.cloudbuild.repositories import CONNECTIONS, REPOSITORIES
from tests.cloud.cloudkms.service import KEYS, RINGS
from tests.cloud.cloudkms.service import VERSIONS as KEY_VERSIONS
from tests.cloud.monitoring.series import Descriptor, Resource, freeze, record_request
from tests.cloud.monitoring.uptime import CHECKS
from tests.cloud.project import FRESH_APIS
from tests.cloud.run.service import SERVICES
from tests.cloud.schemas import Json
from tests.cloud.terraform import initialise, run_terraform, terraform
from tests.cloud.tripwire import GOOGLE_AUTH, Tripwire
from tests.deliveries import make_workspace
from tests.infra import policies
from tests.infra.code import INFRA, model_attributes, named
from tests.server import ROOT

PROJECT, REGION, STATE = "pilot-project", "europe-west6", "pilot-state"
SERVICE = f"projects/{PROJECT}/locations/{REGION}/services/pilot-churn"
APPLY, DELIVER, SERVER, VERIFY = (
    f"pilot-{name}@{PROJECT}.iam.gserviceaccount.com" for name in ("apply", "deliver", "churn", "verify")
)
PLACE = Environment("test", PROJECT, REGION, "pilot", "pilot-models", {"churn": {}})
IMAGE = PLACE.images("churn")
ANN = "ann@example.com"
VARIABLES: dict[str, Any] = {
    "deletion_protection": False,
    "environment": "test",
    "model_bucket": "pilot-models",
    "models": {"churn": {}},
    "prefix": "pilot",
    "project": PROJECT,
    "region": REGION,
    "releasers": [f"user:{ANN}"],
    "runbook": "https://example.com/runbook.md",
    "state_bucket": STATE,
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
KEY = f"projects/{PROJECT}/locations/{REGION}/keyRings/keys/cryptoKeys/pilot"
REPOSITORY = f"projects/{PROJECT}/locations/{REGION}/connections/github/repositories/pilotlight"
# Everything that can be switched on, at once.
MORE: dict[str, Any] = {
    "alert_emails": ["oncall@example.com"],
    "budget": {"amount": 100, "billing_account": "012345-6789AB-CDEF01"},
    "encryption_key": KEY,
    "models": {
        "churn": {
            "invokers": ["user:ann@example.com"],
            "max_instances": 3,
            "retrain_schedule": "0 4 1 * *",
            "settings": {"MAX_INSTANCES": "1000"},
            "uptime_check": True,
        },
        "maintenance": {"access": "iap", "invokers": ["group:plant@example.com"]},
        "reviews": {"access": "public"},
    },
    "records_days": 30,
    "repository": {"name": REPOSITORY},
}
# Every project has the logs' buckets _Default and _Required; the key and the connection were there before.
BY_HAND = (KEY, "billingAccounts/012345-6789AB-CDEF01")
LEFT = {"logging.projects.locations.buckets", RINGS, KEYS, KEY_VERSIONS, CONNECTIONS, REPOSITORIES}
CHECK_PASSED = Descriptor(
    "monitoring.googleapis.com/uptime_check/check_passed", "GAUGE", "BOOL", labels=("check_id", "checker_location")
)
NOW, MINUTE, HOUR = 1_900_000_000.0, 60.0, 3600.0
HARD_CODED = {"openidconnect.googleapis.com", *GOOGLE_AUTH}


class Root(NamedTuple):
    """A copy of infra/ that is set up for the double."""

    folder: Path
    cloud: CloudDouble
    tripwire: Tripwire

    @property
    def environment(self) -> dict[str, str]:
        """The settings by which terraform finds the double."""
        return {**self.cloud.environment, **self.tripwire.environment}

    def run(self, *arguments: str, account: str = oauth.OWNER) -> None:
        """Run terraform as somebody; it must succeed."""
        token = {"GOOGLE_OAUTH_ACCESS_TOKEN": oauth.access_token(account)}
        run_terraform(self.folder, self.environment | token, *arguments)

    def write(self, variables: Mapping[str, Any]) -> None:
        """Say what the environment is from now on."""
        (self.folder / "terraform.tfvars.json").write_text(json.dumps({**VARIABLES, **variables}), encoding="utf-8")

    def plan(self, *arguments: str) -> dict[str, Any]:
        """Return a plan as JSON."""
        self.run("plan", "-out=plan", *arguments)
        shown = terraform(self.folder, self.environment, "show", "-json", "plan")
        plan: dict[str, Any] = json.loads(shown.stdout)
        return plan


@pytest.fixture(scope="class")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """Return infra/ applied to an empty project whose state lies in a bucket of the double."""
    base = tmp_path_factory.mktemp("root")
    shutil.copytree(ROOT / "models", base / "models", ignore=shutil.ignore_patterns("__pycache__"))
    folder = Path(shutil.copytree(INFRA, base / "infra", ignore=shutil.ignore_patterns(".terraform*", "tests")))
    apis = FRESH_APIS | set(APIS)
    with Tripwire() as tripwire, CloudDouble(project=PROJECT, buckets=[STATE], apis=apis, repository=ROOT) as cloud:
        applied = Root(folder, cloud, tripwire)
        initialise(folder)
        applied.run("init", "-reconfigure", f"-backend-config=bucket={STATE}")
        applied.write({})
        applied.run("apply", "-auto-approve")
        yield applied


def changes(plan: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what a plan would do to which resource."""
    found = {change["address"]: change["change"]["actions"] for change in plan["resource_changes"]}
    return {address: actions for address, actions in found.items() if actions not in (["no-op"], ["read"])}


Happening = Callable[[CloudDouble], None]


def requests(every: float, start: float, end: float, status: int = 200, seconds: float = 0.01) -> Happening:
    """Return the answering of requests at even distances, from `start` to `end` seconds before NOW."""

    def happen(cloud: CloudDouble) -> None:
        labels = {"service_name": "pilot-churn", "revision_name": "r", "location": REGION, "project_id": PROJECT}
        resource = Resource("cloud_run_revision", freeze({**labels, "configuration_name": "pilot-churn"}))
        for index in range(int((start - end) / every) + 1):
            record_request(cloud.signals.series, resource, NOW - start + index * every, status, seconds)

    return happen


def checks(passed: Mapping[str, bool]) -> Happening:
    """Return a quarter of an hour of an uptime check's results, by the checkers' locations."""

    def happen(cloud: CloudDouble) -> None:
        (name,) = cloud.resources(CHECKS)
        resource = Resource("uptime_url", freeze({"project_id": PROJECT, "host": "127.0.0.1"}))
        for place, value in passed.items():
            labels = {"check_id": name.rpartition("/")[2], "checker_location": place}
            for index in range(4):
                cloud.signals.series.record(CHECK_PASSED, labels, resource, NOW - index * 5 * MINUTE, value)

    return happen


def together(*happenings: Happening) -> Happening:
    """Return several courses of events as one."""

    def happen(cloud: CloudDouble) -> None:
        for one in happenings:
            one(cloud)

    return happen


A_DAY = requests(MINUTE, 24 * HOUR, 0)
# 0.5 % of requests may fail and 1 % of answers may be late; fast is 13.44 times that in an hour, slow 2.8 in a day.
COURSES: dict[str, tuple[Happening, set[str]]] = {
    "a-healthy-day": (A_DAY, set()),
    "a-fifth-fails-since-an-hour": (
        together(A_DAY, requests(5 * MINUTE, HOUR, 0, 500)),
        {"The availability budget burns fast"},
    ),
    "it-failed-an-hour-long-and-stopped": (together(A_DAY, requests(5 * MINUTE, 80 * MINUTE, 20 * MINUTE, 500)), set()),
    "two-percent-fail-all-day": (
        together(A_DAY, requests(50 * MINUTE, 24 * HOUR, 0, 500)),
        {"The availability budget burns slowly"},
    ),
    "callers-are-refused": (together(A_DAY, requests(5 * MINUTE, HOUR, 0, 422)), set()),
    "three-requests-and-all-fail": (requests(MINUTE, 3 * MINUTE, MINUTE, 500), set()),
    "a-quarter-is-late-since-an-hour": (
        together(A_DAY, requests(3 * MINUTE, HOUR, 0, seconds=0.5)),
        {"The latency budget burns fast"},
    ),
    "five-percent-are-late-all-day": (
        together(A_DAY, requests(20 * MINUTE, 24 * HOUR, 0, seconds=0.5)),
        {"The latency budget burns slowly"},
    ),
    "one-checker-gets-no-answer": (
        together(A_DAY, checks({"eur-belgium": True, "usa-virginia": False, "apac-singapore": True})),
        set(),
    ),
    "two-checkers-get-no-answer": (
        together(A_DAY, checks({"eur-belgium": True, "usa-virginia": False, "apac-singapore": False})),
        {"The endpoint cannot be reached"},
    ),
}


@pytest.mark.xdist_group("infra")
class TestApply:
    """In this order, on one cloud."""

    def test_the_state_lies_in_its_bucket(self, root: Root) -> None:
        """The backend wrote the state into the bucket, and nothing of it beside the code."""
        assert [version.name for version in root.cloud.storage.versions(STATE)] == ["pilotlight/default.tfstate"]
        assert not list(root.folder.glob("*.tfstate*"))

    def test_nothing_is_left_to_do(self, root: Root) -> None:
        """A plan after the apply is empty."""
        root.run("plan", "-detailed-exitcode")

    def test_the_plan_keeps_our_own_rules(self, root: Root) -> None:
        """No public access unless asked, own identities, no project-wide grants, a ceiling, closed buckets."""
        assert policies.faults(root.plan()) == []

    def test_the_service_waits_for_its_first_release(self, root: Root) -> None:
        """It runs Google's hello image, all traffic goes to it, nobody may call it, its goals come from model.yaml."""
        service = root.cloud.resources(SERVICES)[SERVICE]
        assert service["template"]["containers"][0]["image"] == HELLO
        assert service["terminalCondition"]["state"] == "CONDITION_SUCCEEDED"
        policy = root.cloud.state.policies[f"//run.googleapis.com/{SERVICE}"]["bindings"]
        assert {member for binding in policy for member in binding["members"]} == {f"serviceAccount:{DELIVER}"}
        objectives = root.cloud.resources("monitoring.services.serviceLevelObjectives").values()
        assert sorted(objective["goal"] for objective in objectives) == [0.99, 0.995]

    def test_what_is_made_without_terraform_is_the_same(self, root: Root) -> None:
        """Where tests do without Terraform, the service and who may do what with it are what Terraform makes."""
        place = Environment("test", PROJECT, REGION, "pilot", "pilot-models", {"churn": {}})
        with CloudDouble(project=PROJECT) as cloud:
            bare.make_environment(cloud, place)
            bare.make_endpoint(cloud, place, "churn")
            made, applied = (one.resources(SERVICES)[SERVICE] for one in (cloud, root.cloud))
            for service in (made, applied):  # the provider keeps variables as a set, without an order
                service["template"]["containers"][0]["env"].sort(key=lambda variable: variable["name"])
            for field in ("description", "ingress", "scaling", "template", "traffic"):
                assert made[field] == applied[field], field
            for resource in cloud.state.policies:
                assert grants(cloud, resource) == grants(root.cloud, resource), resource

    def test_the_identity_reads_its_versions_and_nothing_else(self, root: Root) -> None:
        """The serving identity gets an object of its model, and 403 for another model's, for a list and for a write."""
        root.cloud.storage.write("pilot-models", "churn/1/card.md", b"x")
        root.cloud.storage.write("pilot-models", "reviews/1/card.md", b"x")
        account = f"pilot-churn@{PROJECT}.iam.gserviceaccount.com"
        assert _get(root.cloud, account, "/storage/v1/b/pilot-models/o/churn%2F1%2Fcard.md") == 200
        assert _get(root.cloud, account, "/storage/v1/b/pilot-models/o/reviews%2F1%2Fcard.md") == 403
        assert _get(root.cloud, account, "/storage/v1/b/pilot-models/o") == 403
        assert _get(root.cloud, account, f"/storage/v1/b/{STATE}/o/pilotlight%2Fdefault.tfstate") == 403
        assert _get(root.cloud, account, f"/run/v2/{SERVICE}") == 403

    def test_an_apply_by_hand_moves_neither_image_nor_traffic(self, root: Root) -> None:
        """After a release, a plan is empty; an apply of another setting keeps image, traffic, tag and labels."""
        release(root)
        root.run("plan", "-detailed-exitcode")
        before = root.cloud.resources(SERVICES)[SERVICE]
        root.write({"models": {"churn": {"request_timeout_seconds": 30}}})
        plan = root.plan()
        assert changes(plan) == {'module.endpoint["churn"].google_cloud_run_v2_service.main': ["update"]}
        root.run("apply", "plan")
        after = root.cloud.resources(SERVICES)[SERVICE]
        assert after["template"]["timeout"] == "30s"
        assert after["template"]["containers"][0]["image"] == before["template"]["containers"][0]["image"]
        assert after["template"]["labels"] == before["template"]["labels"] == {"model": "churn", "version": "7"}
        assert after["traffic"] == before["traffic"]
        assert after["latestCreatedRevision"] != before["latestCreatedRevision"]

    def test_after_a_rollback_nothing_is_made_of_what_was_rejected(self, root: Root) -> None:
        """A plan is empty, what was applied meanwhile is kept, and the next apply is of the stable image."""
        with releasing(root) as (endpoint, _):
            seen = endpoint.read()
            state = endpoint.roll_back(seen, seen.tagged(STABLE))
            assert state.answering == (Share(seen.tagged(STABLE), 100, STABLE),)
        root.write({"models": {"churn": {"request_timeout_seconds": 30}}})
        root.run("plan", "-detailed-exitcode")
        root.write({})
        root.run("apply", "-auto-approve")
        template = root.cloud.resources(SERVICES)[SERVICE]["template"]
        assert template["containers"][0]["image"] == HELLO
        assert (template["timeout"], template.get("labels") or {}) == ("60s", {})
        with releasing(root) as (endpoint, _):
            assert endpoint.read().answering == state.answering
        root.run("plan", "-detailed-exitcode")

    def test_the_release_identity_mints_its_identity_tokens(self, root: Root) -> None:
        """It may have those of its own, and no other account's."""
        for account, status in ((DELIVER, 200), (f"pilot-churn@{PROJECT}.iam.gserviceaccount.com", 403)):
            address = f"{root.cloud.url}/_as/{DELIVER}/iamcredentials/v1/projects/-/serviceAccounts/{account}"
            assert httpx2.post(f"{address}:generateIdToken", json={"audience": "x"}).status_code == status

    def test_everything_else_can_be_switched_on(self, root: Root) -> None:
        """Budget, key, models, an uptime check, IAP, e-mails: only additions and updates, by who may apply."""
        let_apply(root.cloud)
        root.write(MORE)
        plan = root.plan()
        assert policies.faults(plan) == []
        assert all(actions in (["create"], ["update"]) for actions in changes(plan).values()), changes(plan)
        root.run("apply", "plan", account=APPLY)

    def test_the_delivering_identity_can_plan(self, root: Root) -> None:
        """A delivery's plan reads all that there is, under its own identity, and finds nothing to do."""
        root.run("plan", "-detailed-exitcode", "-lock=false", account=DELIVER)

    def test_the_verifying_identity_plans_against_the_state(self, root: Root) -> None:
        """A pull request's plan reads the state alone: it shows a change, and may not look at what there is."""
        root.run("plan", "-detailed-exitcode", "-lock=false", "-refresh=false", account=VERIFY)
        token = {"GOOGLE_OAUTH_ACCESS_TOKEN": oauth.access_token(VERIFY)}
        looking = terraform(root.folder, root.environment | token, "plan", "-lock=false")
        assert looking.returncode == 1 and "403" in looking.stderr
        root.write({**MORE, "records_days": 31})
        planned = terraform(root.folder, root.environment | token, "plan", "-lock=false", "-refresh=false")
        root.write(MORE)
        assert planned.returncode == 0, planned.stderr
        assert "Plan: 0 to add, 1 to change, 0 to destroy." in planned.stdout

    def test_a_push_is_delivered(self, root: Root, tmp_path: Path) -> None:
        """The trigger's build carries cloudbuild.yaml out, and the release identity may do what its steps do."""
        build, said = built(root, tmp_path, Push(REPOSITORY, "refs/heads/main", COMMIT, ("models/churn/train.py",)))
        assert build["status"] == "SUCCESS", said
        store = {version.name for version in root.cloud.storage.versions("pilot-models")}
        assert {f"{model}/aliases.json" for model in MORE["models"]} <= store
        assert len([name for name in store if name.startswith("_deliveries/")]) == 2
        assert "plan    | No changes." in said

    def test_a_pull_request_is_verified_and_changes_nothing(self, root: Root, tmp_path: Path) -> None:
        """The identity of pull requests may do what their steps do, and their build leaves everything as it was."""
        before = kept(root.cloud), sorted(version.name for version in root.cloud.storage.versions("pilot-models"))
        build, said = built(root, tmp_path, PullRequest(REPOSITORY, 7, "feature", "main", COMMIT))
        assert build["status"] == "SUCCESS", said
        assert "report  | - churn: a new version beside 1" in said
        assert "report  | No changes." in said
        after = kept(root.cloud), sorted(version.name for version in root.cloud.storage.versions("pilot-models"))
        assert after == before

    @pytest.mark.skipif(shutil.which("promtool") is None, reason="needs Prometheus: apt-get install prometheus")
    @pytest.mark.parametrize("course", COURSES)
    def test_these_budgets_burn(self, course: str, root: Root) -> None:
        """After each course of events, those of the goals' alerts and of the uptime check's fire that should."""
        happen, expected = COURSES[course]
        root.cloud.signals.series.clear()
        happen(root.cloud)
        states = root.cloud.signals.evaluate(NOW)
        assert [condition.problem for state in states for condition in state.conditions if condition.problem] == []
        told = {state.name.removesuffix(" (pilot-churn)") for state in states if state.firing}
        assert {title for title in told if "budget" in title or "reached" in title} == expected

    def test_destroy_leaves_nothing(self, root: Root) -> None:
        """After a destroy, only the state's bucket is there; nothing left loopback, nothing was refused."""
        root.cloud.storage.write("pilot-models", "churn/2/manifest.json", b"{}")
        root.run("destroy", "-auto-approve")
        left = {kind for kind in root.cloud.state.collections if root.cloud.resources(kind)}
        assert left <= LEFT, left
        assert set(root.cloud.storage.state.buckets) == {STATE}
        grants = {
            name: policy["bindings"]
            for name, policy in root.cloud.state.policies.items()
            if policy["bindings"] and not name.endswith((STATE, *BY_HAND))
        }
        assert grants == {}
        assert root.tripwire.hosts <= HARD_CODED


def grants(cloud: CloudDouble, resource: str) -> set[tuple[str, str, str]]:
    """Return what a policy grants to whoever serves and whoever delivers: role, account and condition."""
    return {
        (binding["role"], member, binding.get("condition", {}).get("expression", ""))
        for binding in cloud.state.policies[resource]["bindings"]
        for member in binding["members"]
        if member.endswith((DELIVER, SERVER))
    }


def built(root: Root, folder: Path, event: Push | PullRequest) -> tuple[Json, str]:
    """Return the one build that an event makes, carried out but for its tests, and what its steps said."""
    said: list[str] = []
    workspace = make_workspace(folder / "workspace", VARIABLES["environment"], {**VARIABLES, **MORE})
    cloud_build = root.cloud.cloud_build
    cloud_build.runner = machine.runner(root.cloud, workspace, said.append, {"verify": "the tests run already"})
    (build,) = cloud_build.fire(event)
    cloud_build.runner = None
    return build, "\n".join(said)


def let_apply(cloud: CloudDouble) -> None:
    """Make what a person makes before: connection and key, and the applying identity's rights to key and budget."""
    given.give_repository(cloud, REPOSITORY)
    given.give_key(cloud, KEY)
    with api_client(cloud, "cloudkms", "v1") as kms:
        grant = {"bindings": [{"role": "roles/cloudkms.admin", "members": [f"serviceAccount:{APPLY}"]}]}
        keys = kms.projects().locations().keyRings().cryptoKeys()
        keys.setIamPolicy(resource=KEY, body={"policy": grant}).execute()
    payer = f"//billingbudgets.googleapis.com/billingAccounts/{MORE['budget']['billing_account']}"
    costs = [{"role": "roles/billing.costsManager", "members": [f"serviceAccount:{APPLY}"]}]
    cloud.state.policies[payer] = {"version": 1, "bindings": costs}


@contextlib.contextmanager
def releasing(root: Root) -> Iterator[tuple[Endpoint, Credentials]]:
    """Give the service as a person sees it who may act as the release identity, and that identity's credentials."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {**root.environment, "GOOGLE_APPLICATION_CREDENTIALS": root.cloud.key_file(ANN)}.items():
            patched.setenv(name, str(value))
        credentials = release_credentials(PLACE)
        with Endpoint(PLACE, "churn", credentials) as endpoint:
            yield endpoint, credentials


def release(root: Root) -> None:
    """Give a candidate a fifth of the traffic."""
    hello = root.cloud.images.resolve(HELLO)
    root.cloud.images.push(hello.folder, IMAGE, ("v7-a",), command=hello.command, environment={"RELEASED": "1"})
    with releasing(root) as (endpoint, credentials):
        seen = endpoint.read()
        stable = Share(seen.main, 100, STABLE)
        image = find_image(PLACE, "churn", "v7-a", credentials)
        seen = endpoint.deploy(seen, image, {"model": "churn", "version": "7"}, [stable])
        keep_image(PLACE, "churn", image, 7, credentials)
        candidate = Share(seen.latest_created, 20, CANDIDATE)
        endpoint.move(seen, [stable._replace(percent=80), candidate])


def _get(cloud: CloudDouble, account: str, path: str) -> int:
    with httpx2.Client(trust_env=False) as client:
        return client.get(f"{cloud.url}/_as/{account}{path}").status_code


POLICIES = r'module\.endpoint\["churn"\]\.google_monitoring_alert_policy\..*'
RUN = r'module\.endpoint\["churn"\]\.google_cloud_run_v2_service\.main'
# For each variable another value, and what that may change: a pattern of addresses with the actions on them.
INPUTS: dict[str, tuple[dict[str, Any], dict[str, set[str]]]] = {
    "alert_channels": ({"alert_channels": [f"projects/{PROJECT}/notificationChannels/1"]}, {POLICIES: {"update"}}),
    "alert_emails": (
        {"alert_emails": ["a@example.com"]},
        {r'google_monitoring_notification_channel\.email\["a@example.com"\]': {"create"}, POLICIES: {"update"}},
    ),
    "branch": ({"branch": "trunk"}, {}),
    "budget": (
        {"budget": MORE["budget"]},
        {r"google_billing_budget\.main\[0\]": {"create"}, r'.*service\.main\["billingbudgets.*': {"create"}},
    ),
    "deletion_protection": (
        {"deletion_protection": True},
        {
            RUN: {"update"},
            r"google_storage_bucket\.models": {"update"},
            r"google_bigquery_(dataset|table)\.records": {"update"},
            r"(module\.endpoint\[.*\]\.)?terraform_data\.protection": {"update"},
        },
    ),
    "encryption_key": (
        {"encryption_key": KEY},
        {
            r"google_storage_bucket\.models": {"update"},
            r"google_bigquery_dataset\.records": {"update"},
            r"google_kms_crypto_key_iam_member\..*": {"create"},
            r'.*service\.main\["cloudkms.*': {"create"},
        },
    ),
    "environment": ({"environment": "other"}, {r".*": {"update"}}),
    "model_bucket": (
        {"model_bucket": "pilot-other"},
        {
            r"terraform_data\.protection": {"delete", "create"},
            r"google_storage_bucket\.models": {"delete", "create"},
            r"google_storage_bucket_iam_member\.models_.*": {"delete", "create"},
            r'module\.endpoint\["churn"\]\.google_storage_bucket_iam_member\.versions': {"delete", "create"},
            RUN: {"update"},
        },
    ),
    "models": (
        {"models": {}},
        {
            r'module\.endpoint\["churn"\]\..*': {"delete"},
            r'google_bigquery_table\.predictions\["churn"\]': {"delete"},
            r"google_logging_project_sink\.records": {"update"},
        },
    ),
    "prefix": ({"prefix": "other"}, {r".*": {"create", "delete", "update"}}),
    "prices": ({"prices": {"vcpu_second": 1}}, {r".*google_monitoring_dashboard\.main": {"update"}}),
    "records_days": ({"records_days": 7}, {r"google_bigquery_table\.records": {"update"}}),
    "region": ({"region": "europe-west1"}, {r".*": {"create", "delete", "update"}}),
    "releasers": (
        {"releasers": ["group:retention@example.com"]},
        {
            r'google_service_account_iam_member\.releaser\["user:ann@example.com"\]': {"delete"},
            r'google_service_account_iam_member\.releaser\["group:retention@example.com"\]': {"create"},
        },
    ),
    "repository": (
        {"repository": {"name": REPOSITORY}},
        {r"google_cloudbuild_trigger\.(apply|deliver|retrain|verify)\[0\]": {"create"}},
    ),
    "runbook": ({"runbook": "https://example.com/other.md"}, {POLICIES: {"update"}}),
    "state_bucket": (
        {"state_bucket": "other-state"},
        {r"google_storage_bucket_iam_member\.state_builders\[.*\]": {"delete", "create"}},
    ),
}
INVOKER = r'.*google_cloud_run_v2_service_iam_member\.invoker\["{}"\]'
MODEL_INPUTS: dict[str, tuple[dict[str, Any], dict[str, set[str]]]] = {
    "access": ({"access": "public"}, {INVOKER.format("allUsers"): {"create"}}),
    "concurrency": (
        {"concurrency": 10},
        {RUN: {"update"}, r'.*google_monitoring_alert_policy\.main\["instances"\]': {"update"}},
    ),
    "cpu": ({"cpu": 2}, {RUN: {"update"}, r".*google_monitoring_dashboard\.main": {"update"}}),
    "hash_key_secret": (
        {"hash_key_secret": f"projects/{PROJECT}/secrets/key"},
        {
            RUN: {"update"},
            r".*google_secret_manager_secret_iam_member\.hash_key\[0\]": {"create"},
            r'google_project_service\.main\["secretmanager.*': {"create"},
            r'google_project_iam_member\.apply\["roles/secretmanager.admin"\]': {"create"},
        },
    ),
    "ingress": ({"ingress": "internal"}, {RUN: {"update"}}),
    "invokers": ({"invokers": ["user:ann@example.com"]}, {INVOKER.format("user:ann@example.com"): {"create"}}),
    "max_instances": (
        {"max_instances": 5},
        {RUN: {"update"}, r'.*google_monitoring_alert_policy\.main\["instances"\]': {"update"}},
    ),
    "memory_mib": (
        {"memory_mib": 2048},
        {
            RUN: {"update"},
            r".*google_monitoring_dashboard\.main": {"update"},
            r'.*google_monitoring_alert_policy\.main\["memory"\]': {"update"},
        },
    ),
    "min_instances": ({"min_instances": 1}, {RUN: {"update"}}),
    "network": ({"network": {"name": "vpc", "subnetwork": "subnet"}}, {RUN: {"update"}}),
    "request_timeout_seconds": ({"request_timeout_seconds": 30}, {RUN: {"update"}}),
    "retrain_schedule": (
        {"retrain_schedule": "0 4 1 * *"},
        {r'google_cloud_scheduler_job\.retrain\["churn"\]': {"create"}},
    ),
    "settings": ({"settings": {"MAX_INSTANCES": "10"}}, {RUN: {"update"}}),
    "silence_hours": ({"silence_hours": 2}, {r'.*google_monitoring_alert_policy\.main\["silence"\]': {"update"}}),
    "startup_seconds": ({"startup_seconds": 30}, {RUN: {"update"}}),
    "uptime_check": (
        {"uptime_check": True},
        {
            r".*google_monitoring_uptime_check_config\.main\[0\]": {"create"},
            r".*google_cloud_run_v2_service_iam_member\.uptime\[0\]": {"create"},
            r'.*google_monitoring_alert_policy\.main\["uptime"\]': {"create"},
        },
    ),
}
OF_A_MODEL = {f"models.{name}": ({"models": {"churn": one}}, may) for name, (one, may) in MODEL_INPUTS.items()}
# A schedule starts builds, so it comes with the repository.
OF_A_MODEL["models.retrain_schedule"][0].update(INPUTS["repository"][0])
OF_A_MODEL["models.retrain_schedule"][1].update(INPUTS["repository"][1])
ALL_INPUTS = {**INPUTS, **OF_A_MODEL}


def test_every_input_is_changed_below() -> None:
    """No variable and no attribute of a model is left out."""
    assert set(INPUTS) | {"project"} == set(named(INFRA, "variable"))  # another project is another installation
    assert set(MODEL_INPUTS) == {attribute.name for attribute in model_attributes()}


@pytest.mark.long
@pytest.mark.xdist_group("inputs")
class TestInputs:
    """On another cloud, where nothing but plans is made."""

    @pytest.mark.parametrize("name", ALL_INPUTS)
    def test_an_input_changes_only_what_it_should(self, name: str, root: Root) -> None:
        """Each input, given another value, plans the changes that it should, all of them, and no others."""
        variables, may = ALL_INPUTS[name]
        root.write(variables)
        planned = changes(root.plan("-refresh=false"))
        for address, actions in planned.items():
            allowed = [one for pattern, one in may.items() if re.fullmatch(pattern, address)]
            assert allowed and set(actions) <= set.union(*allowed), (address, actions)
        for pattern in may:
            assert any(re.fullmatch(pattern, address) for address in planned), pattern

    def test_what_is_protected_goes_whole_or_not_at_all(self, root: Root) -> None:
        """A destroy, another prefix and a model less are refused in words before anything but a view is taken away."""
        root.write({"deletion_protection": True})
        root.run("apply", "-auto-approve")
        before = kept(root.cloud)
        for variables, command in (({}, "destroy"), ({"prefix": "other"}, "apply"), ({"models": {}}, "apply")):
            root.write({"deletion_protection": True, **variables})
            done = terraform(root.folder, root.environment, command, "-auto-approve")
            assert done.returncode == 1
            assert "deletion_protection is true. Set it to false and apply" in done.stderr
            assert {kind for kind, _ in before - kept(root.cloud)} <= {"bigquery.tables"}, command
        root.write({})
        root.run("apply", "-auto-approve")
        root.run("destroy", "-auto-approve")


def kept(cloud: CloudDouble) -> set[tuple[str, str]]:
    """Return every resource that there is, and every grant."""
    resources = {(kind, name) for kind in cloud.state.collections for name in cloud.resources(kind)}
    grants = {
        (name, f"{binding['role']} {member}")
        for name, policy in cloud.state.policies.items()
        for binding in policy["bindings"]
        for member in binding["members"]
    }
    return resources | grants
