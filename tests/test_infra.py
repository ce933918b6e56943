"""infra/ read as text and rendered without a provider: every name that it shares with Python, YAML and docs."""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, get_type_hints

import hcl2
import pytest

from function.contract import FeedbackRecord, LoadRecord, RecordExtras, RequestRecord
from function.settings import Settings
from lifecycle.recipe import Monitoring, Serving
from lifecycle.rollout.images import SERVED
from lifecycle.rollout.refusals import Refusal, anchor
from lifecycle.versions import NAME
from tests.cloud.discovery import Document
from tests.cloud.terraform import initialise, run_terraform, terraform
from tests.infra import code, tables
from tests.infra.rendered import render
from tests.server import ROOT

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
NEEDS_TERRAFORM = pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not on PATH")
CHECKOV = "checkov==3.3.30"  # in an environment of its own: its requirements and ours do not fit together
# Cloud Logging takes these out of a line; they are fields of the entry then.
TAKEN_OUT = {"severity", "time"}
SETTINGS = {name.upper() for name in Settings.model_fields}
BIGQUERY = {str: "STRING", int: "FLOAT", float: "FLOAT", bool: "BOOLEAN"}


def source(name: str) -> str:
    """Return the text of a file of infra/."""
    return (code.INFRA / name).read_text(encoding="utf-8")


def headings(page: str, level: int = 2) -> set[str]:
    """Return the headings of a page, of one level."""
    return set(re.findall(rf"^{'#' * level} (.+)$", page, re.M))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of infra/ beside one of models/, so that nothing is left behind in the repository."""
    shutil.copytree(ROOT / "models", tmp_path / "models", ignore=shutil.ignore_patterns("__pycache__"))
    return Path(shutil.copytree(code.INFRA, tmp_path / "infra", ignore=shutil.ignore_patterns(".terraform*")))


@NEEDS_TERRAFORM
def test_the_terraform_is_formatted() -> None:
    """`terraform fmt` has nothing to change."""
    command = ["terraform", "fmt", "-check", "-recursive"]
    done = subprocess.run(command, cwd=code.INFRA, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_configuration_is_valid(folder: Path) -> None:
    """`terraform validate` finds every argument in the provider's schema."""
    initialise(folder)
    run_terraform(folder, {}, "validate")


