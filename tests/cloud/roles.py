"""The predefined roles that are used here, and which permission each method needs.

Names and contents: https://cloud.google.com/iam/docs/roles-permissions. A `*` stands for any name.
"""

from __future__ import annotations

import re
from functools import cache

from tests.cloud.discovery import Method
from tests.cloud.errors import unimplemented

READ = ("get", "list")
PROJECT_READ = ("resourcemanager.projects.get", "resourcemanager.projects.list")


def _of(prefix: str, *actions: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{action}" for action in actions)


_OBJECT_READ = _of("storage.objects", *READ) + _of("storage.managedFolders", *READ)
_OBJECT_WRITE = (*_of("storage.objects", "create", "delete", "restore", "update"), "storage.multipartUploads.*")
_REGISTRY_READ = (*_of("artifactregistry.*", *READ), "artifactregistry.repositories.downloadArtifacts")
_TABLE_READ = ("bigquery.datasets.get", "bigquery.tables.export", *_of("bigquery.tables", "get", "getData", "list"))
_RUN_READ = _of("run.*", "get", "getIamPolicy", "list")
_MONITORING_READ = _of("monitoring.*", *READ)
_LOGGING_READ = _of("logging.*", *READ)
_CHANGE = ("create", "delete", "update")
# Basic roles hold no data of these kinds: reading an object or a secret is granted where it lies.
_NOT_BASIC = ("storage.objects.*", "secretmanager.versions.access", "*.setIamPolicy", "iam.serviceAccounts.*Token")
_NOT_BASIC += ("run.routes.invoke", "iam.serviceAccounts.sign*", "iam.serviceAccounts.implicitDelegation")

ROLES: dict[str, tuple[str, ...]] = {
    "roles/artifactregistry.admin": ("artifactregistry.*",),
    "roles/artifactregistry.reader": _REGISTRY_READ,
    "roles/artifactregistry.repoAdmin": (
        *_REGISTRY_READ,
        *_of("artifactregistry.repositories", "deleteArtifacts", "uploadArtifacts"),
        *_of("artifactregistry", "files.*", "packages.*", "tags.*", "versions.*"),
    ),
    "roles/artifactregistry.writer": (
        *_REGISTRY_READ,
        "artifactregistry.repositories.uploadArtifacts",
        *_of("artifactregistry.tags", "create", "update"),
    ),
    "roles/bigquery.admin": ("bigquery.*",),
    "roles/bigquery.dataEditor": (
        *_TABLE_READ,
        "bigquery.datasets.create",
        *_of("bigquery.tables", "create", "delete", "update", "updateData"),
    ),
    "roles/bigquery.dataOwner": ("bigquery.datasets.*", "bigquery.tables.*"),
    "roles/bigquery.dataViewer": _TABLE_READ,
    "roles/bigquery.jobUser": ("bigquery.jobs.create", *PROJECT_READ),
    "roles/billing.costsManager": ("billing.budgets.*",),
    "roles/browser": (
        *_of("resourcemanager.folders", *READ),
        "resourcemanager.organizations.get",
        *_of("resourcemanager.projects", "get", "getIamPolicy", "list"),
    ),
    "roles/cloudbuild.builds.approver": (*_of("cloudbuild.builds", "approve", *READ), *PROJECT_READ),
    "roles/cloudbuild.builds.builder": (
        *_of("cloudbuild.builds", "create", "get", "list", "update"),
        *_of("logging.logEntries", "create", "route"),
        *_of("storage.objects", "create", "delete", "get", "list", "update"),
        *_of("storage.buckets", "create", "get", "list"),
        *_REGISTRY_READ,
        "artifactregistry.repositories.uploadArtifacts",
        *_of("artifactregistry.tags", "create", "update"),
    ),
    "roles/cloudbuild.builds.editor": (*_of("cloudbuild.builds", "create", "get", "list", "update"), *PROJECT_READ),
    "roles/cloudbuild.builds.viewer": (*_of("cloudbuild.builds", *READ), *PROJECT_READ),
    "roles/cloudkms.admin": tuple(f"cloudkms.{kind}.*" for kind in ("cryptoKeys", "importJobs", "keyRings")),
    "roles/cloudkms.cryptoKeyEncrypterDecrypter": _of("cloudkms.cryptoKeyVersions", "useToDecrypt", "useToEncrypt"),
    "roles/cloudscheduler.admin": ("cloudscheduler.*", *PROJECT_READ),
    "roles/cloudscheduler.jobRunner": ("cloudscheduler.jobs.run", *PROJECT_READ),
    "roles/cloudscheduler.viewer": (*_of("cloudscheduler.*", *READ), *PROJECT_READ),
    "roles/iam.securityReviewer": ("*.getIamPolicy", "*.list"),
    "roles/iam.serviceAccountAdmin": _of("iam.serviceAccounts", "create", "delete", "disable", "enable", *READ)
    + _of("iam.serviceAccounts", "getIamPolicy", "setIamPolicy", "update"),
    "roles/iam.serviceAccountOpenIdTokenCreator": ("iam.serviceAccounts.getOpenIdToken",),
    "roles/iam.serviceAccountTokenCreator": _of(
        "iam.serviceAccounts", "get", "getAccessToken", "getOpenIdToken", "implicitDelegation", "list", "sign*"
    ),
    "roles/iam.serviceAccountUser": (*_of("iam.serviceAccounts", "actAs", *READ), *PROJECT_READ),
    "roles/iap.admin": _of("iap.*", "getIamPolicy", "setIamPolicy", "getSettings", "updateSettings"),
    "roles/iap.httpsResourceAccessor": ("iap.webServiceVersions.accessViaIAP",),
    "roles/logging.admin": ("logging.*",),
    "roles/logging.configWriter": tuple(
        f"logging.{kind}.*" for kind in ("buckets", "exclusions", "links", "logMetrics", "sinks", "views")
    ),
    "roles/logging.logWriter": _of("logging.logEntries", "create", "route"),
    "roles/logging.viewer": _LOGGING_READ,
    "roles/monitoring.admin": ("monitoring.*",),
    "roles/monitoring.editor": (*_MONITORING_READ, *_of("monitoring.*", *_CHANGE)),
    "roles/monitoring.metricWriter": (
        *_of("monitoring.metricDescriptors", "create", *READ),
        *_of("monitoring.monitoredResourceDescriptors", *READ),
        "monitoring.timeSeries.create",
    ),
    "roles/monitoring.viewer": _MONITORING_READ,
    "roles/pubsub.admin": ("pubsub.*",),
    "roles/pubsub.editor": (*_of("pubsub.*", *READ, *_CHANGE), "pubsub.topics.publish", "pubsub.subscriptions.consume"),
    "roles/pubsub.publisher": ("pubsub.topics.publish",),
    "roles/pubsub.subscriber": ("pubsub.subscriptions.consume", "pubsub.topics.attachSubscription"),
    "roles/pubsub.viewer": _of("pubsub.*", *READ),
    "roles/resourcemanager.projectIamAdmin": _of("resourcemanager.projects", "get", "getIamPolicy", "setIamPolicy"),
    "roles/run.admin": ("run.*",),
    "roles/run.developer": (*_RUN_READ, *_of("run.*", *_CHANGE), "run.jobs.run", "run.jobs.runWithOverrides"),
    "roles/run.invoker": ("run.jobs.run", "run.routes.invoke"),
    "roles/run.viewer": _RUN_READ,
    "roles/secretmanager.admin": ("secretmanager.*",),
    "roles/secretmanager.secretAccessor": ("secretmanager.versions.access", *PROJECT_READ),
    "roles/secretmanager.viewer": _of("secretmanager.*", "get", "getIamPolicy", "list"),
    "roles/serviceusage.serviceUsageAdmin": _of("serviceusage", "operations.*", "quotas.*", "services.*"),
    "roles/storage.admin": ("storage.*",),
    "roles/storage.legacyBucketOwner": _of("storage.buckets", "get", "getIamPolicy", "setIamPolicy", "update")
    + _of("storage.objects", "create", "delete", "list"),
    "roles/storage.legacyBucketReader": ("storage.buckets.get", "storage.objects.list"),
    "roles/storage.legacyBucketWriter": ("storage.buckets.get", *_of("storage.objects", "create", "delete", "list")),
    "roles/storage.legacyObjectOwner": _of("storage.objects", "get", "getIamPolicy", "setIamPolicy", "update"),
    "roles/storage.legacyObjectReader": ("storage.objects.get",),
    "roles/storage.objectAdmin": ("storage.objects.*", "storage.managedFolders.*", "storage.multipartUploads.*"),
    "roles/storage.objectCreator": ("storage.objects.create", "storage.multipartUploads.*"),
    "roles/storage.objectUser": (*_OBJECT_READ, *_OBJECT_WRITE),
    "roles/storage.objectViewer": _OBJECT_READ,
}
OWNER = "roles/owner"
BASIC = {
    "roles/editor": re.compile(r".*"),
    # https://cloud.google.com/bigquery/docs/access-control-basic-roles: viewers may start jobs
    "roles/viewer": re.compile(r".*\.(get|list|getIamPolicy)|bigquery\.jobs\.create"),
}
# What a method's last part is called in its permission.
ACTIONS = {"insert": "create", "patch": "update"}
# What a collection is called in permissions where that is another name.
KINDS = {
    "billingbudgets.budgets": "billing.budgets",
    "cloudbuild.triggers": "cloudbuild.builds",
    "cloudresourcemanager.projects": "resourcemanager.projects",
    "iap.iap": "iap.webServices",
    "logging.metrics": "logging.logMetrics",
    "monitoring.serviceLevelObjectives": "monitoring.slos",
    "monitoring.v1": "monitoring.timeSeries",
    "storage.serviceAccount": "resourcemanager.projects",
}
EXCEPTIONS = {
    "bigquery.jobs.query": "bigquery.jobs.create",
    "bigquery.jobs.insert": "bigquery.jobs.create",
    "bigquery.projects.getServiceAccount": "bigquery.jobs.create",
    "bigquery.tabledata.insertAll": "bigquery.tables.updateData",
    "bigquery.tabledata.list": "bigquery.tables.getData",
    "cloudbilling.projects.getBillingInfo": "resourcemanager.projects.get",
    "cloudbuild.builds.cancel": "cloudbuild.builds.update",
    "cloudbuild.builds.retry": "cloudbuild.builds.create",
    "cloudbuild.triggers.delete": "cloudbuild.builds.update",
    "cloudbuild.triggers.run": "cloudbuild.builds.create",
    "iam.serviceAccounts.signBlob": "iam.serviceAccounts.signBlob",
    "iamcredentials.serviceAccounts.generateAccessToken": "iam.serviceAccounts.getAccessToken",
    "iamcredentials.serviceAccounts.generateIdToken": "iam.serviceAccounts.getOpenIdToken",
    "logging.entries.list": "logging.logEntries.list",
    "logging.entries.write": "logging.logEntries.create",
    "monitoring.v1.query": "monitoring.timeSeries.list",
    "monitoring.v1.query_range": "monitoring.timeSeries.list",
    "pubsub.subscriptions.acknowledge": "pubsub.subscriptions.consume",
    "pubsub.subscriptions.modifyAckDeadline": "pubsub.subscriptions.consume",
    "pubsub.subscriptions.pull": "pubsub.subscriptions.consume",
    "secretmanager.secrets.addVersion": "secretmanager.versions.add",
    "serviceusage.services.batchEnable": "serviceusage.services.enable",
    "serviceusage.services.batchGet": "serviceusage.services.get",
    "storage.objects.compose": "storage.objects.create",
    "storage.objects.copy": "storage.objects.create",
    "storage.objects.rewrite": "storage.objects.create",
}


def permission(method: Method) -> str:
    """Return the permission that a method needs, for example `run.services.get`."""
    parts = method.id.split(".")
    kind, action = f"{parts[0]}.{parts[-2]}", parts[-1]
    if f"{kind}.{action}" in EXCEPTIONS:
        return EXCEPTIONS[f"{kind}.{action}"]
    return f"{KINDS.get(kind, kind)}.{ACTIONS.get(action, action)}"


def check(role: str) -> None:
    """Refuse a predefined role whose contents are not known here: what it would allow is no guess.

    Google refuses the ones that it does not have either; those and the ones missing here look alike.

    Raises CloudError: 501.
    """
    if role not in (OWNER, *BASIC, *ROLES):
        raise unimplemented(f"the role {role}. If Google has it, add it to ROLES in tests/cloud/roles.py")


def contains(role: str, permission: str) -> bool:
    """Tell whether a predefined role, one that `check` lets through, holds a permission."""
    if role == OWNER:
        return True
    if role in BASIC:
        return bool(BASIC[role].fullmatch(permission)) and not any(_fits(one, permission) for one in _NOT_BASIC)
    return any(_fits(pattern, permission) for pattern in ROLES[role])


def _fits(pattern: str, permission: str) -> bool:
    return _compiled(pattern).fullmatch(permission) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*"))
