"""The double's Cloud Build: which events fire a trigger, and what build becomes of them."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from googleapiclient.errors import HttpError

from tests.cloud import CloudDouble
from tests.cloud.api import api_client
from tests.cloud.cloudbuild import runs, substitutions
from tests.cloud.cloudbuild.filters import Message, PullRequest, Push, Run, fires, matches
from tests.cloud.cloudscheduler import jobs
from tests.cloud.discovery import Document
from tests.cloud.errors import CloudError
from tests.cloud.given import give_repository
from tests.cloud.pubsub.broker import Broker, text_message
from tests.cloud.schemas import Json
from tests.infra.code import INFRA, resources
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
        "_MODEL": "",
        "_MODEL_STORE": "",
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
        "_MODEL_STORE": "",
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


# Over HTTP

OURS = "projects/local-project"
REGION = f"{OURS}/locations/europe-west6"
LINKED = f"{REGION}/connections/host/repositories/pilot"
DELIVER = "pilot-deliver@local-project.iam.gserviceaccount.com"
ANN = "ann-account@local-project.iam.gserviceaccount.com"
HERE = Push(LINKED, "refs/heads/main", COMMIT)


@pytest.fixture
def cloud() -> Iterator[CloudDouble]:
    """Return a double with a linked repository, whose files are ours, and the identity of deliveries."""
    with CloudDouble(repository=ROOT) as double:
        link(double)
        yield double


@pytest.fixture
def api(cloud: CloudDouble) -> Iterator[Any]:
    """Return Google's own client of Cloud Build, of the project's owner."""
    with api_client(cloud, "cloudbuild", "v1") as client:
        yield client


def link(cloud: CloudDouble) -> None:
    """Link the repository and make the service account."""
    give_repository(cloud, LINKED)
    with api_client(cloud, "iam", "v1") as client:
        body = {"accountId": DELIVER.partition("@")[0]}
        client.projects().serviceAccounts().create(name=OURS, body=body).execute()


def put(api: Any, **fields: Any) -> Json:
    """Make a trigger on pushes to main, unless the fields say otherwise."""
    body = {
        "name": "pilot-deliver",
        "filename": "cloudbuild.yaml",
        "serviceAccount": f"{OURS}/serviceAccounts/{DELIVER}",
        "substitutions": {"_RUN": "deliver"},
        "repositoryEventConfig": {"repository": LINKED, "push": {"branch": "^main$"}},
        **fields,
    }
    body = {name: value for name, value in body.items() if value is not None}
    made: Json = api.projects().locations().triggers().create(parent=REGION, body=body).execute()
    return made


def refused(request: Any, status: int, said: str = "") -> None:
    """Check that a request is refused."""
    with pytest.raises(HttpError) as caught:
        request()
    assert caught.value.status_code == status, caught.value.reason
    assert said in caught.value.reason


def test_a_push_makes_builds_that_are_listed(cloud: CloudDouble, api: Any) -> None:
    """Each trigger that answers a push makes a build of the repository's file; lists have the newest first."""
    put(api)
    put(api, name="docs", includedFiles=["docs/**"])
    (first,) = cloud.cloud_build.fire(HERE)
    assert cloud.cloud_build.fire(Push(LINKED, "refs/heads/other", COMMIT)) == []
    (second,) = cloud.cloud_build.fire(HERE)
    assert (first["substitutions"]["_RUN"], first["substitutions"]["COMMIT_SHA"]) == ("deliver", COMMIT)
    assert [step["id"] for step in first["steps"]][:3] == ["verify", "plan", "apply"]
    builds = api.projects().locations().builds()
    page = builds.list(parent=REGION, pageSize=1).execute()
    assert page["builds"] == [second]
    assert builds.list(parent=REGION, pageToken=page["nextPageToken"]).execute() == {"builds": [first]}
    assert builds.get(name=first["name"]).execute() == first
    assert builds.list(parent=f"{OURS}/locations/-").execute()["builds"] == [second, first]
    refused(builds.list(parent=REGION, filter="status=QUEUED").execute, 501, "filter")
    refused(builds.get(name=f"{REGION}/builds/none").execute, 404)


def test_the_older_spelling_means_global_builds(cloud: CloudDouble, api: Any) -> None:
    """Names without a location have the builds of the location global, and no others."""
    trigger = put(api)
    body = {name: trigger[name] for name in ("name", "serviceAccount")}
    body |= {"build": {"steps": [{"name": "a"}], "options": {"logging": "NONE"}}, "sourceToBuild": {"ref": "x"}}
    anywhere = api.projects().triggers().create(projectId="local-project", body=body).execute()
    cloud.cloud_build.fire(HERE)
    run = api.projects().triggers().run(projectId="local-project", triggerId=anywhere["id"], body={"branchName": "x"})
    made = run.execute()["metadata"]["build"]
    builds = api.projects().builds()
    assert builds.list(projectId="local-project").execute() == {"builds": [made]}
    assert builds.get(projectId="local-project", id=made["id"]).execute() == made
    cancelled = builds.cancel(projectId="local-project", id=made["id"], body={}).execute()
    assert cancelled["status"] == "CANCELLED"
    refused(builds.cancel(projectId="local-project", id=made["id"], body={}).execute, 400, "already complete")
    (regional,) = api.projects().locations().builds().list(parent=REGION).execute()["builds"]
    refused(builds.get(projectId="local-project", id=regional["id"]).execute, 404)