@pytest.mark.parametrize("file", sorted(path.name for path in (code.INFRA / "tests").glob("*.tftest.hcl")))
def test_terraform_test(file: str, folder: Path) -> None:
    """`terraform test` passes: no model, one and two, each kind of access, and every wrong value refused."""
    initialise(folder)
    done = terraform(folder, {}, "test", f"-filter=tests/{file}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_rule_of_a_variable_is_left_out() -> None:
    """For each validation block there is a run that expects it to refuse."""
    rules: Counter[str] = Counter()
    for folder in (code.INFRA, code.ENDPOINT):
        variables = code.named(folder, "variable").items()
        rules += Counter({name: len(body.get("validation", [])) for name, body in variables})
    tests = source("tests/variables.tftest.hcl") + source("tests/goals.tftest.hcl")
    expected = re.findall(r"expect_failures = \[(.+?)\]", tests)
    runs = Counter(name.removeprefix("var.") for line in expected for name in line.split(", "))
    assert runs == +rules


@pytest.mark.parametrize("path", sorted(code.INFRA.glob("*.tfvars")), ids=lambda path: path.stem)
def test_an_environments_file_says_only_what_there_is(path: Path) -> None:
    """Terraform drops an attribute of a model that it does not know without a word, so a misspelt one is found here."""
    said = hcl2.loads(path.read_text(encoding="utf-8"))
    assert {name for name in said if not name.startswith("__")} <= set(code.named(code.INFRA, "variable"))
    assert code.unquoted(said["environment"]) == path.stem
    known = {attribute.name for attribute in code.model_attributes()}
    for name, model in said["models"].items():
        unknown = {attribute for attribute in model if not attribute.startswith("__")} - known
        assert not unknown, f"{path.name}: {name} says {sorted(unknown)}, which nothing reads"


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("nosuch", "There is no infra/nosuch.tfvars; the environments are: dev staging."),
        ("staging", 'infra/staging.tfvars says environment = "dev", not "staging"'),
    ],
)
def test_make_looks_at_the_environment_first(name: str, fault: str, tmp_path: Path) -> None:
    """A file that is not there, or a copy that still names another environment, ends before Terraform is asked."""
    (tmp_path / "infra").mkdir()
    shutil.copy(ROOT / "Makefile", tmp_path)
    for copy in ("dev", "staging"):
        shutil.copy(code.INFRA / "dev.tfvars", tmp_path / "infra" / f"{copy}.tfvars")
    command = ["make", "init", f"ENVIRONMENT={name}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert fault in done.stdout


def test_outputs_can_be_pasted() -> None:
    """`make outputs` prints commands as a shell takes them, one a model."""
    command = 'curl -H "Authorization: Bearer $(gcloud auth print-identity-token)" https://x/model'
    given = {"invoke_commands": {"value": {"churn": command}}, "images": {"value": "europe-docker.pkg.dev/p/pilot"}}
    script = [sys.executable, str(code.INFRA / "outputs.py")]
    done = subprocess.run(script, input=json.dumps(given), capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == f"invoke_commands\n  churn: {command}\nimages\n  europe-docker.pkg.dev/p/pilot\n"


def test_every_rule_says_what_is_allowed() -> None:
    """An error message is a sentence, and longer than a shrug."""
    for name, body in code.named(code.INFRA, "variable").items():
        for rule in body.get("validation", []):
            message = code.unquoted(rule["error_message"])
            assert message.endswith(".") and len(message) > 20, name


def test_the_tables_of_the_guide_are_fresh() -> None:
    """Variables, attributes of a model and outputs stand in docs/infrastructure.md as infra/ has them (make format)."""
    page = tables.PAGE.read_text(encoding="utf-8")
    assert page == tables.filled(page)


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_an_environment_is_a_file_of_known_variables(environment: str) -> None:
    """A .tfvars names only variables that exist, and every one that has no default."""
    given = set(code.hcl2.loads(source(f"{environment}.tfvars"))) - {"__comments__"}
    variables = code.named(code.INFRA, "variable")
    assert given <= set(variables)
    assert {name for name, body in variables.items() if "default" not in body} <= given


def test_the_environment_of_the_service_is_settings() -> None:
    """Terraform sets variables that are fields of Settings, and the store always."""
    assert {"MODEL_STORE", "GOOGLE_CLOUD_PROJECT"} <= code.environment_names()
    assert code.environment_names() <= SETTINGS


def test_settings_that_a_model_may_set_are_not_the_services_own() -> None:
    """The rule on `settings` takes every field of Settings but those that Terraform, Cloud Run or Vertex AI sets."""
    allowed = set(re.findall(r'"([A-Z_]+)"', source("variables.tf").split("keys(model.settings), [")[1].split("]")[0]))
    own = {name for name in code.environment_names() if not name.startswith("MAX_")}
    own |= {"PIN_FILE", "RECORD_HASH_KEY"} | {name for name in SETTINGS if name.startswith(("AIP_", "K_"))}
    assert allowed == SETTINGS - own


@pytest.mark.parametrize("folder", [code.INFRA, code.ENDPOINT], ids=["root", "endpoint"])
def test_protection_comes_before_everything(folder: Path) -> None:
    """The protection depends on every resource, directly or through others, and so is destroyed before it."""
    bodies = {f"{kind}.{name}": str(body) for (kind, name), body in code.resources(folder).items()}
    made = set(bodies)
    bodies |= {f"local.{name}": str(body) for block in code.blocks(folder, "locals") for name, body in block.items()}
    reached, waiting = set(), ["terraform_data.protection"]
    while waiting:
        one = waiting.pop()
        reached.add(one)
        waiting += [other for other in bodies if re.search(rf"\b{other}\b", bodies[one]) and other not in reached]
    assert made == reached & made


def test_goals_default_as_in_the_recipe() -> None:
    """Where model.yaml is silent, Terraform takes the very defaults of the recipe."""
    declared = source("endpoint/variables.tf").split('variable "goals"')[1]
    written = dict(re.findall(r"(\w+) += optional\(number, ([0-9.]+)\)", declared))
    taken = re.findall(r"try\(local\.recipes\[each\.key\]\.(\w+)\.(\w+), null\)", source("endpoints.tf"))
    defaults = [(part, name, written[name]) for part, name in taken]
    parts = {"serving": Serving(), "monitoring": Monitoring()}
    assert {name for _, name, _ in defaults} == {"availability", "drift_threshold", "latency_goal", "latency_ms"}
    for part, name, default in defaults:
        assert getattr(parts[part], name) == float(default), name


def test_a_model_is_called_as_lifecycle_wants_it() -> None:
    """The rule on the names of models is the one of lifecycle/versions.py."""
    rule = re.search(r'keys\(var\.models\) : can\(regex\("\^(.+?)\$"', source("variables.tf"))
    assert rule and rule[1] == NAME.pattern


def test_metrics_read_fields_of_records() -> None:
    """Every jsonPayload field in filters and extractors is a field of a record."""
    known = set(get_type_hints(RequestRecord)) | set(get_type_hints(LoadRecord)) | set(get_type_hints(FeedbackRecord))
    for name in ("endpoint/metrics.tf", "records.tf", "predictions.sql"):
        named = set(re.findall(r"jsonPayload\.(\w+)", source(name)))
        assert named and named <= known - TAKEN_OUT, name


def test_the_table_of_records_has_their_fields() -> None:
    """The table's payload columns are the fields of request and feedback records, with BigQuery's types of JSON."""
    columns = {column["name"]: column for column in json.loads(source("records.schema.json"))}
    payload = {column["name"]: column["type"] for column in columns["jsonPayload"]["fields"]}
    hints = {**get_type_hints(RequestRecord), **get_type_hints(FeedbackRecord), **get_type_hints(RecordExtras)}
    wanted = {name: BIGQUERY.get(kind, "STRING") for name, kind in hints.items() if name not in TAKEN_OUT}
    assert payload == wanted


def test_nothing_else_of_a_service_is_ignored() -> None:
    """Image, traffic, the template's labels and client fields are a release's; all else is Terraform's."""
    body = code.resources(code.ENDPOINT)["google_cloud_run_v2_service", "main"]
    ignored = re.findall(r"ignore_changes = \[(.+)\]$", source("endpoint/service.tf"), re.M)
    assert len(ignored) == 1 and body["lifecycle"]
    assert set(ignored[0].split(", ")) == {
        "client",
        "client_version",
        "template[0].containers[0].image",
        "template[0].labels",
        "traffic",
    }


def test_every_alert_has_its_heading_in_the_runbook() -> None:
    """Headings of the runbook are the titles of alerts, none more and none less; text below links to existing ones."""
    alerts = source("endpoint/alerts.tf") + source("endpoint/uptime.tf")
    titles = set(re.findall(r'title += "(.+?)"', alerts))
    goals = source("endpoint/goals.tf")
    burns = re.findall(r'title = "(burns .+?)"', goals)
    titles |= {f"{goal} {burn}" for goal in re.findall(r'title = "(The .+? budget)"', goals) for burn in burns}
    assert len(titles) == 14
    assert headings(RUNBOOK) == titles | {"When a release is refused"}
    anchors = {anchor(heading) for heading in headings(RUNBOOK) | headings(RUNBOOK, 3)}
    assert set(re.findall(r"\]\(#(.+?)\)", RUNBOOK)) <= anchors


def test_every_refusal_of_a_release_has_its_heading_in_the_runbook() -> None:
    """Whatever ends a release leads to a heading that bears its name, and the runbook has no other."""
    assert headings(RUNBOOK, 3) == {refusal.heading for refusal in Refusal}


def test_cleaning_up_keeps_what_releases_mark() -> None:
    """The tags that a release gives to images that served are those that the registry's clean-up policy keeps."""
    kept = re.findall(r'tag_prefixes = \["(.+?)"\]', source("registry.tf"))
    assert kept == [f"{SERVED}-"]


@NEEDS_TERRAFORM
def test_alerts_link_to_their_headings() -> None:
    """Names are sentences that GitHub makes the very anchors of which links are made."""
    for alert in render()["alerts"].values():
        assert re.fullmatch(r"[A-Z][A-Za-z ]+", alert["title"])


@NEEDS_TERRAFORM
def test_the_goal_is_a_bound_of_the_latency_metric() -> None:
    """Whether an answer came in time is counted, not interpolated; bounds rise."""
    bounds = render()["distributions"]["total_ms"]["bounds"]
    assert 300 in bounds and bounds == sorted(set(bounds))


def dashboard() -> dict[str, Any]:
    """Return the dashboard as it is sent to Cloud Monitoring."""
    return {"displayName": "x", "mosaicLayout": {"columns": 48, "tiles": render()["tiles"]}}


@NEEDS_TERRAFORM
def test_the_dashboard_is_what_cloud_monitoring_takes() -> None:
    """Every field and value of the dashboard is in Google's own description of the API."""
    schemas = Document.load("monitoring", "v1").schemas
    assert schemas.accept("Dashboard", dashboard(), "monitoring.projects.dashboards.create") == dashboard()


@NEEDS_TERRAFORM
def test_the_tiles_of_the_dashboard_do_not_overlap() -> None:
    """Each tile has its own place within the columns."""
    places = [(tile["xPos"], tile["yPos"]) for tile in render()["tiles"]]
    assert len(set(places)) == len(places) == 13
    assert all(tile["xPos"] + tile["width"] <= 48 for tile in render()["tiles"])


@pytest.mark.long
def test_checkov_finds_nothing(folder: Path) -> None:
    """Every check of checkov passes, or is skipped beside the resource with a reason."""
    checkov = [sys.executable, "-m", "uv", "tool", "run", "--from", CHECKOV, "checkov"]
    if subprocess.run([*checkov, "--version"], capture_output=True, timeout=300).returncode:
        pytest.skip(f"{CHECKOV} cannot be installed here")
    command = [*checkov, "-d", str(folder), "--framework", "terraform", "--skip-download", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    report = json.loads(done.stdout)
    failed = [(check["check_id"], check["resource"]) for check in report["results"]["failed_checks"]]
    assert failed == []
    assert report["summary"]["passed"] > 20 and report["summary"]["parsing_errors"] == 0
    for skipped in report["results"]["skipped_checks"]:
        assert len(skipped["check_result"]["suppress_comment"]) > 20, skipped["check_id"]
