"""Which APIs the double has, and the settings by which programs find each of them."""

from __future__ import annotations

from tests.cloud.artifactregistry import service as artifactregistry
from tests.cloud.artifactregistry.images import Images
from tests.cloud.bigquery import service as bigquery
from tests.cloud.bigquery.big_query import BigQuery
from tests.cloud.billingbudgets import service as billingbudgets
from tests.cloud.cloudbilling import service as cloudbilling
from tests.cloud.cloudbuild import service as cloudbuild
from tests.cloud.cloudbuild.cloud_build import CloudBuild
from tests.cloud.cloudkms import service as cloudkms
from tests.cloud.cloudresourcemanager import service as cloudresourcemanager
from tests.cloud.cloudscheduler import service as cloudscheduler
from tests.cloud.discovery import Document
from tests.cloud.errors import CloudError, not_found, unimplemented
from tests.cloud.iam import service as iam
from tests.cloud.iamcredentials import service as iamcredentials
from tests.cloud.iap import service as iap
from tests.cloud.logging import service as logging
from tests.cloud.messages import AS, Request
from tests.cloud.monitoring import service as monitoring
from tests.cloud.project import Project
from tests.cloud.pubsub import service as pubsub
from tests.cloud.pubsub.broker import Broker
from tests.cloud.run import service as run
from tests.cloud.run.cloud_run import CloudRun
from tests.cloud.secretmanager import service as secretmanager
from tests.cloud.service import ResourceService
from tests.cloud.serviceusage import service as serviceusage
from tests.cloud.signals import Signals

# Variables of the Terraform provider by the path of each API; the provider wants a slash at the end.
TERRAFORM = {
    "ARTIFACT_REGISTRY": "artifactregistry/v1/",
    "BIG_QUERY": "bigquery/bigquery/v2/",
    "BILLING_BUDGETS": "billingbudgets/v1/",
    "CLOUD_BUILD": "cloudbuild/v1/",
    "CLOUD_BILLING": "cloudbilling/v1/",
    "CLOUDBUILDV2": "cloudbuild/v2/",
    "CLOUD_RUN_V2": "run/v2/",
    "CLOUD_SCHEDULER": "cloudscheduler/v1/",
    "IAM_BETA": "iam/v1/",
    "IAM_CREDENTIALS": "iamcredentials/v1/",
    "IAP": "iap/v1/",
    "KMS": "cloudkms/v1/",
    "LOGGING": "logging/v2/",
    "MONITORING": "monitoring/",
    "PUBSUB": "pubsub/v1/",
    "RESOURCE_MANAGER": "cloudresourcemanager/v1/",
    "RESOURCE_MANAGER_V3": "cloudresourcemanager/v3/",
    "SECRET_MANAGER": "secretmanager/v1/",
    "SERVICE_USAGE": "serviceusage/v1/",
    "STORAGE": "storage/v1/",
}
# Variables for APIs that the double has not: whoever needs one hears so from the double instead of leaving loopback.
UNSERVED = {
    "APIKEYS": "apikeys/v2/",
    "BINARY_AUTHORIZATION": "binaryauthorization/v1/",
    "CLOUDDEPLOY": "clouddeploy/v1/",
    "CLOUDFUNCTIONS2": "cloudfunctions/v2/",
    "CLOUD_RUN": "run-v1/",
    "COMPUTE": "compute/compute/v1/",
    "DEVELOPER_CONNECT": "developerconnect/v1/",
    "EVENTARC": "eventarc/v1/",
    "IAM2": "iam-v2/v2/",
    "VERTEX_AI": "aiplatform/v1/",
}
# What gcloud calls each API; its values have no version.
GCLOUD = ("artifactregistry", "cloudbuild", "cloudresourcemanager", "cloudscheduler", "iam", "logging", "monitoring")
GCLOUD += ("iamcredentials", "pubsub", "run", "secretmanager", "serviceusage")
# Without a project of its own, a person's call to these counts on the project that gcloud itself has.
CALLER_APIS = {"cloudbilling.googleapis.com", "cloudresourcemanager.googleapis.com", "serviceusage.googleapis.com"}
# A person's call to these needs a project to count on (user_project_override with billing_project in Terraform).
QUOTA_APIS = {"billingbudgets.googleapis.com"}
GCLOUD_PROJECT_NUMBER = "764086051850"


def services(
    project: Project,
    signals: Signals,
    images: Images,
    cloud_run: CloudRun,
    big_query: BigQuery,
    broker: Broker,
    cloud_build: CloudBuild,
) -> list[ResourceService]:
    """Return every API but Cloud Storage."""
    return [
        run.service(project, cloud_run),
        iam.service(project),
        iamcredentials.service(project),
        serviceusage.service(project),
        cloudbilling.service(project),
        *cloudresourcemanager.services(project),
        logging.service(project, signals),
        *monitoring.services(project, signals),
        artifactregistry.service(project, images),
        bigquery.service(project, big_query),
        billingbudgets.service(project),
        *cloudbuild.services(project, cloud_build),
        cloudkms.service(project),
        cloudscheduler.service(project, broker),
        iap.service(project),
        pubsub.service(project, broker),
        secretmanager.service(project),
    ]


def environment(url: str, project: str) -> dict[str, str]:
    """Return the variables with which Python clients, Terraform's provider and backend, and gcloud find the double."""
    return {
        # Otherwise the storage client asks for the bucket in a background thread: the journal would hold requests
        # that nobody made, and an outage would leave that thread retrying.
        "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA": "true",
        "STORAGE_EMULATOR_HOST": url,
        "BIGQUERY_EMULATOR_HOST": f"{url}/bigquery",
        "GOOGLE_CLOUD_PROJECT": project,
        "GOOGLE_BACKEND_STORAGE_CUSTOM_ENDPOINT": f"{url}/storage/v1/b",
        **{f"GOOGLE_{name}_CUSTOM_ENDPOINT": f"{url}/{path}" for name, path in (TERRAFORM | UNSERVED).items()},
        **{f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name.upper()}": f"{url}/{name}/" for name in GCLOUD},
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_BIGQUERY": f"{url}/bigquery/bigquery/v2/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{url}/storage/v1/",
    }


def refusal(request: Request) -> CloudError:
    """Return the refusal of a path that no API here has."""
    for path in UNSERVED.values():
        if request.path.startswith(f"/{path.partition('/')[0]}/"):
            return unimplemented(f"the API below {path.partition('/')[0]}")
    return not_found(f"No API has {request.verb} {request.path}")


def platform(url: str, account: str) -> dict[str, str]:
    """Return the variables with which a service account's containers find the double; at Google they need none."""
    return {
        "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA": "true",
        "STORAGE_EMULATOR_HOST": f"{url}{AS}{account}",
    }


def check_enabled(project: Project, document: Document, request: Request) -> None:
    """Refuse a call to an API that is not enabled in the project that the call counts on.

    Raises CloudError: 403 SERVICE_DISABLED.
    """
    is_billed_here = request.principal or request.headers.get("X-Goog-User-Project")
    if document.host in CALLER_APIS and not is_billed_here:
        return
    consumer = None if is_billed_here or document.host not in QUOTA_APIS else GCLOUD_PROJECT_NUMBER
    project.check_enabled(document.host, consumer)
