"""What a collection of resources is: where ids come from, what its API fills in and what it refuses."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.cloud.discovery import Call
from tests.cloud.project import Project
from tests.cloud.schemas import Json

# What the server sets in every resource whose schema has the field.
STAMPS = frozenset({"name", "createTime", "updateTime", "uid", "etag"})


@dataclass(frozen=True)
class Change:
    """What a request does to one resource: `old` is None for a new one."""

    project: Project
    call: Call
    collection: Collection
    name: str
    old: Json | None
    moment: str

    @property
    def id(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]


def generated(call: Call) -> str:
    """Return an id for a resource whose id the server chooses: 19 digits, as Cloud Monitoring's are."""
    return str(10**18 + uuid.uuid4().int % 10**18)


def from_query(parameter: str) -> Callable[[Call], str]:
    """Return the reading of a new resource's id from a query parameter."""
    return lambda call: call.query.get(parameter) or ""


def from_body(*path: str) -> Callable[[Call], str]:
    """Return the reading of a new resource's id from a field of the body."""

    def read(call: Call) -> str:
        value: Any = call.body
        for name in path:
            value = (value or {}).get(name)
        return value or ""

    return read


def replaced(old: Json, body: Json) -> Json:
    """Return what an update without a mask makes where the API then replaces the whole resource."""
    return body


def populated(old: Json, body: Json) -> Json:
    """Return what an update without a mask makes where the API then takes the fields that were sent."""
    return {**old, **body}


def _as_it_is(new: Json, change: Change) -> Json:
    return new


def _nothing(*_: Any) -> None:
    return None


@dataclass(frozen=True)
class Collection:
    """One kind of resource: what its API adds to what all APIs do.

    methods: the prefix of its methods' ids; aliases: other prefixes that mean the same.
    new_id: where the id of a new one comes from (an API that creates with PUT has it in the path); id_rule: what it
    must look like; place: the full name that another spelling means; parent: the collection of what must exist
    before, where the ids of the methods do not tell.
    body, mask: where a request has the resource and the update mask; unmasked: what a patch without mask means;
    upserts: an update makes what is missing; shown: the resource as answers have it.
    check, check_delete: refuse what the server refuses; complete: adds what the server adds; stamps, output_only:
    fields that only the server sets, of all and of this; fixed: fields that never change.
    effect, after_delete: what happens outside of the project's state, with nothing locked but the resource; effect
    returns the resource as it then is. failure: the google.rpc.Status of an operation that failed although the
    resource was made; farewell: what a deletion answers where that is not empty.
    schema: the name of the resource's schema, where a creation's body is another; proto: that of its protobuf type,
    where operations carry it.
    """

    methods: str
    new_id: Callable[[Call], str] = generated
    id_rule: re.Pattern[str] = re.compile(r"[^/]+")
    complete: Callable[[Json, Change], Json] = _as_it_is
    check: Callable[[Json, Change], None] = _nothing
    check_delete: Callable[[Change], None] = _nothing
    effect: Callable[[Json, Change], Json] = _as_it_is
    after_delete: Callable[[Change], None] = _nothing
    failure: Callable[[Json], Json | None] = _nothing
    farewell: Callable[[Change], Json | None] = _nothing
    shown: Callable[[Json], Json] = lambda body: body
    body: Callable[[Call], Json] = lambda call: call.body
    mask: Callable[[Call], str | None] = lambda call: call.query.get("updateMask")
    unmasked: Callable[[Json, Json], Json] = replaced
    place: Callable[[str], str] = lambda name: name
    schema: str = ""
    proto: str = ""
    parent: str = ""
    output_only: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()
    upserts: bool = False
    aliases: tuple[str, ...] = ()
    stamps: frozenset[str] = STAMPS
