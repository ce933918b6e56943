"""Log sinks: where they may lead, and the identity that writes for them."""

from __future__ import annotations

import re

from tests.cloud.collection import Change, Collection, from_body
from tests.cloud.errors import invalid
from tests.cloud.logging.language import compile_filter
from tests.cloud.schemas import Json

SINKS = "logging.projects.sinks"
NAME = re.compile(r"[A-Za-z0-9_.\-]{1,100}")
# https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.sinks
DESTINATION = re.compile(
    r"storage\.googleapis\.com/[^/]+"
    r"|bigquery\.googleapis\.com/projects/[^/]+/datasets/[A-Za-z0-9_]+"
    r"|pubsub\.googleapis\.com/projects/[^/]+/topics/[^/]+"
    r"|logging\.googleapis\.com/projects/[^/]+(/locations/[^/]+/buckets/[^/]+)?"
)
SHARED_WRITER = "serviceAccount:cloud-logs@system.gserviceaccount.com"


def _check(new: Json, change: Change) -> None:
    destination = new.get("destination") or ""
    if not DESTINATION.fullmatch(destination):
        raise invalid(f"Sink.destination field has an invalid value: '{destination}'.")
    if new.get("bigqueryOptions") and not destination.startswith("bigquery."):
        raise invalid("Sink.bigquery_options is allowed only for a sink to BigQuery.")
    names = [exclusion.get("name") for exclusion in new.get("exclusions") or []]
    if len(names) != len(set(names)) or not all(names):
        raise invalid("Sink.exclusions must have different names.")
    compile_filter(new.get("filter") or "")
    for exclusion in new.get("exclusions") or []:
        compile_filter(exclusion.get("filter") or "")


def _complete(new: Json, change: Change) -> Json:
    return {
        **new,
        "name": change.id,
        "resourceName": change.name,
        "writerIdentity": _writer(new["destination"], change),
        **_partitioning(new, change.old or {}),
    }


def _writer(destination: str, change: Change) -> str:
    if destination.startswith("logging.googleapis.com/projects/") and "/buckets/" in destination:
        return ""  # within a project nobody has to be granted anything
    is_unique = change.call.query.get("uniqueWriterIdentity") or _has_own_writer(change.old)
    own = f"serviceAccount:{change.project.agent('gcp-sa-logging')}"
    return own if is_unique else SHARED_WRITER


def _has_own_writer(old: Json | None) -> bool:
    return old is not None and old.get("writerIdentity") not in ("", SHARED_WRITER)


def _partitioning(new: Json, old: Json) -> Json:
    """Return the options of a sink to BigQuery; a new sink partitions by timestamp where it partitions."""
    if not new["destination"].startswith("bigquery."):
        return {}
    return {"bigqueryOptions": {"usesTimestampColumnPartitioning": True, **(new.get("bigqueryOptions") or {})}}


COLLECTION = Collection(
    methods=SINKS,
    new_id=from_body("name"),
    id_rule=NAME,
    check=_check,
    complete=_complete,
    output_only=frozenset({"writerIdentity"}),
)
