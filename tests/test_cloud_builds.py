"""The double's Cloud Build: which events fire a trigger, and what build becomes of them."""

from typing import Any

import pytest
import yaml

from tests.cloud.cloudbuild import runs, substitutions
from tests.cloud.cloudbuild.filters import Message, PullRequest, Push, Run, fires, matches
from tests.cloud.cloudscheduler import jobs
from tests.cloud.discovery import Document
from tests.cloud.errors import CloudError
from tests.cloud.pubsub.broker import Broker, text_message
from tests.cloud.schemas import Json
from tests.server import ROOT
from tests.test_cloud_pubsub import AFTER, JOB, TOPIC, Cupboard

REPOSITORY = "projects/p/locations/europe-west6/connections/host/repositories/pilot"
PLACE = runs.Place("p", "123456789012", "europe-west6")
NOON = "2026-01-01T12:00:00Z"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ACCOUNT = "projects/p/serviceAccounts/pilot-deliver@p.iam.gserviceaccount.com"
READS: list[tuple[str, str, str]] = []


def trigger(**fields: Any) -> Json:
    """Return a trigger of the project, as the API has it."""
    return {"id": "t-1", "name": "pilot-deliver", "filename": "cloudbuild.yaml", "serviceAccount": ACCOUNT, **fields}


def on_push(branch: str = "^main$", **fields: Any) -> Json:
    """Return a trigger on pushes of a branch."""
    return trigger(repositoryEventConfig={"repository": REPOSITORY, "push": {"branch": branch}}, **fields)


def on_pull_request(**rule: Any) -> Json:
    """Return a trigger on pull requests to main."""
    return trigger(repositoryEventConfig={"repository": REPOSITORY, "pullRequest": {"branch": "^main$", **rule}})


# As infra/retraining.tf makes it.
RETRAIN = trigger(
    name="pilot-retrain",
    gitFileSource={
        "path": "cloudbuild.yaml",
        "repoType": "GITHUB",
        "repository": REPOSITORY,
        "revision": "refs/heads/main",
    },
    pubsubConfig={"topic": TOPIC},
    sourceToBuild={"ref": "refs/heads/main", "repoType": "GITHUB", "repository": REPOSITORY},
    substitutions={"_MODEL": "$(body.message.attributes.model)", "_RUN": "retrain", "_ENVIRONMENT": "prod"},
)
del RETRAIN["filename"]


def read(repository: str, path: str, revision: str) -> Json:
    """Return a file of the repository, whatever the revision."""
    assert repository == REPOSITORY
    READS.append((repository, path, revision))
    found: Json = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    return found


def build(of: Json, event: Any) -> Json:
    """Return the build that a trigger makes of an event."""
    return runs.build_of(of, event, PLACE, read, NOON)


def push(*files: str, ref: str = "refs/heads/main", message: str = "Mend it") -> Push:
    """Return a push to the repository."""
    return Push(REPOSITORY, ref, COMMIT, files, message)


def pull_request(**fields: Any) -> PullRequest:
    """Return a pull request to main."""
    return PullRequest(REPOSITORY, 7, "feature", "main", COMMIT, **fields)


# Which events fire a trigger

GLOBS = {
    "infra/**": {"infra/a.tf": True, "infra/endpoint/a.tf": True, "infra": False, "other/infra/a.tf": False},
    "models/*/model.yaml": {"models/churn/model.yaml": True, "models/a/b/model.yaml": False},
    "**": {"a": True, "a/b/c": True},
    "**/*.md": {"a.md": True, "docs/a.md": True, "docs/deep/a.md": True, "a.mdx": False},
    "*.py": {"a.py": True, "b/a.py": False},
    "a?c": {"abc": True, "a/c": False, "ac": False},
    "[a-c].txt": {"b.txt": True, "d.txt": False},
    "[^a-c].txt": {"b.txt": False, "d.txt": True, "/.txt": False},
    r"a\*b": {"a*b": True, "aXb": False},
    "a+(b)": {"a+(b)": True, "aab": False},
}


