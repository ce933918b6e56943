"""The address of a service or of one of its tags: lets callers in, picks a revision, passes the request on, logs it."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

from tests.cloud.errors import unimplemented
from tests.cloud.faults import Ending, Step
from tests.cloud.logging.entries import Origin, RequestFacts
from tests.cloud.messages import BODILESS, Request, error_response
from tests.cloud.project import service_agent
from tests.cloud.run import refusals
from tests.cloud.run.callers import admit, sign_in
from tests.cloud.run.instances import SYSTEM, Instance
from tests.cloud.run.platform import Platform
from tests.cloud.run.pools import NoInstance, StartFailed
from tests.cloud.run.proxy import ConnectionLost, DeadlinePassed, Fields, Upstream, end_to_end
from tests.cloud.run.refusals import Refused, Unknown
from tests.cloud.run.revisions import Revision
from tests.cloud.run.tracing import trace_of
from tests.cloud.schemas import Json
from tests.cloud.server import HOST, Server

LARGEST_BYTES = 32 << 20  # of a request's body, and of an answer that is not streamed
# Who connects from here is inside the project's network: a scheduler, a subscription, another service. All others,
# 127.0.0.1 above all, are the internet.
INTERNAL_NETWORK = ipaddress.ip_network("127.1.0.0/16")
OPEN_INGRESS = ("INGRESS_TRAFFIC_ALL", "INGRESS_TRAFFIC_UNSPECIFIED", "")
# Google's own front end answers these (and some more that end in z); they never reach a container.
RESERVED_PATHS = frozenset({"/healthz", "/eventlog"})
SERVER = "Google Frontend"
TRUNCATED = (
    "Truncated response body. Usually implies that the request timed out or the application exited before the "
    "response was finished."
)
TOO_LARGE = "Response size was too large. Please consider reducing response size."


class Served(Protocol):
    """What a front needs to know of its service, at this moment."""

    @property
    def name(self) -> str:
        """The service's full name."""

    @property
    def settings(self) -> Json:
        """The service as it was last deployed."""

    @property
    def origin(self) -> Origin:
        """The service without a revision, for the log."""

    @property
    def audiences(self) -> frozenset[str]:
        """The audiences that an identity token may be for."""

    def pick(self, tag: str) -> Revision | None:
        """Return the revision that answers the next request, to a tag where one is given."""


class Front:
    """One loopback port; it stays the same for as long as its service exists."""

    def __init__(self, service: Served, tag: str, platform: Platform) -> None:
        """Listen at once."""
        self._service = service
        self._tag = tag
        self._platform = platform
        self._server = Server(self._steps)
        self._server.start()

    @property
    def url(self) -> str:
        """The address, without a slash at its end."""
        return f"http://{HOST}:{self._server.port}"

    def close(self) -> None:
        """End every connection and listen no more."""
        self._server.stop()

    def _steps(self, request: Request, closing: threading.Event) -> Iterator[Step]:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            response = error_response(unimplemented("WebSockets"))
            return iter([response.head, response.body])
        return Exchange(self._service, self._tag, self._platform, request).steps()


