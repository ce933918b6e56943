"""cloudbuild.yaml: what Cloud Build would refuse of it, what its steps may do, and its runs carried out."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from function.store import Store, open_store
from lifecycle.cli import cli
from lifecycle.environment import Environment
from lifecycle.recipe import Rollout
from lifecycle.rollout import judge
from lifecycle.rollout.verbs import DELIVERY_PATIENCE
from lifecycle.versions import list_numbers, read_aliases
from tests.cloud import CloudDouble
from tests.cloud.cloudbuild import local, machine, runs
from tests.cloud.cloudbuild.filters import Message, Push
from tests.cloud.deliver import IDENTITIES, trigger
from tests.cloud.discovery import Document
from tests.cloud.installation import make_bare
from tests.cloud.project import now, project_number
from tests.cloud.schemas import Json
from tests.deliveries import make_workspace
from tests.infra.code import INFRA, blocks, resources
from tests.server import ROOT

FILE = ROOT / "cloudbuild.yaml"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
BUILD: Json = yaml.safe_load(FILE.read_text(encoding="utf-8"))
STEPS: dict[str, Json] = {step["id"]: step for step in BUILD["steps"]}
# Shell around a step's commands: which run it is, what its container lacks, where its exit code goes.
AROUND = ("#!", "set ", "[", "case ", "esac", "*)", "cat ", "command -v ", "exit ", "trap ", "mkdir -p build/delivery")
PIPED = re.compile(r" \| tee \S+$")
CASE = re.compile(r"^(verify|deliver|retrain)\) (.*) ;;$")


def commands(step: Json) -> Iterator[list[str]]:
    """Yield what a step's script does, word by word."""
    for line in (line.strip() for line in step["script"].splitlines()):
        if line and not line.startswith(AROUND):
            found = CASE.match(line)
            words = shlex.split(PIPED.sub("", found[2] if found else line))
            if not re.fullmatch(r"\w+=\S*", words[0]):
                yield words


# What Cloud Build takes


def test_the_published_schema_takes_it() -> None:
    """check-jsonschema finds nothing to say against it by the schema that editors use."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.cloudbuild", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_googles_own_description_takes_it() -> None:
    """Every field and value is in the API's description of a build; the schema above lets unknown ones pass."""
    accepted = Document.load("cloudbuild", "v1").schemas.accept("Build", BUILD, "cloudbuild.projects.builds.create")
    assert accepted == BUILD


def test_it_can_be_carried_out_here() -> None:
    """What the runner refuses (names of steps, waitFor, limits) is all in order."""
    local._check(BUILD, {})


def test_a_builds_own_account_needs_a_place_for_logs() -> None:
    """Every trigger names an account, and then Cloud Build wants to know where logs go."""
    assert BUILD["options"]["logging"] == "CLOUD_LOGGING_ONLY"


def test_substitutions_are_declared_used_and_set() -> None:
    """The names that the file declares are those that its steps read, and those that infra/'s triggers set."""
    declared = set(BUILD["substitutions"])
    text = FILE.read_text(encoding="utf-8").partition("\nsteps:")[2]
    used = set(re.findall(r"\$\{?(_[A-Z][A-Z_]*)", text))
    (common,) = [block["substitutions"] for block in blocks(INFRA, "locals") if "substitutions" in block]
    own = re.findall(r"(_[A-Z_]+) =", (INFRA / "delivery.tf").read_text() + (INFRA / "retraining.tf").read_text())
    assert declared == used == {*common, *own, "_RUN"}


def test_each_run_has_its_trigger() -> None:
    """Runs that the steps know are those of the triggers, and each has the identity that make deliver gives it."""
    found = {}
    for (kind, _), body in resources(INFRA).items():
        if kind == "google_cloudbuild_trigger":
            run = re.search(r'_RUN = "(\w+)"', body["substitutions"])[1]  # type: ignore[index]
            found[run] = re.search(r"google_service_account\.(\w+)\.id", body["service_account"])[1]  # type: ignore[index]
    assert found == IDENTITIES
    named = set(re.findall(r"\$_RUN\"? ==? (\w+)", FILE.read_text())) | set(re.findall(r"(\w+)\) ", FILE.read_text()))
    assert set(IDENTITIES) <= named