@pytest.mark.parametrize("glob", GLOBS)
def test_globs_match_as_gos_do(glob: str) -> None:
    """A star stops at a slash, two stars do not; classes and escapes are those of Go's filepath.Match."""
    assert {path: matches(glob, path) for path in GLOBS[glob]} == GLOBS[glob]


FILES: dict[str, tuple[Json, tuple[str, ...], bool]] = {
    "no filters": ({}, ("a",), True),
    "no filters, no files": ({}, (), True),
    "included": ({"includedFiles": ["infra/**"]}, ("README.md", "infra/a.tf"), True),
    "none included": ({"includedFiles": ["infra/**"]}, ("README.md",), False),
    "all ignored": ({"ignoredFiles": ["**/*.md"]}, ("README.md", "docs/a.md"), False),
    "not all ignored": ({"ignoredFiles": ["**/*.md"]}, ("README.md", "a.py"), True),
    "included but ignored": ({"includedFiles": ["docs/**"], "ignoredFiles": ["**/*.md"]}, ("docs/a.md", "a.py"), False),
}


@pytest.mark.parametrize(("filters", "files", "expected"), FILES.values(), ids=FILES)
def test_changed_files_decide(filters: Json, files: tuple[str, ...], expected: bool) -> None:
    """A push fires a trigger when some changed file is not ignored and, where there is such a list, is included."""
    assert fires(on_push(**filters), push(*files)) is expected


REFS: dict[str, tuple[Json, str, bool]] = {
    "branch": ({"branch": "^main$"}, "refs/heads/main", True),
    "longer name": ({"branch": "^main$"}, "refs/heads/main-2", False),
    "part of a name": ({"branch": "feat"}, "refs/heads/my-feature", True),
    "inverted": ({"branch": "^main$", "invertRegex": True}, "refs/heads/other", True),
    "inverted, the same": ({"branch": "^main$", "invertRegex": True}, "refs/heads/main", False),
    "tag": ({"tag": r"^v\d+$"}, "refs/tags/v12", True),
    "tag for a branch": ({"branch": ".*"}, "refs/tags/v12", False),
    "branch for a tag": ({"tag": ".*"}, "refs/heads/main", False),
}


@pytest.mark.parametrize(("rule", "ref", "expected"), REFS.values(), ids=REFS)
def test_names_of_branches_decide(rule: Json, ref: str, expected: bool) -> None:
    """A push fires a trigger whose regular expression finds something in the branch's or the tag's name."""
    of = trigger(repositoryEventConfig={"repository": REPOSITORY, "push": rule})
    assert fires(of, push(ref=ref)) is expected


OUTSIDERS = "COMMENTS_ENABLED_FOR_EXTERNAL_CONTRIBUTORS_ONLY"
COMMENTS: dict[str, tuple[Json, PullRequest, bool]] = {
    "no control": ({}, pull_request(from_outside=True), True),
    "disabled": ({"commentControl": "COMMENTS_DISABLED"}, pull_request(from_outside=True), True),
    "enabled": ({"commentControl": "COMMENTS_ENABLED"}, pull_request(), False),
    "enabled, asked for": ({"commentControl": "COMMENTS_ENABLED"}, pull_request(asked_for=True), True),
    "one of us": ({"commentControl": OUTSIDERS}, pull_request(), True),
    "a stranger": ({"commentControl": OUTSIDERS}, pull_request(from_outside=True), False),
    "a stranger, asked for": ({"commentControl": OUTSIDERS}, pull_request(from_outside=True, asked_for=True), True),
}


@pytest.mark.parametrize(("rule", "event", "expected"), COMMENTS.values(), ids=COMMENTS)
def test_strangers_wait_for_a_comment(rule: Json, event: PullRequest, expected: bool) -> None:
    """Where comments are controlled, code is built once somebody who may write to the repository says /gcbrun."""
    assert fires(on_pull_request(**rule), event) is expected


