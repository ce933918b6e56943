"""The double's own address, /_double/: what people and tests in other processes may ask of it beside Google's APIs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tests.cloud import access, oauth
from tests.cloud.artifactregistry.service import REPOSITORIES
from tests.cloud.errors import CloudError, denied, invalid, not_found
from tests.cloud.faults import Fault
from tests.cloud.messages import Request, Response, error_response, json_response
from tests.cloud.signals import read_moment

if TYPE_CHECKING:
    from tests.cloud.double import CloudDouble

Value = TypeVar("Value")
PREFIX = "/_double/"


class Moment(BaseModel):
    """When something is asked about; now, unless said."""

    model_config = ConfigDict(extra="forbid")

    at: str | None = None


class Push(BaseModel):
    """A folder that becomes an image: the name of images that it goes by, its tags, what its container is told."""

    model_config = ConfigDict(extra="forbid")

    folder: Path
    name: str
    tags: tuple[str, ...] = ("latest",)
    environment: dict[str, str] = {}


MOMENT = TypeAdapter(Moment)
PUSH = TypeAdapter(Push)
RULES: TypeAdapter[Fault | list[Fault]] = TypeAdapter(Fault | list[Fault])


def is_meant(request: Request) -> bool:
    """Tell whether a request is for the double itself."""
    return f"{request.path}/".startswith(PREFIX)


def answer(cloud: CloudDouble, request: Request) -> Response:
    """Answer what BEHAVIOUR lists, below /_double/."""
    try:
        return _behaviour(request)(cloud, request)
    except CloudError as error:
        return error_response(error)


def _behaviour(request: Request) -> Callable[[CloudDouble, Request], Response]:
    try:
        return BEHAVIOUR[request.verb, f"{request.path}/".removeprefix(PREFIX).rstrip("/")]
    except KeyError:
        known = ", ".join(f"{verb} {PREFIX}{name}" for verb, name in BEHAVIOUR)
        raise not_found(f"The double answers {known}.") from None


def _list_behaviour(cloud: CloudDouble, request: Request) -> Response:
    """List what can be asked, one line each."""
    asked = [
        (f"{verb} {PREFIX}{name}", (act.__doc__ or "").partition("\n")[0]) for (verb, name), act in BEHAVIOUR.items()
    ]
    width = max(len(what) for what, _ in asked)
    return _text("".join(f"{what:{width}}  {says}\n" for what, says in asked))


def _add_faults(cloud: CloudDouble, request: Request) -> Response:
    """Let requests go wrong: one rule or a list, as tests/cloud/faults.py has them, for example {"kind": "reset"}."""
    rules = _read(RULES, request.body)
    for rule in rules if isinstance(rules, list) else [rules]:
        cloud.faults.put(rule)
    return _list_faults(cloud, request)


def _list_faults(cloud: CloudDouble, request: Request) -> Response:
    """List the rules that can still strike."""
    return json_response(cloud.faults.as_json())


def _clear_faults(cloud: CloudDouble, request: Request) -> Response:
    """Let nothing go wrong any more."""
    cloud.faults.clear()
    return Response(204)


def _list_requests(cloud: CloudDouble, request: Request) -> Response:
    """List what was asked of Google's APIs: method, status, who asked."""
    return json_response(cloud.requests.as_json())


def _clear_requests(cloud: CloudDouble, request: Request) -> Response:
    """Forget what was asked."""
    cloud.requests.clear()
    return Response(204)


def _evaluate_alerts(cloud: CloudDouble, request: Request) -> Response:
    """Say which alert policies fire, and why; ?all=true: of all; {"at": "2026-01-01T12:00:00Z"}: at another time."""
    moment = read_moment(_read(MOMENT, request.body or b"{}").at, cloud.signals.now())
    states = cloud.signals.evaluate(moment)
    everything = dict(request.query).get("all") == "true"
    shown = [state.as_json() for state in states if state.firing or everything]
    return json_response({"firing": [state.name for state in states if state.firing], "states": shown})


def _make_token(cloud: CloudDouble, request: Request) -> Response:
    """Give the owner's identity token for ?audience=URL, what `gcloud auth print-identity-token` would print."""
    return _text(oauth.identity_token(oauth.OWNER, dict(request.query).get("audience", cloud.url)))


def _make_key(cloud: CloudDouble, request: Request) -> Response:
    """Give the key of ?account=EMAIL, or else of the owner, with which Google's libraries sign in."""
    return json_response(oauth.key_file(dict(request.query).get("account", oauth.OWNER), cloud.project, cloud.url))


def _push_image(cloud: CloudDouble, request: Request) -> Response:
    """Push an image as the token's account: {"folder": "/...", "name": "L-docker.pkg.dev/P/R/NAME", "tags": ["v1"]}."""
    push = _read(PUSH, request.body)
    if not push.folder.is_dir():
        raise invalid(f"{push.folder} is no folder.")
    _check_push(cloud, push.name, oauth.identify(request).principal)
    try:
        digest = cloud.images.push(push.folder, push.name, push.tags, environment=push.environment)
    except ValueError as fault:
        raise invalid(str(fault)) from None
    return json_response({"digest": digest})


def _check_push(cloud: CloudDouble, name: str, account: str | None) -> None:
    """Refuse what the registry refuses of docker: a repository that is not there, an account that may not write."""
    host, project, repository = (*name.split("/"), "", "", "")[:3]
    location = host.removesuffix("-docker.pkg.dev")
    full = f"projects/{project}/locations/{location}/repositories/{repository}"
    if cloud.state.get(REPOSITORIES, full) is None:
        raise not_found(f'Repository "{repository}" not found')
    needed = "artifactregistry.repositories.uploadArtifacts"
    if not access.holds(cloud.state, account, needed, f"//artifactregistry.googleapis.com/{full}"):
        raise denied(f'Permission "{needed}" denied on resource "{full}" (or it may not exist)')


def _scale_to_zero(cloud: CloudDouble, request: Request) -> Response:
    """Stop the idle instances of Cloud Run, so that the next request is a cold start."""
    cloud.cloud_run.scale_to_zero()
    return Response(204)


def _measure(cloud: CloudDouble, request: Request) -> Response:
    """Take one sample of Cloud Run's instances, as Google does every minute."""
    cloud.measure()
    return Response(204)


def _read(form: TypeAdapter[Value], body: bytes) -> Value:
    try:
        return form.validate_json(body)
    except ValidationError as fault:
        faults = (f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in fault.errors())
        raise invalid("; ".join(dict.fromkeys(faults))) from None


def _text(text: str) -> Response:
    return Response(200, {"Content-Type": "text/plain; charset=utf-8"}, text.encode())


BEHAVIOUR: dict[tuple[str, str], Callable[[CloudDouble, Request], Response]] = {
    ("GET", ""): _list_behaviour,
    ("GET", "token"): _make_token,
    ("GET", "key"): _make_key,
    ("POST", "images"): _push_image,
    ("GET", "requests"): _list_requests,
    ("DELETE", "requests"): _clear_requests,
    ("POST", "alerts:evaluate"): _evaluate_alerts,
    ("POST", "instances:measure"): _measure,
    ("POST", "instances:scaleToZero"): _scale_to_zero,
    ("POST", "faults"): _add_faults,
    ("GET", "faults"): _list_faults,
    ("DELETE", "faults"): _clear_faults,
}
