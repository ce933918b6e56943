"""Long-running operations, every one of them done when it is answered, and kept so that it can be asked for again."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping

from tests.cloud.discovery import Call, Document
from tests.cloud.errors import not_found
from tests.cloud.project import Project
from tests.cloud.schemas import Json

LOCATION = re.compile(r"projects/[^/]+/locations/[^/]+")
EMPTY = {"@type": "type.googleapis.com/google.protobuf.Empty"}


def gives_operation(call: Call) -> bool:
    """Tell whether a method answers with an operation instead of with what it made."""
    return str((call.method.response or {}).get("$ref", "")).endswith("Operation")


def finish(project: Project, call: Call, name: str, outcome: Json, failure: Json | None = None) -> Json:
    """Return the operation that made `outcome` of the resource `name`, or that failed with a google.rpc.Status."""
    operation = {
        "name": f"{_parent(call.document, name)}operations/{uuid.uuid4()}",
        "metadata": {"@type": outcome["@type"]},
        "done": True,
        **({"error": failure} if failure else {"response": outcome}),
    }
    project.operations[f"{call.document.host}/{operation['name']}"] = operation
    return operation


def get(project: Project, call: Call) -> Json:
    """Answer operations.get and operations.wait.

    Raises CloudError: 404.
    """
    name = project.canonical(call.name, call.document.host)
    try:
        return project.operations[f"{call.document.host}/{name}"]
    except KeyError:
        raise not_found(f"Operation '{name}' was not found.") from None


def list_operations(project: Project, call: Call) -> Json:
    """Answer operations.list."""
    prefix = f"{call.document.host}/{project.canonical(call.name, call.document.host)}/"
    found = [operation for known, operation in project.operations.items() if known.startswith(prefix)]
    return {"operations": found} if found else {}


def cancel(project: Project, call: Call) -> Json:
    """Answer operations.cancel, which is too late for every operation here."""
    get(project, call)
    return {}


def _parent(document: Document, name: str) -> str:
    """Return where an API keeps its operations: below a location, or at its root."""
    found = LOCATION.match(name)
    return f"{found[0]}/" if found and document.has_method(r".*\.projects\.locations\.operations\.get") else ""


BEHAVIOUR: Mapping[str, Callable[[Project, Call], Json]] = {
    "operations.cancel": cancel,
    "operations.get": get,
    "operations.list": list_operations,
    "operations.wait": get,
}
