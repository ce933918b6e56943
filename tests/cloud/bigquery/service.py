"""BigQuery as a service of the double: datasets, tables and views, their rows, and queries over them."""

from __future__ import annotations

from collections.abc import Callable

from tests.cloud.bigquery import datasets, queries, streamed, tables
from tests.cloud.bigquery.big_query import BigQuery
from tests.cloud.discovery import Call, Document
from tests.cloud.project import Project
from tests.cloud.schemas import Json
from tests.cloud.service import Behaviour, ResourceService

Answer = Callable[[BigQuery, Project, Call], Json]


def service(project: Project, big_query: BigQuery) -> ResourceService:
    """Return the API, served below /bigquery."""
    document = Document.load("bigquery", "v2", "/bigquery")
    collections = (datasets.COLLECTION, tables.collection(big_query))
    behaviour = {method: _over(big_query, answer) for method, answer in ANSWERS.items()}
    return ResourceService(project, document, collections, behaviour)


def _over(big_query: BigQuery, answer: Answer) -> Behaviour:
    return lambda project, call: answer(big_query, project, call)


def _service_account(big_query: BigQuery, project: Project, call: Call) -> Json:
    """Name the agent that encrypts for a project; every project has it."""
    email = f"bq-{project.number}@bigquery-encryption.iam.gserviceaccount.com"
    return {"kind": "bigquery#getServiceAccountResponse", "email": email}


ANSWERS: dict[str, Answer] = {
    "bigquery.jobs.get": queries.get,
    "bigquery.jobs.getQueryResults": queries.get_results,
    "bigquery.jobs.insert": queries.insert,
    "bigquery.jobs.query": queries.query,
    "bigquery.projects.getServiceAccount": _service_account,
    "bigquery.tabledata.insertAll": streamed.insert_all,
    "bigquery.tabledata.list": streamed.list_rows,
}
