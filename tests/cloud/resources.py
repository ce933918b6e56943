"""Create, get, list, patch, update and delete for any collection of any API, from its discovery document."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping

from tests.cloud import masks, operations, pages
from tests.cloud.collection import Change, Collection, replaced
from tests.cloud.discovery import Call
from tests.cloud.errors import CloudError, aborted, conflict, invalid, not_found, unimplemented
from tests.cloud.project import Project, digest, now
from tests.cloud.schemas import Json

Answer = Callable[[Collection, Project, Call], Json | None]


def create(collection: Collection, project: Project, call: Call) -> Json:
    """Answer create and insert.

    Raises CloudError: 400 for an id or body that is refused, 404 without parent, 409 where it exists already.
    """
    name = _new_name(collection, project, call)
    with project.holding(name):
        if name in project.resources(collection.methods):
            raise conflict(f"Resource '{name}' already exists.")
        _check_parent(collection, project, name)
        change = Change(project, call, collection, name, None, now())
        return _write(masks.without_nulls(_writable(collection, call)), change)


def get(collection: Collection, project: Project, call: Call) -> Json:
    """Answer get.

    Raises CloudError: 404.
    """
    return collection.shown(found(collection, project, name_of(collection, project, call)))


def list_resources(collection: Collection, project: Project, call: Call) -> Json:
    """Answer list, by name and in pages; a location `-` means all of them."""
    if call.query.get("filter") or call.query.get("orderBy"):
        raise unimplemented(f"filter and orderBy of {call.method.id}")
    parent = name_of(collection, project, call)
    _check_parent(collection, project, f"{parent}/-")
    pattern = re.compile(re.escape(f"{parent}/").replace(r"/\-/", "/[^/]+/"))
    known = project.resources(collection.methods)
    entries: dict[pages.Key, Json] = {(name,): known[name] for name in list(known) if pattern.match(name)}
    page = pages.cut(entries, call.query)
    items = [collection.shown(body) for body in page.values]
    return pages.listing(page, **{_list_field(collection, call): items})


def patch(collection: Collection, project: Project, call: Call) -> Json:
    """Answer patch: the fields that the mask names, or what the API means where it names none."""
    name, mask = name_of(collection, project, call), (collection.mask(call) or "").strip()
    if call.query.get("allowMissing") and name not in project.resources(collection.methods):
        return _change(collection, project, call, replaced, upserts=True)
    if not mask:
        return _change(collection, project, call, collection.unmasked)
    if mask == "*":
        return _change(collection, project, call, replaced)
    paths = masks.paths(mask, call.document.schemas, _schema(collection, call))
    chosen = [path for path in paths if path[0] not in _kept(collection, call)]
    return _change(collection, project, call, lambda old, body: masks.masked(old, body, chosen))


def update(collection: Collection, project: Project, call: Call) -> Json:
    """Answer update: everything is as it was sent; some APIs make what does not exist yet."""
    if collection.mask(call):
        return patch(collection, project, call)
    return _change(collection, project, call, replaced, upserts=collection.upserts)


def delete(collection: Collection, project: Project, call: Call) -> Json | None:
    """Answer delete: what is below the resource goes with it, unless the API refuses that.

    Raises CloudError: 404, 409 for an older etag, 400 where the API refuses.
    """
    name = name_of(collection, project, call)
    with project.holding(name):
        old = found(collection, project, name)
        change = Change(project, call, collection, name, old, now())
        _check_etag(call.query.get("etag"), old, name)
        with project.lock:
            collection.check_delete(change)
            if not call.query.get("validateOnly"):
                _remove(collection, project, name, call.document.host)
        if not call.query.get("validateOnly"):
            collection.after_delete(change)
    return _deleted(change)


def found(collection: Collection, project: Project, name: str) -> Json:
    """Return a resource.

    Raises CloudError: 404.
    """
    body = project.get(collection.methods, name)
    if body is None:
        raise not_found(f"Resource '{name}' was not found.")
    return body


def name_of(collection: Collection, project: Project, call: Call) -> str:
    """Return the full name of the resource or collection that a call is about."""
    return collection.place(project.canonical(call.name, call.document.host))


def save(change: Change, body: Json) -> None:
    """Keep a resource as it now is."""
    with change.project.lock:
        change.project.resources(change.collection.methods)[change.name] = body


def restore(change: Change) -> None:
    """Keep a resource as it was before a change."""
    with change.project.lock:
        kept = change.project.resources(change.collection.methods)
        if change.old is None:
            kept.pop(change.name, None)
        else:
            kept[change.name] = change.old


ACTIONS: Mapping[str, Answer] = {
    "create": create,
    "delete": delete,
    "get": get,
    "insert": create,
    "list": list_resources,
    "patch": patch,
    "update": update,
}


def _change(
    collection: Collection,
    project: Project,
    call: Call,
    changed: Callable[[Json, Json], Json],
    upserts: bool = False,
) -> Json:
    name = name_of(collection, project, call)
    with project.holding(name):
        old = project.get(collection.methods, name) if upserts else found(collection, project, name)
        _check_etag(call.body.get("etag") or call.query.get("etag"), old or {}, name)
        if old is None:
            _check_parent(collection, project, name)
        change = Change(project, call, collection, name, old, now())
        new = _changed(collection, call, old or {}, changed)
        _check_fixed(collection, new, old)
        return _write(masks.without_nulls(new), change)


def _changed(collection: Collection, call: Call, old: Json, changed: Callable[[Json, Json], Json]) -> Json:
    """Return a resource after a change: what is fixed may be left out, what the server sets stays."""
    fixed = {field: old[field] for field in collection.fixed if field in old}
    kept = {field: old[field] for field in _kept(collection, call) if field in old}
    return {**fixed, **changed(old, _writable(collection, call)), **kept}


def _write(new: Json, change: Change) -> Json:
    collection, project, call = change.collection, change.project, change.call
    with project.lock:
        collection.check(new, change)
        body = collection.complete(_stamped(new, change), change)
        if call.query.get("validateOnly"):
            return _answered(change, body)
        save(change, body)
    body = _carried_out(body, change)
    return _answered(change, body, collection.failure(body))


def _carried_out(body: Json, change: Change) -> Json:
    """Let happen what a resource means, and keep what became of it; a refusal leaves everything as it was."""
    try:
        body = change.collection.effect(body, change)
    except CloudError:
        restore(change)
        raise
    save(change, body)
    return body


def _answered(change: Change, body: Json, failure: Json | None = None) -> Json:
    collection, call = change.collection, change.call
    if not operations.gives_operation(call):
        return collection.shown(body)
    outcome = {"@type": f"type.googleapis.com/{collection.proto}", **collection.shown(body)}
    return operations.finish(change.project, call, change.name, outcome, failure)


def _deleted(change: Change) -> Json | None:
    call = change.call
    if not call.method.response:
        return None
    farewell = change.collection.farewell(change)
    if not operations.gives_operation(call):
        return farewell or {}
    kind = f"type.googleapis.com/{change.collection.proto}"
    outcome = {"@type": kind, **farewell} if farewell else operations.EMPTY
    return operations.finish(change.project, call, change.name, outcome)


def _remove(collection: Collection, project: Project, name: str, host: str) -> None:
    for kind, below in [(collection.methods, name), *project.below(name)]:
        project.resources(kind).pop(below, None)
        project.policies.pop(f"//{host}/{below}", None)


def _stamped(new: Json, change: Change) -> Json:
    old = change.old or {}
    stamps = {
        "name": change.name,
        "createTime": old.get("createTime", change.moment),
        "updateTime": change.moment,
        "uid": old.get("uid") or str(uuid.uuid4()),
        "etag": digest(change.name, change.moment),
    }
    known = change.call.document.schemas[_schema(change.collection, change.call)]["properties"]
    wanted = change.collection.stamps & set(known)
    return {**new, **{field: value for field, value in stamps.items() if field in wanted}}


def _new_name(collection: Collection, project: Project, call: Call) -> str:
    is_in_path = call.method.template.endswith("}")
    identity = call.name.rpartition("/")[2] if is_in_path else collection.new_id(call)
    if not collection.id_rule.fullmatch(identity):
        raise invalid(f"Invalid resource id '{identity}': it must match {collection.id_rule.pattern}")
    name = call.name if is_in_path else f"{call.name}/{identity}"
    return collection.place(project.canonical(name, call.document.host))


def _schema(collection: Collection, call: Call) -> str:
    return collection.schema or call.method.request or ""


def _kept(collection: Collection, call: Call) -> frozenset[str]:
    """Return the fields that only the server sets."""
    fields = call.document.schemas[_schema(collection, call)]["properties"]
    read_only = {name for name, field in fields.items() if field.get("readOnly")}
    return collection.stamps | collection.output_only | read_only


def _writable(collection: Collection, call: Call) -> Json:
    body = collection.body(call)
    return {name: value for name, value in body.items() if name not in _kept(collection, call)}


def _list_field(collection: Collection, call: Call) -> str:
    """Return the field of a list's answer that holds the resources: the one list of objects that it has."""
    fields = call.document.schemas[(call.method.response or {})["$ref"]]["properties"]
    return next(name for name, field in fields.items() if "$ref" in field.get("items", {}))


def _check_parent(collection: Collection, project: Project, name: str) -> None:
    kind = collection.parent or collection.methods.rpartition(".")[0]
    parent = name.rpartition("/")[0].rpartition("/")[0]
    is_known = kind in project.collections
    if is_known and "/-" not in parent and parent not in project.resources(kind):
        raise not_found(f"Resource '{parent}' was not found.")


def _check_etag(given: str | None, old: Json, name: str) -> None:
    if given and old.get("etag") and given != old["etag"]:
        raise aborted(f"Conflict for resource '{name}': version '{given}' was given but the present one is another.")


def _check_fixed(collection: Collection, new: Json, old: Json | None) -> None:
    for field in collection.fixed:
        if old is not None and new.get(field) != old.get(field):
            raise invalid(f"The field {field} cannot change.")