class Exchange:
    """One request, from its arrival to its entry in the log."""

    def __init__(self, service: Served, tag: str, platform: Platform, request: Request) -> None:
        self._service = service
        self._tag = tag
        self._platform = platform
        self._request = request
        self._trace = trace_of(request.headers)
        self._origin = service.origin
        self._arrived = datetime.now(UTC)
        self._started = time.monotonic()
        self._sent_bytes = 0
        self._held: tuple[Revision, Instance] | None = None
        self._finished = False

    def steps(self) -> Iterator[Step]:
        """Yield what goes over the wire."""
        try:
            changed = self._admit()
            revision, instance = self._acquire()
            upstream = Upstream(instance.port, self._started + revision.spec.timeout_seconds)
            try:
                self._send(upstream, changed)
                yield from self._pass_on(upstream)
            finally:
                upstream.close()
        except Refused as refused:
            yield from self._refuse(refused)
        finally:
            self._finish(499)  # unless it was finished already: the caller went away

    def _admit(self) -> Mapping[str, str]:
        """Let the request in; return the headers that change on its way. Raises Refused."""
        settings, path = self._service.settings, self._request.path
        if self._is_shut(settings) or path in RESERVED_PATHS or path.startswith("/_ah/"):
            raise Unknown
        revision = self._service.pick(self._tag)
        if revision is None:
            raise Unknown
        self._revision = revision
        self._origin = revision.origin
        if not self._request.target.isascii():
            raise refusals.malformed()
        if len(self._request.body) > LARGEST_BYTES:
            raise refusals.too_large()
        signed = self._sign_in() if settings.get("iapEnabled") else {}
        if settings.get("invokerIamDisabled"):
            return signed
        return {**signed, **admit(signed or self._request.headers, path, self._service.audiences, self._allows)}

    def _sign_in(self) -> Mapping[str, str]:
        proxy = service_agent(self._origin.project, "gcp-sa-iap")
        name, signed_in = self._service.name, self._platform.signed_in
        return sign_in(self._request, self._service.audiences, lambda who: signed_in(name, who), proxy)

    def _is_shut(self, settings: Json) -> bool:
        if settings.get("defaultUriDisabled"):
            return True
        inside = self._request.client and ipaddress.ip_address(self._request.client) in INTERNAL_NETWORK
        return not inside and settings.get("ingress", "") not in OPEN_INGRESS

    def _allows(self, principal: str | None) -> bool:
        return self._platform.allowed(self._service.name, principal)

    def _acquire(self) -> tuple[Revision, Instance]:
        try:
            instance = self._revision.pool.acquire()
        except NoInstance:
            raise refusals.no_instance() from None
        except StartFailed as failed:
            raise refusals.not_started(exited=failed.exited) from None
        self._origin = instance.origin
        self._held = self._revision, instance
        return self._held

    def _send(self, upstream: Upstream, changed: Mapping[str, str]) -> None:
        """Send the request on and wait for the answer's head; raises Refused."""
        try:
            upstream.send(self._request.verb, self._request.target, self._fields(changed), self._request.body)
        except DeadlinePassed:
            raise refusals.timed_out() from None
        except ConnectionLost:
            self._look_after_instance()
            raise refusals.connection_lost() from None
        if (upstream.left_bytes or 0) > LARGEST_BYTES and self._request.verb != "HEAD":
            self._log_system(TOO_LARGE)
            raise refusals.answer_too_large()

    def _fields(self, changed: Mapping[str, str]) -> Fields:
        """Return the header fields that the container gets."""
        request = self._request
        replaced = {name.lower() for name in changed}
        replaced |= {"content-length", "forwarded", "traceparent", "x-cloud-trace-context"}
        replaced |= {"x-forwarded-for", "x-forwarded-proto"}
        kept = [pair for pair in end_to_end(request.headers.items()) if pair[0].lower() not in replaced]
        chain = [*filter(None, [request.headers.get("X-Forwarded-For")]), request.client]
        # Cloud Run says https; here the way to the front is http, and links made of this must work.
        added = [
            ("X-Forwarded-For", ",".join(chain)),
            ("X-Forwarded-Proto", "http"),
            ("Forwarded", f'for="{request.client}";proto=http'),
        ]
        return [*kept, *changed.items(), *self._trace.headers, *added]

    def _pass_on(self, upstream: Upstream) -> Iterator[Step]:
        """Yield the answer as it comes.

        Its last piece goes out after the entry was made: whoever has the whole answer finds it in the log.
        """
        status, left = upstream.status, upstream.left_bytes
        bodiless = self._request.verb == "HEAD" or status in BODILESS or left == 0
        head = self._head(status, upstream.fields, chunked=left is None and not bodiless)
        if bodiless:
            self._finish(status)
            yield head
            return
        yield head
        try:
            for piece in upstream.pieces():
                framed = piece if left is not None else b"%x\r\n%b\r\n" % (len(piece), piece)
                self._sent_bytes += len(framed)
                if upstream.left_bytes == 0:
                    self._finish(status)
                yield framed
        except (ConnectionLost, DeadlinePassed) as cut:
            if isinstance(cut, ConnectionLost):
                self._look_after_instance()
            self._log_system(TRUNCATED)
            self._finish(status)
            yield Ending.CLOSE
            return
        self._finish(status)
        if left is None:
            yield b"0\r\n\r\n"

    def _refuse(self, refused: Refused) -> Iterator[Step]:
        fields = [*refused.headers.items(), ("Content-Length", str(len(refused.body)))]
        head = self._head(refused.status, fields, chunked=False)
        self._sent_bytes += len(refused.body)
        self._finish(None if isinstance(refused, Unknown) else refused.status, refused.log)
        yield head
        if self._request.verb != "HEAD":
            yield refused.body

    def _head(self, status: int, fields: Fields, *, chunked: bool) -> bytes:
        own = [("Date", formatdate(usegmt=True)), ("Server", SERVER), self._trace.headers[1]]
        replaced = {name.lower() for name, _ in own}
        framing = [("Transfer-Encoding", "chunked")] if chunked else []
        kept = [(name, value) for name, value in fields if name.lower() not in replaced]
        lines = [f"HTTP/1.1 {status} {_phrase(status)}", *(f"{name}: {value}" for name, value in kept + own + framing)]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self._sent_bytes += len(head)
        return head

    def _look_after_instance(self) -> None:
        if self._held is not None:
            revision, instance = self._held
            revision.pool.drop_if_dead(instance)

    def _log_system(self, line: str) -> None:
        self._platform.lines(self._origin, SYSTEM, line)

    def _finish(self, status: int | None, text: str = "") -> None:
        """Give the instance back and, for a status, write the entry; only the first time counts."""
        if self._finished:
            return
        self._finished = True
        if self._held is not None:
            revision, instance = self._held
            revision.pool.release(instance)
        if status is not None:
            self._platform.requested(self._facts(status, text))

    def _facts(self, status: int, text: str) -> RequestFacts:
        """Return what the request log says, in Cloud Run's name, of a request that is done."""
        name = f"projects/{self._origin.project}/traces/{self._trace.trace_id}"
        what, trace = self._http_request(status), self._trace
        return RequestFacts(self._arrived, self._origin, what, name, trace.span_id, trace.sampled, text)

    def _http_request(self, status: int) -> Json:
        request = self._request
        sizes = (len(name) + len(value) + len(": \r\n") for name, value in request.headers.items())
        optional = {"userAgent": request.headers.get("User-Agent"), "referer": request.headers.get("Referer")}
        return {
            "requestMethod": request.verb,
            "requestUrl": f"{request.root}{request.target}",
            "requestSize": str(len(request.target) + sum(sizes) + len(request.body)),
            "status": status,
            "responseSize": str(self._sent_bytes),
            "remoteIp": request.client,
            "serverIp": HOST,
            "latency": f"{time.monotonic() - self._started:.9f}s",
            "protocol": "HTTP/1.1",
            **{name: value for name, value in optional.items() if value},
        }


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
