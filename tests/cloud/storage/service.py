"""Cloud Storage as a service of the double: which behaviour answers which method of its discovery document."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tests.cloud import access, roles
from tests.cloud.discovery import Call, Document
from tests.cloud.errors import unimplemented
from tests.cloud.messages import Response, json_response
from tests.cloud.oauth import OWNER
from tests.cloud.project import Project, service_agent
from tests.cloud.schemas import Json
from tests.cloud.storage import buckets, copies, downloads, listing, objects, policies, uploads
from tests.cloud.storage.state import State, Version

Answer = Response | Json | None
# Known to the document but not to the double; whoever uses one shall hear so instead of being half obeyed.
UNIMPLEMENTED_PARAMETERS = frozenset(
    {
        "destinationKmsKeyName",
        "destinationPredefinedAcl",
        "dropContextGroups",
        "filter",
        "kmsKeyName",
        "matchGlob",
        "overrideUnlockedRetention",
        "predefinedAcl",
        "predefinedDefaultObjectAcl",
        "restoreToken",
        "rewriteToken",
        "softDeleted",
    }
)


# The parameters that name buckets.
BUCKETS = ("bucket", "destinationBucket", "sourceBucket")


class StorageService:
    """Cloud Storage with everything it keeps; one lock makes every call atomic."""

    def __init__(self, project: Project) -> None:
        self.document = Document.load("storage", "v1")
        self.project = project.id
        self.state = State(project)
        self._lock = threading.Lock()

    def answer(self, call: Call) -> Response:
        """Carry out a call; a method or parameter without behaviour is answered 501.

        Raises CloudError: the service would refuse the call.
        """
        _check_parameters(call)
        self._check_ownership(call)
        behaviour = MEDIA.get(call.method.id) if call.wants_media else BEHAVIOUR.get(call.method.id)
        if behaviour is None:
            raise unimplemented(call.method.id)
        with self._lock:
            answer = behaviour(self.state, call)
        if answer is None:
            return Response(204)
        return answer if isinstance(answer, Response) else json_response(self.document.select(call, answer))

    def add_bucket(self, name: str, **fields: Any) -> None:
        """Make a bucket without a request; the fields are those of the API's Bucket, for example versioning."""
        body = self.document.schemas.accept("Bucket", {"name": name, **fields}, "storage.buckets.insert")
        with self._lock:
            buckets.create(self.state, self.project, body)

    def take_name(self, name: str) -> None:
        """Let a bucket's name belong to somebody else, whose buckets nobody here may even look at."""
        self.state.taken.add(name)

    def write(self, bucket: str, name: str, content: bytes) -> int:
        """Make a new generation of an object without a request; return its number."""
        with self._lock:
            draft = objects.Draft(name, content, {"contentType": "application/octet-stream"})
            return objects.store(self.state, self.state.bucket(bucket), draft).generation

    def read(self, bucket: str, name: str, generation: int | None = None) -> bytes:
        """Return an object's content without a request.

        Raises CloudError: 404.
        """
        with self._lock:
            return self.state.bucket(bucket).find(name, generation).content

    def is_live(self, bucket: str, name: str) -> bool:
        """Tell whether a bucket has an object."""
        with self._lock:
            return bucket in self.state.buckets and self.state.buckets[bucket].live(name) is not None

    def _check_ownership(self, call: Call) -> None:
        for name in self.state.taken.intersection(filter(None, map(call.path.get, BUCKETS))):
            caller = call.request.principal or OWNER
            resource = f"//storage.googleapis.com/projects/_/buckets/{name}"
            raise access.refusal(call, caller, roles.permission(call.method), resource)

    def versions(self, bucket: str, name: str | None = None) -> list[Version]:
        """Return every generation that a bucket keeps, of one object or of all."""
        with self._lock:
            return [version for version in self.state.bucket(bucket).versions() if name in (None, version.name)]


def _check_parameters(call: Call) -> None:
    for name in sorted(UNIMPLEMENTED_PARAMETERS.intersection(call.query)):
        if call.query[name] is not False:
            raise unimplemented(f"the parameter {name}")
    if call.request.headers.get("x-goog-encryption-key"):
        raise unimplemented("customer-supplied encryption keys")


def _service_account(state: State, call: Call) -> Json:
    email = service_agent(call.path["projectId"], "gs-project-accounts")
    state.project.agents.add(email)  # who asks for the service agent makes it
    return {"kind": "storage#serviceAccount", "email_address": email}


MEDIA: dict[str, Callable[[State, Call], Answer]] = {"storage.objects.get": downloads.get}
BEHAVIOUR: dict[str, Callable[[State, Call], Answer]] = {
    "storage.buckets.delete": buckets.delete,
    "storage.buckets.get": buckets.get,
    "storage.buckets.getIamPolicy": policies.get,
    "storage.buckets.insert": buckets.insert,
    "storage.buckets.list": buckets.list_buckets,
    "storage.buckets.patch": buckets.patch,
    "storage.buckets.setIamPolicy": policies.set_policy,
    "storage.buckets.testIamPermissions": policies.test_permissions,
    "storage.buckets.update": buckets.update,
    "storage.objects.compose": copies.compose,
    "storage.objects.copy": copies.copy,
    "storage.objects.delete": objects.delete,
    "storage.objects.get": objects.get,
    "storage.objects.insert": uploads.insert,
    "storage.objects.list": listing.list_objects,
    "storage.objects.patch": objects.patch,
    "storage.objects.rewrite": copies.rewrite,
    "storage.objects.update": objects.update,
    "storage.projects.serviceAccount.get": _service_account,
}
