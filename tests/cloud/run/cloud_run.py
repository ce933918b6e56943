"""Cloud Run without its Admin API: deploy services, and they are there, as processes behind ports on loopback."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from tests.cloud.artifactregistry.images import Images
from tests.cloud.errors import CloudError, not_found
from tests.cloud.run.guard import Guard
from tests.cloud.run.instances import Lines
from tests.cloud.run.platform import Allowed, Environment, Platform, Requested
from tests.cloud.run.processes import read_tree
from tests.cloud.run.secrets import Reading
from tests.cloud.run.services import RevisionFacts, Service
from tests.cloud.schemas import Json

# Cloud Run keeps an idle instance for at most a quarter of an hour.
IDLE_SECONDS = 900.0
LONGEST_SWEEP_SECONDS = 1.0


class CloudRun:
    """Every service of one Google Cloud; `with` closes it, which leaves no process and no port behind."""

    def __init__(
        self,
        *,
        images: Images,
        platform_environment: Environment,
        allowed: Allowed,
        signed_in: Allowed,
        secret: Reading,
        lines: Lines,
        requested: Requested,
        idle_seconds: float = IDLE_SECONDS,
        seed: int | None = None,
    ) -> None:
        """Take what surrounds the services; nothing runs before the first deployment.

        `platform_environment` gives the variables with which a service account's containers find the rest of the cloud.
        `allowed` tells whether a principal (an email address; None is everybody) may invoke a service (by full name).
        `signed_in` tells the same of Identity-Aware Proxy, where a service has it in front.
        `secret` gives an account what a version of a secret holds, or raises CloudError.
        `lines` gets where a line came from, its stream (stdout, stderr or varlog/system) and the line; `requested` gets
        what the request log says of a request. Both are called from many threads.
        `seed` makes traffic splits repeatable.
        """
        # Not the caller's: what lies there (credentials, settings of tools) is in no container.
        home = images.folder / "home"
        home.mkdir(exist_ok=True)
        self._guard = Guard()
        self._platform = Platform(
            images, platform_environment, allowed, signed_in, secret, lines, requested, home, self._guard, seed
        )
        self._idle_seconds = idle_seconds
        self._services: dict[str, Service] = {}
        self._closing = threading.Event()
        self._sweeper: threading.Thread | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def deploy(self, service: Json, *, forced: bool = False) -> Json:
        """Bring a service to what its GoogleCloudRunV2Service says; return the fields that only the server writes.

        Its template is complete, as template.completed makes it.
        A new revision is made where the template changed, or is forced.
        Blocks until a new revision is ready or has failed. A failure is in `terminalCondition`, see
        conditions.operation_error; what was served before then goes on being served.

        Raises CloudError: 400, 409 or 501; then nothing has changed.
        """
        name = service["name"]
        with self._lock:
            known = self._services.get(name)
            current = self._services.setdefault(name, known or Service(name, self._platform))
            self._sweep_from_now_on()
        try:
            return current.deploy(service, forced=forced)
        except CloudError:
            if known is None:
                self.remove(name)
            raise

    def remove(self, name: str) -> None:
        """End a service and everything of it; one that is not there is no fault."""
        with self._lock:
            service = self._services.pop(name, None)
        if service is not None:
            service.close()

    def revisions(self, service: str) -> list[Json]:
        """Return a service's revisions as GoogleCloudRunV2Revision, the newest first; raises CloudError: 404."""
        return self._service(service).revisions()

    def delete_revision(self, service: str, revision: str) -> None:
        """Forget a revision that serves nobody; raises CloudError: 404, 400."""
        self._service(service).delete_revision(revision)

    def facts(self) -> list[RevisionFacts]:
        """Return what Cloud Run itself reports of every revision, at this moment."""
        return [facts for service in list(self._services.values()) for facts in service.facts()]

    def scale_to_zero(self) -> None:
        """Stop every idle instance but for the minimums, and wait until they are gone."""
        for service in list(self._services.values()):
            for stopping in service.sweep(0):
                stopping.join()

    def close(self) -> None:
        """End every process and port; calling it again is no fault."""
        self._closing.set()
        if self._sweeper is not None:
            self._sweeper.join()
        for name in list(self._services):
            self.remove(name)
        self._guard.close()

    def _service(self, name: str) -> Service:
        service = self._services.get(name)
        if service is None:
            raise not_found(f"Resource '{name.rpartition('/')[2]}' of kind 'SERVICE' does not exist.")
        return service

    def _sweep_from_now_on(self) -> None:
        if self._sweeper is None:
            self._sweeper = threading.Thread(target=self._sweep, daemon=True)
            self._sweeper.start()

    def _sweep(self) -> None:
        while not self._closing.wait(min(LONGEST_SWEEP_SECONDS, self._idle_seconds / 10)):
            tree = read_tree()
            for service in list(self._services.values()):
                service.limit_memory(tree)
                service.sweep(self._idle_seconds)