def test_local_runs_are_told_what_triggers_tell() -> None:
    """`make deliver` sets the substitutions that infra/ sets, no other."""
    (common,) = [block["substitutions"] for block in blocks(INFRA, "locals") if "substitutions" in block]
    target = Environment("dev", "p", "r", "pilot", "b", {})
    for run in IDENTITIES:
        own = {"_RUN", "_MODEL"} if run == "retrain" else {"_RUN"}
        assert set(trigger(target, run)["substitutions"]) == {*common, *own}


def test_every_step_is_a_make_target_or_a_verb() -> None:
    """Each command of a step is a make target, with variables, or a verb of the lifecycle, which people run as well."""
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.M))
    for name, step in STEPS.items():
        found = list(commands(step))
        assert found, name
        for words in found:
            if words[0] == "make":
                assert {word for word in words[1:] if "=" not in word} <= targets, (name, words)
            else:
                assert words[:3] == [".venv/bin/python", "-m", "lifecycle"], (name, words)
                assert words[3] in set(cli.commands), (name, words)


def test_steps_that_may_fail_say_so_to_the_last_one() -> None:
    """A step that may fail leaves its exit code where the record looks for it, under its own name."""
    for name, step in STEPS.items():
        left = re.findall(r"trap 'echo \$\? > build/delivery/(\w+)' EXIT", step["script"])
        assert left == ([name] if step.get("allowFailure") else []), name


def test_every_step_has_its_time() -> None:
    """No step can hang for ever, and the build has the time that its steps may take one after the other."""
    limits = {name: int(step["timeout"].removesuffix("s")) for name, step in STEPS.items()}
    in_a_row = ("verify", "train", "image", "build", "rollout", "record")
    assert sum(limits[name] for name in in_a_row) <= int(BUILD["timeout"].removesuffix("s")) <= 24 * 3600


def test_a_delivery_has_the_time_to_wait_for_another_one() -> None:
    """The step of the rollout lasts as long as a release with default steps may, after it waited for another."""
    rollout = Rollout()
    release = (len(rollout.steps) - 1) * timedelta(minutes=judge.PATIENCE * rollout.minutes_per_step)
    limit = timedelta(seconds=int(STEPS["rollout"]["timeout"].removesuffix("s")))
    assert release <= DELIVERY_PATIENCE
    assert limit >= DELIVERY_PATIENCE + release


def test_what_a_message_names_is_no_option() -> None:
    """Whoever may publish a message names a model, and cannot pass options or commands to a step with it."""
    for step in STEPS.values():
        for line in step["script"].splitlines():
            if "_MODEL" in line and "lifecycle" in line:
                assert re.search(r' -- (\$\{_MODEL:\+"\$_MODEL"\}|"\$_MODEL"( ;;)?)$', line), line


def test_images_of_steps_are_pinned() -> None:
    """Each step's image has a version; the Python that trains is the one of the image that serves."""
    for name, step in STEPS.items():
        assert re.search(r":\d+\.\d+", step["name"]), name
    (served,) = re.findall(r"^IMAGE_PYTHON := (\S+)$", MAKEFILE, re.M)
    assert {step["name"] for step in STEPS.values() if step["name"].startswith("python")} == {f"python:{served}"}


# Its runs, carried out on the double without Terraform

TARGET = Environment("dev", "local-project", "europe-west6", "pilot", "models", {"toy": {}, "other": {}})
VARIABLES = {
    "environment": "dev",
    "project": TARGET.project,
    "region": TARGET.region,
    "prefix": TARGET.prefix,
    "model_bucket": TARGET.model_bucket,
    "state_bucket": "state",
    "models": TARGET.models,
}
SKIPPED = {"verify": "it takes ten minutes", "plan": "nothing was applied"}
Deliver = Callable[..., "Delivery"]


