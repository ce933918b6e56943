"""An API as a service of the double: its collections, the methods written by hand, operations and IAM policies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tests.cloud import access, operations, policies, resources
from tests.cloud.collection import Collection
from tests.cloud.discovery import Call, Document
from tests.cloud.errors import unimplemented
from tests.cloud.messages import Response, json_response
from tests.cloud.project import Project
from tests.cloud.schemas import Json

Behaviour = Callable[[Project, Call], Json | Response | None]
IAM_ACTIONS = frozenset({"getIamPolicy", "setIamPolicy", "testIamPermissions"})


class ResourceService:
    """One API; a method that no collection and no behaviour answers is answered 501."""

    def __init__(
        self,
        project: Project,
        document: Document,
        collections: Iterable[Collection] = (),
        behaviour: Mapping[str, Behaviour] | None = None,
    ) -> None:
        """Serve `collections`; `behaviour` holds the methods written by hand, by discovery id, and goes first."""
        self.project = project
        self.document = document
        self.behaviour = dict(behaviour or {})
        self.collections = {
            prefix: collection for collection in collections for prefix in (collection.methods, *collection.aliases)
        }
        project.collections.update(self.collections)

    def answer(self, call: Call) -> Response:
        """Carry out a call.

        Raises CloudError: Google would refuse it, or 501.
        """
        answer = self._behave(call)
        if isinstance(answer, Response):
            return answer
        return Response(204) if answer is None else json_response(self.document.select(call, answer))

    def _behave(self, call: Call) -> Any:
        if call.method.id in self.behaviour:
            return self.behaviour[call.method.id](self.project, call)
        collection, action = self.collections.get(call.method.collection), call.method.action
        if collection and action in resources.ACTIONS:
            return resources.ACTIONS[action](collection, self.project, call)
        if collection and action in IAM_ACTIONS:
            return self._policy(collection, call)
        operation = ".".join(call.method.id.split(".")[-2:])
        if operation in operations.BEHAVIOUR:
            return operations.BEHAVIOUR[operation](self.project, call)
        raise unimplemented(call.method.id)

    def _policy(self, collection: Collection, call: Call) -> Json:
        name = resources.name_of(collection, self.project, call)
        resources.found(collection, self.project, name)
        return answer_policy(self.project, call, name)


def answer_policy(project: Project, call: Call, name: str) -> Json:
    """Answer getIamPolicy, setIamPolicy or testIamPermissions of a resource that is known to exist."""
    resource = f"//{call.document.host}/{name}"
    with project.lock:
        if call.method.action == "testIamPermissions":
            caller = call.request.principal
            return policies.test(call, lambda held: access.holds(project, caller, held, resource))
        return policies.BEHAVIOUR[call.method.action](project, call, resource)
