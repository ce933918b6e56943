"""One model's Cloud Run service: read it, give it a candidate, move its traffic, move it back.

Of the service, a release owns the image, the labels `model` and `version` of its template, and the traffic. Every
change names just these fields: everything else stays as Terraform left it. Revision names are left to Cloud Run.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple, Self

from google.api_core.exceptions import Conflict, NotFound
from google.auth.credentials import Credentials
from google.cloud import run_v2
from google.protobuf.field_mask_pb2 import FieldMask

from lifecycle import google_apis
from lifecycle.environment import Environment
from lifecycle.errors import CloudFailed, Missing, NotReleasable, Overtaken
from lifecycle.google_apis import client_options, explained, is_transient, patiently

STABLE, CANDIDATE, PREVIOUS = "stable", "candidate", "previous"
TAGS = frozenset({STABLE, CANDIDATE, PREVIOUS})  # a release's own; it leaves those of others where they are
MODEL, VERSION = "model", "version"  # the template's labels

SETTLE_SECONDS = 900.0  # a change: its revision may load for four minutes, after its image was pulled

BY_NAME = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION
TO_LATEST = run_v2.TrafficTargetAllocationType.TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST
EVERYTHING_TO_LATEST = [run_v2.TrafficTarget(type_=TO_LATEST, percent=100)]
FAILED, SUCCEEDED = run_v2.Condition.State.CONDITION_FAILED, run_v2.Condition.State.CONDITION_SUCCEEDED
TRAFFIC = ("traffic",)
# The name goes with them: one that somebody chose could not be given to another image.
TEMPLATE = ("template.containers", "template.labels", "template.revision")

# What a revision and the template that it was made of share, besides what a release owns.
SETTINGS = sorted(
    set(run_v2.Revision.meta.fields)
    & set(run_v2.RevisionTemplate.meta.fields) - {"annotations", "containers", "labels"}
)


class Share(NamedTuple):
    """How much of the traffic a revision gets, in percent; a tag gives it an address of its own."""

    revision: str
    percent: int = 0
    tag: str = ""


class State(NamedTuple):
    """A service, at one moment. Revisions go by their short names."""

    etag: str
    address: str
    tag_addresses: Mapping[str, str]
    ingress: str  # Cloud Run's own word, for example INGRESS_TRAFFIC_ALL
    iap: bool
    image: str
    labels: Mapping[str, str]  # of the template, all of them
    split: tuple[Share, ...]  # as it was told
    answering: tuple[Share, ...]  # as Cloud Run does it: the same, as soon as it has settled
    follows_latest: bool  # some traffic goes to whichever revision is the latest, as before a first release
    latest_created: str
    latest_ready: str
    reconciling: bool
    reason: str  # why it is not ready, in Cloud Run's words; empty where it is
    settled: datetime  # since when it has been so, by Cloud Run's clock

    def percent(self, revision: str) -> int:
        """Return what a revision gets of the traffic."""
        return sum(share.percent for share in self.split if share.revision == revision)

    def tagged(self, tag: str) -> str:
        """Return the revision that has a tag; empty where none has."""
        return next((share.revision for share in self.split if share.tag == tag), "")

    @property
    def main(self) -> str:
        """The revision with most of the traffic; of two with as much, the stable one."""
        return max(self.split, key=lambda share: (self.percent(share.revision), share.tag == STABLE)).revision


class Revision(NamedTuple):
    """A revision: what it was made of, and whether it can serve."""

    name: str
    image: str  # as its template named it
    labels: Mapping[str, str]
    created: datetime
    ready: bool
    reason: str  # why it is not ready, in Cloud Run's words; empty where it is
    conditions: Mapping[str, str]  # the state of each, by its type
    settings: Mapping[str, Any]  # everything else that makes it: environment, limits, probes, scaling ...

    @property
    def digest(self) -> str:
        """The digest of the image, which a release always names; empty where somebody named a tag."""
        return self.image.partition("@")[2]

    @property
    def version(self) -> int | None:
        """The version of the model that a release marked it with; None where nobody did."""
        number = self.labels.get(VERSION, "")
        return int(number) if number.isdecimal() else None


class Endpoint:
    """One model's service; `with` ends its connections.

    Each change departs from a State that its caller saw: where somebody else has changed image, labels or traffic
    since, it raises Overtaken and changes nothing. A change whose answer got lost is looked for before it is repeated.
    """

    def __init__(self, environment: Environment, model: str, credentials: Credentials) -> None:
        """Take the service of a model in an environment; nothing is called yet."""
        self.name = environment.service(model)
        self._environment, self._model = environment, model
        options: dict[str, Any] = {"credentials": credentials, "client_options": client_options("run")}
        self._services = run_v2.ServicesClient(transport="rest", **options)
        self._revisions = run_v2.RevisionsClient(transport="rest", **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._services.transport.close()
        self._revisions.transport.close()

    def read(self) -> State:
        """Return the service as it is; raises NotReleasable where it is not there, CloudFailed."""
        with self._explained("Reading"):
            return _state(patiently()(self._get)())

    def unchanged(self, seen: State) -> State:
        """Return the service as it is now; raises Overtaken where its image, labels or traffic were changed."""
        now = self.read()
        _check_same(self.name, seen, now)
        return now

    def revision(self, name: str) -> Revision:
        """Return a revision; raises Missing, CloudFailed."""
        full = f"{self.name}/revisions/{name}"
        with self._explained(f"Reading the revision {name} of"):
            try:
                found = patiently()(self._revisions.get_revision)(
                    name=full, retry=None, timeout=google_apis.CALL_SECONDS
                )
            except NotFound as error:
                raise Missing(f"There is no revision {name} of {self.name}: {error.message}") from error
        return _revision(found)

    def revisions(self) -> list[Revision]:
        """Return every revision that there is and that could serve; raises CloudFailed."""
        with self._explained("Listing the revisions of"):
            found = patiently()(self._revisions.list_revisions)(
                parent=self.name, retry=None, timeout=google_apis.CALL_SECONDS
            )
            return [one for one in map(_revision, found) if one.ready]

    def deploy(self, seen: State, image: str, labels: Mapping[str, str], shares: Sequence[Share]) -> State:
        """Make a revision of an image and labels, the traffic being split by `shares` meanwhile; wait for it.

        It is `latest_created` of what is returned, whether it became ready or not. Where the template has image and
        labels already, no revision is made.
        """
        return self._change(seen, _Wish(tuple(shares), image, labels))

    def move(self, seen: State, shares: Sequence[Share]) -> State:
        """Split the traffic; raises CloudFailed where a revision cannot take it: then everybody answers as before."""
        return self._settled_as(self._change(seen, _Wish(tuple(shares))))

    def roll_back(self, seen: State, revision: str) -> State:
        """Give a revision all the traffic, and its image and labels to the template: one update, safe to repeat.

        The template makes a new revision then, without traffic: a copy of this one, with Terraform's present settings.
        The tag `previous` stays, unless it was this one's. Raises Missing where there is no such revision.
        """
        known = self.revision(revision)
        previous = seen.tagged(PREVIOUS)
        kept = [Share(previous, 0, PREVIOUS)] if previous not in ("", revision) else []
        labels = {name: known.labels[name] for name in (MODEL, VERSION) if name in known.labels}
        shares = (Share(revision, 100, STABLE), *kept)
        return self._settled_as(self._change(seen, _Wish(shares, known.image, labels)))

    def _change(self, seen: State, wish: "_Wish") -> State:
        """Bring the service to what is wished, from what was seen, and wait until Cloud Run has carried it out."""

        def attempt() -> None:
            service = self._get()
            now = _state(service)
            if wish.holds(now):
                return
            _check_same(self.name, seen, now)
            self._update(wish, service)

        with self._explained("Updating"):
            # A conflict is worth another look: Cloud Run's own progress moves the etag, too.
            again = patiently().with_predicate(lambda error: is_transient(error) or _is_conflict(error))
            again(attempt)()
        return self._settled()

    def _update(self, wish: "_Wish", service: run_v2.Service) -> None:
        # The operation is not followed: it would be lost with this process, while the service says to everybody, and
        # to the next run, how far it is.
        self._services.update_service(
            request=run_v2.UpdateServiceRequest(service=wish.make_of(service), update_mask=FieldMask(paths=wish.mask)),
            retry=None,
            timeout=google_apis.CALL_SECONDS,
        )

    def _settled(self) -> State:
        """Wait until Cloud Run has carried out what it was told."""

        def look() -> State:
            state = _state(self._get())
            if state.reconciling:
                raise _Unsettled(f"{self.name} is still being changed. {state.reason}".strip())
            return state

        wait = patiently(SETTLE_SECONDS).with_predicate(
            lambda error: isinstance(error, _Unsettled) or is_transient(error)
        )
        with self._explained("Waiting for"):
            return wait(look)()

    def _settled_as(self, state: State) -> State:
        """Return a state whose traffic goes where it was told to."""
        if _routes(state.answering) != _routes(state.split):
            raise CloudFailed(f"Cloud Run did not split the traffic of {self.name} as told", [state.reason])
        return state

    def _get(self) -> run_v2.Service:
        try:
            return self._services.get_service(name=self.name, retry=None, timeout=google_apis.CALL_SECONDS)
        except NotFound as error:
            where = f"infra/{self._environment.name}.tfvars"
            text = f"There is no service {self.name}: name {self._model} in `models` of {where} and apply it."
            raise NotReleasable(text, [error.message]) from error

    def _explained(self, doing: str) -> Any:
        grant = f"`terraform apply` grants roles/run.developer on the service to {self._environment.release_identity}"
        return explained(f"{doing} {self.name}", f"{grant}, and to act as the service's own account: run it again.")


class _Unsettled(Exception):
    """Cloud Run is not done yet."""


class _Wish(NamedTuple):
    """What a change is to bring about; without an image, the template is left alone."""

    shares: tuple[Share, ...]
    image: str = ""
    labels: Mapping[str, str] = {}

    @property
    def mask(self) -> tuple[str, ...]:
        return (*TEMPLATE, *TRAFFIC) if self.image else TRAFFIC

    def holds(self, state: State) -> bool:
        ours = tuple(share for share in state.split if not _is_foreign(share.tag))
        is_split = _routes(ours) == _routes(self.shares) and not state.follows_latest
        labels = {name: value for name, value in state.labels.items() if name in {MODEL, VERSION, *self.labels}}
        return is_split and (not self.image or (state.image, labels) == (self.image, self.labels))

    def make_of(self, service: run_v2.Service) -> run_v2.Service:
        """Return the service as it is wished, whole: Cloud Run also looks at what the mask leaves alone."""
        service.traffic = [*(_target(share) for share in self.shares), *_foreign(service)]
        if self.image:
            others = {name: value for name, value in service.template.labels.items() if name not in (MODEL, VERSION)}
            service.template.labels = others | dict(self.labels)
            service.template.containers[0].image = self.image
            service.template.revision = ""
        return service


def _is_conflict(error: Exception) -> bool:
    return isinstance(error, Conflict)


def _state(service: run_v2.Service) -> State:
    ready = _short(service.latest_ready_revision)
    container = service.template.containers[0] if service.template.containers else run_v2.Container()
    return State(
        etag=service.etag,
        address=service.uri,
        tag_addresses={status.tag: status.uri for status in service.traffic_statuses if status.tag},
        ingress=service.ingress.name,
        iap=service.iap_enabled,
        image=container.image,
        labels=dict(service.template.labels),
        split=_shares(service.traffic or EVERYTHING_TO_LATEST, ready),
        answering=_shares(service.traffic_statuses, ready),
        follows_latest=_follows_latest(service),
        latest_created=_short(service.latest_created_revision),
        latest_ready=ready,
        reconciling=service.reconciling,
        reason="" if service.terminal_condition.state == SUCCEEDED else service.terminal_condition.message,
        settled=max(service.update_time, service.terminal_condition.last_transition_time),
    )


def _revision(found: run_v2.Revision) -> Revision:
    conditions = {condition.type_: condition for condition in found.conditions}
    failed = [condition.message for condition in found.conditions if condition.state == FAILED]
    ready = "Ready" in conditions and conditions["Ready"].state == SUCCEEDED
    return Revision(
        name=_short(found.name),
        image=found.containers[0].image,
        labels=dict(found.labels),
        created=found.create_time,
        ready=ready,
        reason="" if ready else next(iter(failed), "It is not ready yet."),
        conditions={name: condition.state.name for name, condition in conditions.items()},
        settings=_settings(found),
    )


def _settings(found: run_v2.Revision) -> dict[str, Any]:
    whole = run_v2.Revision.to_dict(found)
    containers = [{**container, "image": ""} for container in whole["containers"]]
    return {"containers": containers, **{name: whole[name] for name in SETTINGS if name in whole}}


def _shares(targets: Sequence[Any], latest: str) -> tuple[Share, ...]:
    return tuple(
        Share(latest if target.type_ == TO_LATEST else _short(target.revision), target.percent, target.tag)
        for target in targets
    )


def _follows_latest(service: run_v2.Service) -> bool:
    targets = service.traffic or EVERYTHING_TO_LATEST
    return any(target.type_ == TO_LATEST and not _is_foreign(target.tag) for target in targets)


def _target(share: Share) -> run_v2.TrafficTarget:
    return run_v2.TrafficTarget(type_=BY_NAME, revision=share.revision, percent=share.percent, tag=share.tag)


def _foreign(service: run_v2.Service) -> list[run_v2.TrafficTarget]:
    """Return the addresses that others gave to revisions, without traffic."""
    return [
        run_v2.TrafficTarget(type_=target.type_, revision=target.revision, tag=target.tag)
        for target in service.traffic
        if _is_foreign(target.tag)
    ]


def _is_foreign(tag: str) -> bool:
    return tag not in ("", *TAGS)


def _routes(shares: Sequence[Share]) -> tuple[dict[str, int], dict[str, str]]:
    """Return what a split means: the percents of revisions, and the revisions of tags."""
    percents: dict[str, int] = {}
    for share in shares:
        percents[share.revision] = percents.get(share.revision, 0) + share.percent
    serving = {revision: percent for revision, percent in percents.items() if percent}
    return serving, {share.tag: share.revision for share in shares if share.tag}


def _owned(state: State) -> tuple[Any, ...]:
    """Return what a release owns of a service."""
    return _routes(state.split), state.image, _ours(state.labels)


def _check_same(name: str, seen: State, now: State) -> None:
    if _owned(now) != _owned(seen):
        raise Overtaken(f"{name} was changed by somebody else; nothing was done.", _differences(seen, now))


def _ours(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: labels[name] for name in (MODEL, VERSION) if name in labels}


def _differences(seen: State, now: State) -> list[str]:
    told: dict[str, Callable[[State], str]] = {
        "traffic": lambda state: words(state.split),
        "image": lambda state: state.image,
        "labels": lambda state: str(_ours(state.labels)),
    }
    return [f"{what}: {tell(seen)}, now {tell(now)}" for what, tell in told.items() if tell(seen) != tell(now)]


def words(shares: Sequence[Share]) -> str:
    """Return a split in words."""
    return ", ".join(f"{share.revision} {share.percent} %{f' ({share.tag})' if share.tag else ''}" for share in shares)


def _short(name: str) -> str:
    return name.rpartition("/")[2]