class Delivery:
    """A build as it ended, and what its steps said."""

    def __init__(self, build: Json, said: list[str]) -> None:
        self.status = build["status"]
        self.steps = {step["id"]: step["status"] for step in build["steps"]}
        self.outputs = build["results"]["buildStepOutputs"]
        self.said = "\n".join(said)


@pytest.fixture(scope="module")
def cloud() -> Iterator[CloudDouble]:
    """Return a double with what a release needs."""
    with CloudDouble() as double:
        make_bare(double, TARGET)
        yield double


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a workspace as a build finds it."""
    return make_workspace(tmp_path / "workspace", TARGET.name, VARIABLES)


@pytest.fixture
def store(cloud: CloudDouble, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Return the store of versions, without any, and a registry without images."""
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    found = open_store(TARGET.store)
    for entry in found.list(""):
        found.delete(entry.key)
    for name, image, _ in list(cloud.images.images(TARGET.images(""))):
        cloud.images.delete(name, image.digest)
    yield found
    found.close()


@pytest.fixture
def deliver(cloud: CloudDouble, workspace: Path, store: Store, tmp_path: Path) -> Deliver:
    """Return the function that carries a run out under its identity."""

    def carry_out(run: str = "deliver", model: str = "") -> Delivery:
        place = runs.Place(TARGET.project, project_number(TARGET.project), TARGET.region)
        event = Message("topic", {"attributes": {"model": model}}) if model else Push("", "refs/heads/main", "0" * 40)
        build = runs.build_of(trigger(TARGET, run), event, place, lambda *_: BUILD, now())
        private = tmp_path / build["id"]
        private.mkdir()
        account = build["serviceAccount"].rpartition("/")[2]
        variables = machine.environment(cloud.environment, account, private)
        said: list[str] = []
        return Delivery(
            local.run(build, runs.values_of(build, place), workspace, variables, said.append, SKIPPED), said
        )

    return carry_out


def champions(store: Store) -> dict[str, int | None]:
    """Return each model's champion."""
    return {model: read_aliases(store, model).get("champion") for model in sorted(TARGET.models)}


def last_record(store: Store) -> dict[str, Any]:
    """Return what the last delivery's record says."""
    keys = [entry.key for entry in store.list("_deliveries/") if entry.key.endswith(".json")]
    records = [json.loads(store.get(key).content) for key in keys]
    found: dict[str, Any] = max(records, key=lambda record: record["recorded_at"])
    return found


def test_a_delivery_goes_from_source_to_champion(deliver: Deliver, store: Store) -> None:
    """Models are trained, their images built and released, and a record of it is kept."""
    first = deliver()
    assert first.status == "SUCCESS", first.said
    assert champions(store) == {"other": 1, "toy": 1}
    assert first.said.count("Successfully built image") == 2
    record = last_record(store)
    assert (record["commit"], record["run"], record["environment"]) == ("0" * 40, "deliver", "dev")
    assert record["steps"] == {"train": 0, "image": 0, "build": 0, "rollout": 0}
    toy = record["models"]["toy"]
    assert (toy["version"], toy["champion"], toy["outcome"]) == (1, 1, "version 1 answers")
    assert toy["image"].startswith(f"{TARGET.images('toy')}:v1-")
    (key,) = [entry.key for entry in store.list("_deliveries/") if entry.key.endswith(".md")]
    assert "| toy | version 1 answers |" in store.get(key).content.decode()


@pytest.mark.long
def test_the_next_delivery_finds_nothing_to_do(deliver: Deliver, store: Store) -> None:
    """Nothing is trained, built or released twice."""
    deliver()
    second = deliver()
    assert second.status == "SUCCESS", second.said
    assert champions(store) == {"other": 1, "toy": 1}
    assert list_numbers(store, "toy") == [1]
    assert "Successfully built image" not in second.said
    assert second.said.count("there already") == 2
    assert second.said.count("nothing to do") == 2