def test_other_events_fire_nothing() -> None:
    """Other repositories, topics and kinds of events, skipped pushes and disabled triggers start no build."""
    assert not fires(
        on_push(), Push("projects/p/locations/l/connections/c/repositories/other", "refs/heads/main", COMMIT)
    )
    assert not fires(on_push(), pull_request())
    assert not fires(on_pull_request(), push())
    assert not fires(on_pull_request(), PullRequest(REPOSITORY, 1, "main", "release", COMMIT))
    assert not fires(on_push(), push(message="Mend a typo [skip ci]"))
    assert not fires(on_push(disabled=True), push())
    assert not fires(RETRAIN, Message("projects/p/topics/other", {}))
    assert not fires(on_push(), Message(TOPIC, {}))
    assert fires(RETRAIN, Message(TOPIC, {}))
    assert fires(on_push(disabled=True), Run())


def test_filters_in_cel_are_a_501() -> None:
    """A filter that the double cannot evaluate is not passed over."""
    with pytest.raises(CloudError) as caught:
        fires({**RETRAIN, "filter": "_MODEL.matches('churn')"}, Message(TOPIC, {}))
    assert caught.value.status == 501


# What becomes of them


def test_a_push_becomes_a_build() -> None:
    """A build has the configuration's steps at the pushed commit, the trigger's account, and says what it is of."""
    READS.clear()
    made = build(on_push(substitutions={"_RUN": "deliver"}), push("a.py"))
    configuration = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text(encoding="utf-8"))
    assert READS == [(REPOSITORY, "cloudbuild.yaml", COMMIT)]
    assert made["steps"] == configuration["steps"]
    assert made["timeout"] == configuration["timeout"]
    assert made["status"] == "QUEUED"
    assert made["serviceAccount"] == ACCOUNT
    assert made["options"]["logging"] == "CLOUD_LOGGING_ONLY"
    assert made["source"] == {"connectedRepository": {"repository": REPOSITORY, "revision": COMMIT}}
    assert made["tags"] == ["trigger-t-1"]
    assert made["name"] == f"projects/123456789012/locations/europe-west6/builds/{made['id']}"
    assert made["substitutions"] == {
        "TRIGGER_NAME": "pilot-deliver",
        "TRIGGER_BUILD_CONFIG_PATH": "cloudbuild.yaml",
        "REPO_NAME": "pilot",
        "COMMIT_SHA": COMMIT,
        "REVISION_ID": COMMIT,
        "SHORT_SHA": COMMIT[:7],
        "BRANCH_NAME": "main",
        "REF_NAME": "main",
        "_ENVIRONMENT": "dev",
        "_RUN": "deliver",
    }
    values = runs.values_of(made, PLACE)
    assert (values["PROJECT_ID"], values["LOCATION"], values["BUILD_ID"]) == ("p", "europe-west6", made["id"])
    assert values["SERVICE_ACCOUNT_EMAIL"] == "pilot-deliver@p.iam.gserviceaccount.com"


def test_a_build_fits_the_apis_description() -> None:
    """Every field of a build is one that the API's description of Build has, of its type."""
    schemas = Document.load("cloudbuild", "v1").schemas
    for made in (build(on_push(approvalConfig={"approvalRequired": True}), push()), build(RETRAIN, message("churn"))):
        known = schemas.resolve({"$ref": "Build"})["properties"]
        writable = {name: value for name, value in made.items() if not known[name].get("readOnly")}
        assert schemas.accept("Build", made, "") == writable


def test_a_pull_request_becomes_a_build() -> None:
    """A build of a pull request is of its head, and is told its number and branches."""
    values = build(on_pull_request(), pull_request(head_url="https://host/fork.git"))["substitutions"]
    assert {
        name: values[name] for name in values if name.startswith(("_HEAD", "_BASE", "_PR", "BRANCH", "COMMIT"))
    } == {
        "BRANCH_NAME": "feature",
        "COMMIT_SHA": COMMIT,
        "_HEAD_BRANCH": "feature",
        "_BASE_BRANCH": "main",
        "_HEAD_REPO_URL": "https://host/fork.git",
        "_PR_NUMBER": "7",
    }


