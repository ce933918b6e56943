"""Queries over HTTP: each is a job that is done when it is answered, and its result is asked for in pages."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.cloud import access, oauth
from tests.cloud.bigquery import results
from tests.cloud.bigquery.big_query import BigQuery, Job
from tests.cloud.bigquery.catalog import HOST, CallersCatalog
from tests.cloud.bigquery.datasets import milliseconds
from tests.cloud.bigquery.results import TimestampFormat
from tests.cloud.discovery import Call
from tests.cloud.errors import CloudError, denied, invalid, not_found, required, unimplemented
from tests.cloud.project import Project, digest
from tests.cloud.schemas import Json

if TYPE_CHECKING:
    from tests.cloud.bigquery.sql import Result

# What would make a query another one; what is left out here changes price, speed or labels.
UNSUPPORTED = ("clustering", "connectionProperties", "continuous", "createSession", "destinationTable")
UNSUPPORTED += ("rangePartitioning", "secureContext", "systemVariables", "tableDefinitions", "timePartitioning")
UNSUPPORTED += ("userDefinedFunctionResources",)
STANDARD = "#standardsql"
# Elsewhere a job is found only by who names its location.
MULTI_REGIONS = {"EU", "US"}
FORMATS: dict[str, TimestampFormat] = {"FLOAT64": "FLOAT64", "INT64": "INT64", "ISO8601_STRING": "ISO8601_STRING"}


@dataclass(frozen=True)
class _Query:
    """A query as it was asked, and the catalog as who asked sees it."""

    text: str
    dataset: str | None
    parameters: dict[str | int, Json]
    seen: CallersCatalog


def query(big_query: BigQuery, project: Project, call: Call) -> Json:
    """Answer jobs.query.

    Raises CloudError: 400, 403 and 404 as BigQuery refuses the query, 501 for what is not known here.
    """
    if call.body.get("queryResultsFormat") not in (None, "QUERY_RESULTS_FORMAT_UNSPECIFIED", "STRUCT_ENCODING"):
        raise unimplemented(f"results as {call.body['queryResultsFormat']}")
    asked = _asked(project, call, call.body, call.body.get("location"))
    kind = "bigquery#queryResponse"
    if call.body.get("dryRun"):
        fields = big_query.warehouse.dry_run(asked.text, asked.dataset, asked.parameters, asked.seen)
        reference = {"projectId": project.id, "location": asked.seen.place}
        return {"kind": kind, "schema": {"fields": fields}, "jobReference": reference, "jobComplete": True}
    started = milliseconds()
    result = big_query.warehouse.query(asked.text, asked.dataset, asked.parameters, asked.seen)
    configuration = {"query": {"query": asked.text, "useLegacySql": False}}
    reference = _reference(project, str(uuid.uuid4()), asked.seen.place)
    job = _keep(big_query, _resource(call, reference, configuration, started), result)
    options = call.body.get("formatOptions") or {}
    form = _timestamps(options.get("timestampOutputFormat"), options.get("useInt64Timestamp"))
    return {
        "kind": kind,
        "queryId": job.resource["id"],
        "location": asked.seen.place,
        "creationTime": started,
        "startTime": started,
        "endTime": job.resource["statistics"]["endTime"],
        **_answer(job, result, 0, call.body.get("maxResults"), form),
    }


def insert(big_query: BigQuery, project: Project, call: Call) -> Json:
    """Answer jobs.insert; a query that is refused makes a job that failed.

    Raises CloudError: 409 for an id that is taken, 501 for jobs other than queries.
    """
    configuration = call.body.get("configuration") or {}
    if not configuration.get("query"):
        raise unimplemented("jobs other than queries")
    wanted = call.body.get("jobReference") or {}
    name, started = wanted.get("jobId") or str(uuid.uuid4()), milliseconds()
    if name in big_query.jobs:
        place = big_query.jobs[name].resource["jobReference"]["location"]
        raise CloudError(409, "duplicate", f"Already Exists: Job {project.id}:{place}.{name}")
    asked = _asked(project, call, configuration["query"], wanted.get("location"))
    if configuration.get("dryRun"):
        fields = big_query.warehouse.dry_run(asked.text, asked.dataset, asked.parameters, asked.seen)
        described = _resource(call, _reference(project, name, asked.seen.place), configuration, started)
        described["statistics"]["query"]["schema"] = {"fields": fields}
        return described
    outcome = _outcome(big_query, asked)
    described = _resource(call, _reference(project, name, asked.seen.place), configuration, started)
    return _keep(big_query, described, outcome).resource


def get(big_query: BigQuery, project: Project, call: Call) -> Json:
    """Answer jobs.get.

    Raises CloudError: 404.
    """
    return _found(big_query, project, call).resource


def get_results(big_query: BigQuery, project: Project, call: Call) -> Json:
    """Answer jobs.getQueryResults.

    Raises CloudError: 404 without the job, and what the query was refused with.
    """
    job = _found(big_query, project, call)
    if isinstance(job.outcome, CloudError):
        raise job.outcome
    answer = _answer(job, job.outcome, start_of(call), call.query.get("maxResults"), format_of(call))
    return {"kind": "bigquery#getQueryResultsResponse", "etag": job.resource["etag"], **answer}


def start_of(call: Call) -> int:
    """Return from which row on a page is asked for.

    Raises CloudError: 400 for a token that never was given.
    """
    token = call.query.get("pageToken")
    if token and not token.isdecimal():
        raise invalid("Invalid page token.")
    return int(token or call.query.get("startIndex") or 0)


def format_of(call: Call) -> TimestampFormat:
    """Return how a request's parameters want timestamps."""
    asked = call.query
    return _timestamps(asked.get("formatOptions.timestampOutputFormat"), asked.get("formatOptions.useInt64Timestamp"))