def test_a_trigger_is_run(cloud: CloudDouble, api: Any) -> None:
    """A person runs a trigger by id or name, on a branch and with values; the operation is done when the build is."""
    trigger = put(api)
    triggers = api.projects().locations().triggers()
    source = {"branchName": "main", "substitutions": {"_RUN": "retrain"}}
    for name in (trigger["id"], "pilot-deliver"):
        operation = triggers.run(name=f"{REGION}/triggers/{name}", body={"source": source}).execute()
        build = operation["metadata"]["build"]
        assert (build["substitutions"]["_RUN"], build["substitutions"]["BRANCH_NAME"]) == ("retrain", "main")
        assert "done" not in operation
    cloud.cloud_build.builds.update(build["id"], {"status": "SUCCESS"})
    done = api.operations().get(name=operation["name"]).execute()
    assert (done["done"], done["response"]["status"]) == (True, "SUCCESS")
    cloud.cloud_build.builds.update(build["id"], {"status": "FAILURE"})
    assert api.operations().get(name=operation["name"]).execute()["error"]["code"] == 2
    refused(api.operations().get(name="operations/build/local-project/none").execute, 404)
    path = f"{REGION}/triggers/pilot-deliver"
    refused(triggers.run(name=path, body={}).execute, 501, "without a branch")
    refused(triggers.run(name=path, body={"source": {"branchName": "main", "dir": "x"}}).execute, 501, "source.dir")
    refused(triggers.run(name=f"{REGION}/triggers/none", body={"source": source}).execute, 404)


def test_a_run_takes_the_right_to_act(cloud: CloudDouble, api: Any) -> None:
    """Who runs a trigger needs to make builds, and to act as the account under which they run."""
    put(api)
    with api_client(cloud, "cloudbuild", "v1", ANN) as ann:
        run = (
            ann.projects()
            .locations()
            .triggers()
            .run(name=f"{REGION}/triggers/pilot-deliver", body={"source": {"branchName": "main"}})
        )
        refused(run.execute, 403, "cloudbuild.builds.create")
        grant(cloud, f"//cloudresourcemanager.googleapis.com/{OURS}", "roles/cloudbuild.builds.editor")
        refused(run.execute, 403, "iam.serviceaccounts.actAs")
        grant(cloud, f"//iam.googleapis.com/{OURS}/serviceAccounts/{DELIVER}", "roles/iam.serviceAccountUser")
        assert run.execute()["metadata"]["build"]["status"] == "QUEUED"


def grant(cloud: CloudDouble, resource: str, role: str) -> None:
    """Grant Ann a role on a resource."""
    policy = cloud.state.policies.setdefault(resource, {"bindings": []})
    policy["bindings"].append({"role": role, "members": [f"serviceAccount:{ANN}"]})


def test_an_approver_approves(cloud: CloudDouble, api: Any) -> None:
    """A build that waits runs once somebody with the right has approved it; the editor's role is not enough."""
    ran: list[str] = []
    cloud.cloud_build.runner = lambda build: ran.append(build["id"])
    put(api, approvalConfig={"approvalRequired": True})
    (build,) = cloud.cloud_build.fire(HERE)
    assert (build["status"], ran) == ("PENDING", [])
    with api_client(cloud, "cloudbuild", "v1", ANN) as ann:
        body = {"approvalResult": {"decision": "APPROVED", "comment": "fine"}}
        approve = ann.projects().locations().builds().approve(name=build["name"], body=body)
        grant(cloud, f"//cloudresourcemanager.googleapis.com/{OURS}", "roles/cloudbuild.builds.editor")
        refused(approve.execute, 403, "cloudbuild.builds.approve")
        grant(cloud, f"//cloudresourcemanager.googleapis.com/{OURS}", "roles/cloudbuild.builds.approver")
        operation = approve.execute()
        assert operation["metadata"]["build"]["approval"]["result"]["approverAccount"] == ANN
        refused(approve.execute, 400, "not pending")
    assert ran == [build["id"]]