def message(model: str) -> Message:
    """Return a message that names a model."""
    return Message(TOPIC, {"attributes": {"model": model}, "messageId": "1"})


def test_a_message_becomes_a_build() -> None:
    """A build of a message has the substitutions that the trigger takes out of it, and builds the trigger's branch."""
    READS.clear()
    made = build(RETRAIN, message("churn"))
    assert READS == [(REPOSITORY, "cloudbuild.yaml", "refs/heads/main")]
    values = made["substitutions"]
    assert {name: values[name] for name in values if name.startswith("_")} == {
        "_MODEL": "churn",
        "_RUN": "retrain",
        "_ENVIRONMENT": "prod",
    }
    assert made["source"] == {"connectedRepository": {"repository": REPOSITORY, "revision": "refs/heads/main"}}
    assert "COMMIT_SHA" not in values


def test_a_schedule_retrains_a_model() -> None:
    """From a scheduled job to a build: the job's attribute is the model that the build is told."""
    catalog = Cupboard()
    broker, kept = Broker(catalog), runs.Builds()

    def hear(topic: str, arrived: Json) -> None:
        event = Message(topic, arrived)
        if fires(RETRAIN, event):
            kept.add(build(RETRAIN, event))

    broker.listen(hear)
    jobs.run(JOB, broker.publish, AFTER)
    (made,) = kept.list()
    assert made["substitutions"]["_MODEL"] == "churn"


BINDINGS: dict[str, tuple[Json, str, str]] = {
    "attribute": ({"attributes": {"a": "x"}}, "$(body.message.attributes.a)", "x"),
    "quoted": ({"attributes": {"a-b": "x"}}, "$(body.message.attributes['a-b'])", "x"),
    "in a text": ({"attributes": {"a": "x"}}, "models/$(body.message.attributes.a)/y", "models/x/y"),
    "data": (text_message('{"a": {"b": [1, 2]}}'), "$(body.message.data.a.b[1])", "2"),
    "object of data": (text_message('{"a": {"b": 1}}'), "$(body.message.data.a)", '{"b": 1}'),
    "text of data": (text_message("hello"), "$(body.message.data)", "aGVsbG8="),
    "another name": ({}, "${_OTHER}-$PROJECT_ID", "other-p"),
    "a dollar": ({}, "$$PROJECT_ID", "$PROJECT_ID"),
}


@pytest.mark.parametrize(("arrived", "text", "expected"), BINDINGS.values(), ids=BINDINGS)
def test_substitutions_are_resolved(arrived: Json, text: str, expected: str) -> None:
    """A trigger's values may take fields of the message, whose data is read as JSON, and name other values."""
    of = {**RETRAIN, "substitutions": {"_X": text, "_OTHER": "other"}}
    assert build(of, Message(TOPIC, arrived))["substitutions"]["_X"] == expected


UNRESOLVED: dict[str, tuple[int, Json]] = {
    "no such attribute": (400, {"_X": "$(body.message.attributes.other)"}),
    "each other": (400, {"_X": "$_Y", "_Y": "$_X"}),
    "bad name": (400, {"model": "x"}),
    "bash": (501, {"_X": "${_Y,,}", "_Y": "A"}),
    "filter in a path": (501, {"_X": "$(body.message.attributes[?(@.a)])"}),
}


@pytest.mark.parametrize(("status", "written"), UNRESOLVED.values(), ids=UNRESOLVED)
def test_what_cannot_be_resolved_makes_no_build(status: int, written: Json) -> None:
    """A field that the message does not have, or a value that needs itself, is refused; bash's operations are a 501."""
    with pytest.raises(CloudError) as caught:
        build({**RETRAIN, "substitutions": written}, message("churn"))
    assert caught.value.status == status


