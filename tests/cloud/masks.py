"""Changes to a resource's JSON: update masks as the newer APIs have them, merge patches as the older ones."""

from __future__ import annotations

from typing import Any

from tests.cloud.errors import invalid
from tests.cloud.schemas import Json, Schemas, camel_case


def paths(text: str, schemas: Schemas, schema: str) -> list[list[str]]:
    """Return the field paths of a mask, each as its names in camelCase.

    Raises CloudError: 400 for a path that the resource does not have.
    """
    return [_path(part.strip(), schemas, schema) for part in text.split(",") if part.strip()]


def masked(old: Json, new: Json, chosen: list[list[str]]) -> Json:
    """Return the old resource with the chosen fields as the new one has them, or without them where it has not."""
    changed = old
    for path in chosen:
        changed = _taken(changed, new, path)
    return changed


def merged(old: Any, patch: Any) -> Any:
    """Return a value after a merge patch: null removes, objects are merged, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    known = old if isinstance(old, dict) else {}
    result = {**known, **{name: merged(known.get(name), value) for name, value in patch.items()}}
    return {name: value for name, value in result.items() if value is not None}


def without_nulls(value: Any) -> Any:
    """Return a JSON value without null fields, which mean nothing but their absence."""
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: without_nulls(item) for name, item in value.items() if item is not None}


def _path(text: str, schemas: Schemas, schema: str) -> list[str]:
    at: Json = schemas.resolve({"$ref": schema})
    names = []
    for part in text.split("."):
        name = part if part in at.get("properties", {}) else camel_case(part)
        below = at.get("properties", {}).get(name) or at.get("additionalProperties")
        if below is None:
            raise invalid(f"Invalid field mask: the path '{text}' names no field of {schema}.")
        # The keys of a map are the user's own and stay as they are.
        names.append(name if "properties" in at else part)
        at = schemas.resolve(below)
    return names


def _taken(old: Json, new: Json, path: list[str]) -> Json:
    head, rest = path[0], path[1:]
    if rest:
        value = _taken(old.get(head) or {}, new.get(head) or {}, rest)
        return {**old, head: value}
    if head in new:
        return {**old, head: new[head]}
    return {name: value for name, value in old.items() if name != head}