def _timestamps(named: str | None, as_integers: bool | None) -> TimestampFormat:
    return FORMATS.get(named or "", "INT64" if as_integers else "FLOAT64")


def _asked(project: Project, call: Call, settings: Json, place: str | None) -> _Query:
    text = settings.get("query") or ""
    if not text.strip():
        raise required("query")
    for name in UNSUPPORTED:
        if settings.get(name):
            raise unimplemented(f"queries with {name}")
    if settings.get("useLegacySql", True) and not text.lstrip().lower().startswith(STANDARD):
        raise unimplemented("legacy SQL, which a query is in unless useLegacySql is false")
    default = settings.get("defaultDataset") or {}
    project.canonical(f"projects/{default.get('projectId') or project.id}", HOST)
    seen = CallersCatalog(project, call.request.principal, place)
    return _Query(text, default.get("datasetId"), _parameters(settings), seen)


def _parameters(settings: Json) -> dict[str | int, Json]:
    given = settings.get("queryParameters") or []
    if any(not (one.get("parameterType") or {}).get("type") for one in given):
        raise invalid("Query parameters need a parameterType with a type.")
    is_named = (settings.get("parameterMode") or "").upper() == "NAMED" or any(one.get("name") for one in given)
    if is_named and not all(one.get("name") for one in given):
        raise invalid("Query parameters are all named, or all positional.")
    return {one["name"].lower() if is_named else position: one for position, one in enumerate(given)}


def _outcome(big_query: BigQuery, asked: _Query) -> Result | CloudError:
    try:
        return big_query.warehouse.query(asked.text, asked.dataset, asked.parameters, asked.seen)
    except CloudError as fault:
        if fault.status == 501:
            raise
        return fault


def _keep(big_query: BigQuery, resource: Json, outcome: Result | CloudError) -> Job:
    fault = {}
    if isinstance(outcome, CloudError):
        error = {"reason": outcome.reason, "message": "; ".join(outcome.messages)}
        fault = {"errorResult": error, "errors": [error]}
    job = Job({**resource, "status": {**resource["status"], **fault}}, outcome)
    big_query.jobs[resource["jobReference"]["jobId"]] = job
    return job


def _resource(call: Call, reference: Json, configuration: Json, started: str) -> Json:
    name, place = reference["jobId"], reference["location"]
    return {
        "kind": "bigquery#job",
        "etag": digest(name, started),
        "id": f"{reference['projectId']}:{place}.{name}",
        "selfLink": f"{call.request.root}/bigquery/bigquery/v2/projects/{reference['projectId']}/jobs/{name}"
        f"?location={place}",
        "user_email": call.request.principal or oauth.OWNER,
        "configuration": {"jobType": "QUERY", **configuration},
        "jobReference": reference,
        "statistics": {
            "creationTime": started,
            "startTime": started,
            "endTime": milliseconds(),
            "query": {"statementType": "SELECT"},
        },
        "status": {"state": "DONE"},
    }


def _reference(project: Project, name: str, place: str) -> Json:
    return {"projectId": project.id, "jobId": name, "location": place}


def _found(big_query: BigQuery, project: Project, call: Call) -> Job:
    """Return the job that a request means; who made it may see it, others need a permission."""
    name, place = call.path["jobId"], call.query.get("location")
    project.canonical(f"projects/{call.path['projectId']}", HOST)
    job = big_query.jobs.get(name)
    known = job and job.resource["jobReference"]["location"]
    if job is None or not (place.lower() == known.lower() if place else known.upper() in MULTI_REGIONS):
        raise not_found(f"Not found: Job {project.id}:{f'{place}.' if place else ''}{name}")
    caller, resource = call.request.principal, f"//{HOST}/projects/{project.id}/jobs/{name}"
    is_own = job.resource["user_email"] == (caller or oauth.OWNER)
    if not is_own and not access.holds(project, caller, "bigquery.jobs.get", resource):
        text = "User does not have bigquery.jobs.get permission for job"
        raise denied(f"Access Denied: Job {job.resource['id']}: {text} {job.resource['id']}.")
    return job


def _answer(job: Job, result: Result, start: int, size: int | None, form: TimestampFormat) -> Json:
    page = results.page(result, start, size, form)
    return {"jobReference": job.resource["jobReference"], "jobComplete": True, "cacheHit": False, **page}
