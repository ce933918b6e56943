"""Cloud Billing: the project's billing information, read only."""

from __future__ import annotations

from tests.cloud.discovery import Call, Document
from tests.cloud.project import Project
from tests.cloud.schemas import Json
from tests.cloud.service import ResourceService


def service(project: Project) -> ResourceService:
    """Return the API, served below /cloudbilling."""
    behaviour = {"cloudbilling.projects.getBillingInfo": _get_billing_info}
    return ResourceService(project, Document.load("cloudbilling", "v1", "/cloudbilling"), (), behaviour)


def _get_billing_info(project: Project, call: Call) -> Json:
    name = project.canonical(call.name, call.document.host)
    account = f"billingAccounts/{project.billing_account}"
    return {"name": name, "projectId": project.id, "billingAccountName": account, "billingEnabled": True}