@pytest.mark.long
def test_one_bad_model_holds_up_no_other(deliver: Deliver, store: Store, workspace: Path) -> None:
    """Where one is refused and another's release goes wrong, the rest is released, and the build fails with reasons."""
    (workspace / "refuse-other").touch()
    ended = deliver()
    assert (ended.status, ended.steps["train"], ended.steps["record"]) == ("FAILURE", "FAILURE", "FAILURE")
    assert champions(store) == {"other": None, "toy": 1}
    assert "train ended with 3: A limit that was agreed before training is not met." in ended.said
    (workspace / "refuse-other").unlink()
    (workspace / "bad-other").touch()
    ended = deliver()
    assert (ended.status, ended.steps["rollout"]) == ("FAILURE", "FAILURE")
    assert "rollout ended with 10: A candidate was refused, or rolled back" in ended.said
    outcome = last_record(store)["models"]["other"]["outcome"]
    assert outcome == "version 1 is published but not released; nothing was released before it"


@pytest.mark.long
@pytest.mark.parametrize("last", ["train", "image", "build", "rollout"])
def test_an_interrupted_delivery_is_taken_up(
    last: str, deliver: Deliver, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever step was the last one, the next delivery ends where an undisturbed one does."""
    reached = list(STEPS).index(last)
    cut = {**BUILD, "steps": BUILD["steps"][: reached + 1]}
    with monkeypatch.context() as patch:
        patch.setitem(globals(), "BUILD", cut)
        assert deliver().status == "SUCCESS"
    assert deliver().status == "SUCCESS"
    assert champions(store) == {"other": 1, "toy": 1}
    assert {name: list_numbers(store, name) for name in TARGET.models} == {"other": [1], "toy": [1]}


@pytest.mark.long
def test_retraining_takes_the_same_steps(deliver: Deliver, store: Store) -> None:
    """A message trains the model that it names, whatever changed, and releases it; others stay as they are."""
    deliver()
    ended = deliver("retrain", "toy")
    assert ended.status == "SUCCESS", ended.said
    assert champions(store) == {"other": 1, "toy": 2}
    assert last_record(store)["run"] == "retrain"


HOSTILE = ("--accept-data", "toy; touch hacked", "$(touch hacked)", "../toy", "other toy")


@pytest.mark.long
@pytest.mark.parametrize("model", HOSTILE)
def test_a_message_is_not_trusted(model: str, deliver: Deliver, store: Store, workspace: Path) -> None:
    """What is no model's name trains nothing and runs nothing."""
    deliver("retrain", model)
    assert champions(store) == {"other": None, "toy": None}
    assert not list(workspace.rglob("hacked"))


def test_a_pull_request_changes_nothing(deliver: Deliver, store: Store, cloud: CloudDouble, workspace: Path) -> None:
    """Its run trains into a draft and reports, in the log and with the build; store and registry stay as they were."""
    store.create("toy/1/manifest.json", b"{}")
    before = [entry.key for entry in store.list("")]
    images = list(cloud.images.images(TARGET.images("")))
    ended = deliver("verify")
    assert ended.status == "SUCCESS", ended.said
    assert [entry.key for entry in store.list("")] == before
    assert list(cloud.images.images(TARGET.images(""))) == images
    assert "| - toy: a new version beside 1" in ended.said
    assert [bool(output) for output in ended.outputs].count(True) == 1


@pytest.mark.long
def test_a_refused_draft_fails_the_pull_request(deliver: Deliver, workspace: Path) -> None:
    """A pull request whose model misses a limit fails, after its report."""
    (workspace / "refuse-toy").touch()
    ended = deliver("verify")
    assert (ended.status, ended.steps["report"]) == ("FAILURE", "FAILURE")
    assert "What would change" in ended.said