def test_a_run_may_bring_values() -> None:
    """Who runs a trigger by hand may name another ref and other values; they win over the trigger's."""
    made = build(RETRAIN | {"substitutions": {"_MODEL": "x"}}, Run("refs/tags/v1", COMMIT, (("_MODEL", "fraud"),)))
    assert made["substitutions"]["_MODEL"] == "fraud"
    assert made["substitutions"]["TAG_NAME"] == "v1"
    assert made["source"]["connectedRepository"]["revision"] == COMMIT


def test_texts_are_filled_in() -> None:
    """A step's text has its names replaced; one without a value stands for nothing, and $(...) is the shell's."""
    assert (
        substitutions.fill_in("$_RUN ${_RUN}x $$_RUN $_NONE! $(date)", {"_RUN": "deliver"})
        == "deliver deliverx $_RUN ! $(date)"
    )


def test_an_account_needs_a_place_for_logs() -> None:
    """A build under a service account is refused unless its configuration says where its log goes."""
    of = {**on_push(), "build": {"steps": [{"name": "a"}]}}
    with pytest.raises(CloudError, match=r"if 'build\.service_account' is specified") as caught:
        build(of, push())
    assert caught.value.status == 400
    assert build({**of, "build": {**of["build"], "logsBucket": "gs://logs"}}, push())["status"] == "QUEUED"


def test_a_configuration_is_checked() -> None:
    """A file that is no build configuration makes no build."""
    with pytest.raises(CloudError, match='Unknown name "stepps"') as caught:
        runs.build_of(on_push(), push(), PLACE, lambda *of: {"stepps": []}, NOON)
    assert caught.value.status == 400


# Approval, and who runs them


def test_approval_is_waited_for() -> None:
    """A build of a trigger with approval is pending; it is handed on once it was approved, and only then."""
    handed: list[str] = []
    kept = runs.Builds(lambda one: handed.append(one["id"]))
    made = kept.add(build(on_push(approvalConfig={"approvalRequired": True}), push()))
    assert (made["status"], made["approval"]) == (
        "PENDING",
        {"config": {"approvalRequired": True}, "state": "PENDING"},
    )
    assert handed == []
    approved = kept.decide(made["id"], {"decision": "APPROVED", "comment": "fine"}, "owner@example.com", NOON)
    assert handed == [made["id"]]
    assert approved["status"] == "QUEUED"
    assert approved["approval"]["state"] == "APPROVED"
    assert approved["approval"]["result"] == {
        "decision": "APPROVED",
        "comment": "fine",
        "approverAccount": "owner@example.com",
        "approvalTime": NOON,
    }


def test_a_rejected_build_never_runs() -> None:
    """A rejection ends a build, and nothing can be decided twice."""
    handed: list[str] = []
    kept = runs.Builds(lambda one: handed.append(one["id"]))
    made = kept.add(build(on_push(approvalConfig={"approvalRequired": True}), push()))
    rejected = kept.decide(made["id"], {"decision": "REJECTED"}, "owner@example.com", NOON)
    assert (rejected["approval"]["state"], rejected["status"], handed) == ("REJECTED", "CANCELLED", [])
    for result in ({"decision": "APPROVED"}, {}):
        with pytest.raises(CloudError) as caught:
            kept.decide(made["id"], result, "owner@example.com", NOON)
        assert caught.value.status == 400


def test_a_runner_writes_down_how_it_went() -> None:
    """A runner is given each queued build and changes it; without a runner builds stay queued."""
    kept = runs.Builds(lambda one: kept.update(one["id"], {"status": "SUCCESS"}) and None)
    assert kept.add(build(on_push(), push()))["status"] == "SUCCESS"
    idle = runs.Builds()
    first, second = (idle.add(build(on_push(), push())) for _ in range(2))
    assert idle.list() == [second, first]
    assert idle.get(first["id"])["status"] == "QUEUED"
    assert idle.cancel(first["id"], NOON)["status"] == "CANCELLED"
    with pytest.raises(CloudError) as caught:
        idle.cancel(first["id"], NOON)
    assert caught.value.status == 400
    with pytest.raises(CloudError) as caught:
        idle.get("other")
    assert caught.value.status == 404
