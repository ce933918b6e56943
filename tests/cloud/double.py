"""The double as a whole: its services behind one address, its faults and its journal."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from tests.cloud import access, catalog, control, faults, oauth
from tests.cloud.artifactregistry.images import Images
from tests.cloud.bigquery import exports
from tests.cloud.bigquery.big_query import BigQuery
from tests.cloud.cloudbuild.cloud_build import CloudBuild
from tests.cloud.discovery import Call, Document, Match
from tests.cloud.errors import CloudError, played
from tests.cloud.faults import Ending, Fault, Faults, Step
from tests.cloud.iap import service as iap
from tests.cloud.journal import Entry, Journal
from tests.cloud.logging.entries import Origin
from tests.cloud.messages import Request, Response, error_response, text_response
from tests.cloud.project import Project, apis_of
from tests.cloud.pubsub.broker import Broker
from tests.cloud.pubsub.service import ProjectCatalog
from tests.cloud.run import instances
from tests.cloud.run.cloud_run import IDLE_SECONDS, CloudRun
from tests.cloud.schemas import Json
from tests.cloud.secretmanager import service as secretmanager
from tests.cloud.server import HOST, Server
from tests.cloud.signals import Signals
from tests.cloud.storage import xml
from tests.cloud.storage.service import StorageService

if TYPE_CHECKING:
    from tests.cloud.bigquery.sql import Warehouse

PROJECT = "local-project"


class Service(Protocol):
    """One Google API: its description, and what it does with a call that the description allows."""

    document: Document

    def answer(self, call: Call) -> Response:
        """Carry out a call; raises CloudError where Google would refuse it."""


class CloudDouble:
    """A Google Cloud on loopback; `with` starts and stops it, stop() and start() play an outage."""

    def __init__(
        self,
        *,
        port: int = 0,
        project: str = PROJECT,
        buckets: Iterable[str] = (),
        apis: Iterable[str] | None = None,
        idle_seconds: float = IDLE_SECONDS,
        seed: int | None = None,
        repository: Path | None = None,
    ) -> None:
        """Make an empty project; `apis` are enabled in it (FRESH_APIS in a real new one), by default all of them.

        Cloud Run's instances stop after `idle_seconds`; `seed` makes its traffic splits repeatable; `repository` holds
        the files that Cloud Build finds in every repository and revision.
        """
        self.project = project
        self.state = Project(project)
        self.signals = Signals(self.state)
        self.storage = StorageService(self.state)
        self._folder = Path(tempfile.mkdtemp(prefix="cloud-"))
        self.images = Images(self._folder)
        self.cloud_run = CloudRun(
            images=self.images,
            platform_environment=lambda email: catalog.platform(self.url, email),
            allowed=self._may_invoke,
            signed_in=self._may_pass,
            secret=lambda account, name: secretmanager.payload_for(self.state, account, name),
            lines=self._log,
            requested=self.signals.requested,
            idle_seconds=idle_seconds,
            seed=seed,
        )
        self.big_query = BigQuery(self.state)
        self.signals.deliver(partial(exports.deliver, self.big_query, self.state))
        self.broker = Broker(ProjectCatalog(self.state))
        self.cloud_build = CloudBuild(self.state, repository, self.signals.not_triggered)
        self.broker.listen(self.cloud_build.hear)
        self.services: list[Service] = [
            self.storage,
            *catalog.services(
                self.state,
                self.signals,
                self.images,
                self.cloud_run,
                self.big_query,
                self.broker,
                self.cloud_build,
            ),
        ]
        self.state.enabled = apis_of(apis, (service.document.host for service in self.services))
        self.faults = Faults()
        self.requests = Journal()
        self._port = port
        self._server: Server | None = None
        for name in buckets:
            self.storage.add_bucket(name)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Listen; a second start listens on the first one's port, with everything that was kept."""
        if self._server is None:
            self._server = Server(self._steps, self._port)
            self._port = self._server.port
            self._server.start()

    def stop(self) -> None:
        """End every connection and listen no more; the state stays."""
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def close(self) -> None:
        """Stop for good: no process, port or folder is left behind."""
        self.broker.stop()
        self.cloud_run.close()
        self.stop()
        self.big_query.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """The address of the double, without a slash at its end."""
        return f"http://{HOST}:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which Google's clients, gcloud and Terraform's provider find the double by themselves."""
        return {**catalog.environment(self.url, self.project), "GOOGLE_APPLICATION_CREDENTIALS": str(self.key_file())}

    def key_file(self, account: str = oauth.OWNER) -> Path:
        """Return the file of a key with which Google's libraries sign in here as an account, the owner without one."""
        path = self._folder / f"{account}.json"
        path.write_text(json.dumps(oauth.key_file(account, self.project, self.url)), encoding="utf-8")
        return path

    def resources(self, collection: str) -> dict[str, Json]:
        """Return a copy of a collection's resources by full name, for example of `run.projects.locations.services`."""
        return copy.deepcopy(self.state.resources(collection))

    @property
    def warehouse(self) -> Warehouse:
        """The rows of BigQuery's tables."""
        return self.big_query.warehouse

    def measure(self) -> None:
        """Take one sample of what Cloud Run knows of its instances, as Google does every minute."""
        self.signals.measure(self.cloud_run.facts())

    def _may_invoke(self, service: str, principal: str | None) -> bool:
        return self._may(principal, "run.routes.invoke", f"//run.googleapis.com/{service}")

    def _may_pass(self, service: str, principal: str | None) -> bool:
        return self._may(principal, iap.PASS, iap.resource_of(service))

    def _may(self, principal: str | None, permission: str, resource: str) -> bool:
        """Tell what a caller of a service may do, where nobody in particular is not the owner but everybody."""
        if principal == oauth.OWNER:
            return True
        caller = access.ANONYMOUS if principal is None else principal
        return access.holds(self.state, caller, permission, resource)

    def _log(self, origin: Origin, stream: str, text: str) -> None:
        if stream == instances.SYSTEM:
            self.signals.system(origin, text, instances.severity_of(text))
        else:
            self.signals.line(origin, stream, text)

    def _steps(self, request: Request, closing: threading.Event) -> Iterator[Step]:
        if control.is_meant(request):
            return faults.script(control.answer(self, request), None)
        if request.path == oauth.PATH:
            return faults.script(oauth.answer(request), None)
        request = oauth.identify(request)
        request = xml.as_json(request, self.storage.state.buckets) or request
        service, match = self._find(request)
        entry = _entry(request, match)
        self.requests.add(entry)
        fault = self.faults.take(request.verb, request.target, entry.method)
        if fault and fault.kind == "delay" and closing.wait(fault.seconds):
            return iter([Ending.CLOSE])
        response = self._respond(service, match, request, fault)
        _complete(entry, response, fault)
        return faults.script(response, fault)

    def _find(self, request: Request) -> tuple[Service | None, Match | None]:
        found = ((service, service.document.find(request)) for service in self.services)
        return next(((service, match) for service, match in found if match), (None, None))

    def _answers_as_older(self, request: Request) -> bool:
        """Tell which form errors have below a path; at the root there is nothing but Cloud Storage."""
        documents = [service.document for service in self.services]
        return all(document.is_older for document in documents if request.path.startswith(f"{document.mount}/"))

    def _respond(self, service: Service | None, match: Match | None, request: Request, fault: Fault | None) -> Response:
        older = self._answers_as_older(request)
        if fault and fault.prevents:
            return error_response(played(fault.status), older)
        if service is None or match is None:
            return error_response(catalog.refusal(request), older)
        try:
            oauth.check(request.headers)
            catalog.check_enabled(self.state, service.document, request)
            call = service.document.read(match, request)
            access.check(self.state, call, self.storage.is_live)
            return service.answer(call)
        except CloudError as error:
            return text_response(error) if ("alt", "media") in request.query else error_response(error, older)


def _entry(request: Request, match: Match | None) -> Entry:
    return Entry(
        verb=request.verb,
        path=request.path,
        query=dict(request.query),
        method=match.method.id if match else None,
        headers=dict(request.headers.items()),
        body_bytes=len(request.body),
        principal=request.principal,
    )


def _complete(entry: Entry, response: Response, fault: Fault | None) -> None:
    entry.fault = fault.kind if fault else None
    if entry.fault not in ("reset", "reset_after_commit"):
        entry.status = response.status
