"""The double's own address, /_double: faults, journal, alerts and tokens for tests that run in another process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from tests.cloud import oauth
from tests.cloud.errors import CloudError, invalid, not_found
from tests.cloud.faults import Fault
from tests.cloud.messages import Request, Response, error_response, json_response
from tests.cloud.signals import read_moment

if TYPE_CHECKING:
    from tests.cloud.double import CloudDouble

PREFIX = "/_double/"
AT: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])
RULES: TypeAdapter[Fault | list[Fault]] = TypeAdapter(Fault | list[Fault])


def answer(cloud: CloudDouble, request: Request) -> Response:
    """Answer what BEHAVIOUR lists, below /_double/."""
    try:
        return _behaviour(request)(cloud, request)
    except CloudError as error:
        return error_response(error)


def _behaviour(request: Request) -> Callable[[CloudDouble, Request], Response]:
    try:
        return BEHAVIOUR[request.verb, request.path.removeprefix(PREFIX)]
    except KeyError:
        known = ", ".join(f"{verb} {PREFIX}{name}" for verb, name in BEHAVIOUR)
        raise not_found(f"The double answers {known}.") from None


def _add_faults(cloud: CloudDouble, request: Request) -> Response:
    try:
        rules = RULES.validate_json(request.body)
    except ValidationError as fault:
        raise invalid(str(fault)) from None
    for rule in rules if isinstance(rules, list) else [rules]:
        cloud.faults.put(rule)
    return _list_faults(cloud, request)


def _list_faults(cloud: CloudDouble, request: Request) -> Response:
    return json_response(cloud.faults.as_json())


def _clear_faults(cloud: CloudDouble, request: Request) -> Response:
    cloud.faults.clear()
    return Response(204)


def _list_requests(cloud: CloudDouble, request: Request) -> Response:
    return json_response(cloud.requests.as_json())


def _clear_requests(cloud: CloudDouble, request: Request) -> Response:
    cloud.requests.clear()
    return Response(204)


def _evaluate_alerts(cloud: CloudDouble, request: Request) -> Response:
    """Say which alert policies fire, now or at the time in the body: {"at": "2026-01-01T12:00:00Z"}."""
    at = AT.validate_json(request.body or b"{}").get("at")
    states = cloud.signals.evaluate(read_moment(at, cloud.signals.now()))
    return json_response([state.as_json() for state in states])


def _make_token(cloud: CloudDouble, request: Request) -> Response:
    """Give the owner's identity token for an audience, what `gcloud auth print-identity-token` would print."""
    token = oauth.identity_token(oauth.OWNER, dict(request.query).get("audience", cloud.url))
    return Response(200, {"Content-Type": "text/plain"}, token.encode())


BEHAVIOUR: dict[tuple[str, str], Callable[[CloudDouble, Request], Response]] = {
    ("POST", "faults"): _add_faults,
    ("GET", "faults"): _list_faults,
    ("DELETE", "faults"): _clear_faults,
    ("GET", "requests"): _list_requests,
    ("POST", "alerts:evaluate"): _evaluate_alerts,
    ("GET", "token"): _make_token,
    ("DELETE", "requests"): _clear_requests,
}