def test_a_rejected_builds_operation_is_done(cloud: CloudDouble, api: Any) -> None:
    """Who rejects a build hears at once that it is over."""
    put(api, approvalConfig={"approvalRequired": True})
    (build,) = cloud.cloud_build.fire(HERE)
    body = {"approvalResult": {"decision": "REJECTED"}}
    operation = api.projects().locations().builds().approve(name=build["name"], body=body).execute()
    assert (operation["done"], operation["error"]["code"]) == (True, 1)


def test_a_pull_request_makes_a_build(cloud: CloudDouble, api: Any) -> None:
    """A pull request is built by the trigger that answers it."""
    rule = {"repository": LINKED, "pullRequest": {"branch": "^main$"}}
    put(api, repositoryEventConfig=rule, substitutions={"_RUN": "verify"})
    (build,) = cloud.cloud_build.fire(PullRequest(LINKED, 7, "feature", "main", COMMIT))
    assert (build["substitutions"]["_RUN"], build["substitutions"]["_PR_NUMBER"]) == ("verify", "7")


def test_a_missing_file_makes_no_build(cloud: CloudDouble, api: Any) -> None:
    """A configuration that the repository does not have is a 404, and so is any without a repository."""
    put(api, filename="nowhere.yaml")
    with pytest.raises(CloudError, match=r"pilot:nowhere\.yaml") as caught:
        cloud.cloud_build.fire(HERE)
    assert caught.value.status == 404
    with CloudDouble() as bare, api_client(bare, "cloudbuild", "v1") as client:
        link(bare)
        put(client)
        with pytest.raises(CloudError, match=r"pilot:cloudbuild\.yaml"):
            bare.cloud_build.fire(HERE)


def test_a_message_without_a_build_is_logged(cloud: CloudDouble, api: Any) -> None:
    """Whoever publishes is not told that a trigger could make no build of it: the audit log is."""
    topic = f"{OURS}/topics/retrain"
    with api_client(cloud, "pubsub", "v1") as pubsub:
        pubsub.projects().topics().create(name=topic, body={}).execute()
        source = {"repository": LINKED, "ref": "refs/heads/main", "repoType": "GITHUB"}
        put(
            api,
            repositoryEventConfig=None,
            pubsubConfig={"topic": topic},
            sourceToBuild=source,
            substitutions={"_MODEL": "$(body.message.attributes.model)"},
        )
        publish = pubsub.projects().topics().publish
        assert publish(topic=topic, body={"messages": [text_message("x", other="y")]}).execute()["messageIds"]
        assert cloud.cloud_build.builds.list() == []
        (entry,) = cloud.signals.entries.find('resource.type="build" severity=ERROR')
        assert "attributes.model" in entry["protoPayload"]["status"]["message"]


def test_a_scheduled_job_retrains_as_infra_says(cloud: CloudDouble, api: Any) -> None:
    """infra/'s job, topic and trigger: a run of the job is a build of cloudbuild.yaml that retrains that model."""
    declared = resources(INFRA)["google_cloudbuild_trigger", "retrain"]
    written = dict(re.findall(r'(_\w+) = "([^"]+)"', declared["substitutions"]))
    assert written.keys() == {"_MODEL", "_RUN"}
    (target,) = resources(INFRA)["google_cloud_scheduler_job", "retrain"]["pubsub_target"]
    assert target["attributes"] == {"model": "${each.key}"}
    topic = f"{OURS}/topics/pilot-retrain"
    source = {"repository": LINKED, "repoType": "GITHUB"}
    with api_client(cloud, "pubsub", "v1") as pubsub, api_client(cloud, "cloudscheduler", "v1") as scheduler:
        pubsub.projects().topics().create(name=topic, body={}).execute()
        put(
            api,
            name="pilot-retrain",
            filename=None,
            repositoryEventConfig=None,
            gitFileSource={"path": "cloudbuild.yaml", "revision": "refs/heads/main", **source},
            pubsubConfig={"topic": topic},
            sourceToBuild={"ref": "refs/heads/main", **source},
            substitutions=written,
        )
        scheduled = scheduler.projects().locations().jobs()
        name = f"{REGION}/jobs/pilot-churn-retrain"
        sent = {"topicName": topic, "attributes": {"model": "churn"}}
        body = {"name": name, "schedule": "0 4 1 * *", "timeZone": "Etc/UTC", "pubsubTarget": sent}
        scheduled.create(parent=REGION, body=body).execute()
        assert scheduled.run(name=name, body={}).execute()["status"] == {}
    (build,) = api.projects().locations().builds().list(parent=REGION).execute()["builds"]
    told = build["substitutions"]
    assert (told["_MODEL"], told["_RUN"], told["_ENVIRONMENT"]) == ("churn", "retrain", "dev")
    assert build["serviceAccount"] == f"{OURS}/serviceAccounts/{DELIVER}"
    assert build["source"]["connectedRepository"] == {"repository": LINKED, "revision": "refs/heads/main"}
