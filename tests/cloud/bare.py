"""An environment made by the APIs in a second: of what Terraform makes, all that a release can tell the difference of.

No metrics, alerts, dashboards, sinks or triggers; test_infra_apply.py holds the rest to what Terraform really makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from lifecycle.environment import Environment
from tests.cloud.api import api_client
from tests.cloud.artifactregistry.images import HELLO
from tests.cloud.double import CloudDouble
from tests.cloud.run.service import SERVICES
from tests.cloud.schemas import Json

APIS = ("artifactregistry", "cloudresourcemanager", "iam", "iamcredentials", "logging", "monitoring", "run", "storage")
RELEASER_ROLES = ("roles/iam.securityReviewer", "roles/viewer")
VERIFIER_ROLE = "roles/logging.logWriter"
MEMORY_MIB, STARTUP_SECONDS = 1024, 120  # infra/variables.tf


def make_environment(cloud: CloudDouble, place: Environment) -> None:
    """Make what all endpoints share: the bucket of versions, the repository of images, the builds' identities."""
    cloud.state.enabled |= {f"{api}.googleapis.com" for api in APIS}
    releaser = _account(cloud, place.release_identity)
    verifier = _account(cloud, f"{place.prefix}-verify@{place.project}.iam.gserviceaccount.com")
    with api_client(cloud, "cloudresourcemanager", "v1") as client:
        roles = {role: [releaser] for role in RELEASER_ROLES}
        _grant(client.projects(), place.project, {**roles, VERIFIER_ROLE: [releaser, verifier]})
    with api_client(cloud, "iam", "v1") as client:
        itself = f"projects/{place.project}/serviceAccounts/{place.release_identity}"
        minter = {"roles/iam.serviceAccountOpenIdTokenCreator": [releaser]}
        _grant(client.projects().serviceAccounts(), itself, minter)
    with api_client(cloud, "storage", "v1") as client:
        bucket = {"name": place.model_bucket, "location": place.region, "versioning": {"enabled": True}}
        client.buckets().insert(project=place.project, body=bucket).execute()
    _grant_in_bucket(cloud, place.model_bucket, {"role": "roles/storage.objectUser", "members": [releaser]})
    _grant_in_bucket(cloud, place.model_bucket, {"role": "roles/storage.objectViewer", "members": [verifier]})
    with api_client(cloud, "artifactregistry", "v1") as client:
        repositories = client.projects().locations().repositories()
        parent = f"projects/{place.project}/locations/{place.region}"
        repositories.create(parent=parent, repositoryId=place.prefix, body={"format": "DOCKER"}).execute()
        name = f"{parent}/repositories/{place.prefix}"
        _grant(repositories, name, {"roles/artifactregistry.repoAdmin": [releaser]})


def make_endpoint(
    cloud: CloudDouble,
    place: Environment,
    model: str,
    *,
    image: str = HELLO,
    labels: Mapping[str, str] = MappingProxyType({}),
    memory_mib: int = MEMORY_MIB,
    startup_seconds: int = STARTUP_SECONDS,
    settings: Mapping[str, str] = MappingProxyType({}),
    invokers: Iterable[str] = (),
) -> str:
    """Make a model's identity and its service, which these members may call; return the address.

    The service starts from Google's hello image, as Terraform's does, or from what a release would leave: an image and
    the template's labels.
    """
    name = place.service(model)
    service_id = name.rpartition("/")[2]
    email = f"{service_id}@{place.project}.iam.gserviceaccount.com"
    releaser = f"serviceAccount:{place.release_identity}"
    server = _account(cloud, email)
    with api_client(cloud, "iam", "v1") as client:
        account = f"projects/{place.project}/serviceAccounts/{email}"
        _grant(client.projects().serviceAccounts(), account, {"roles/iam.serviceAccountUser": [releaser]})
    only = _only_versions(place.model_bucket, model, service_id)
    reader = {"role": "roles/storage.objectViewer", "members": [server], "condition": only}
    _grant_in_bucket(cloud, place.model_bucket, reader)
    with api_client(cloud, "run", "v2") as client:
        services = client.projects().locations().services()
        body = _service(place, model, email, memory_mib, settings)
        container = body["template"]["containers"][0]
        container["image"] = image
        container["startupProbe"] = _probe("/health/ready", failures=startup_seconds, period=1, timeout=1)
        body["template"] |= {"labels": dict(labels)} if labels else {}
        services.create(parent=name.partition("/services/")[0], serviceId=service_id, body=body).execute()
        callers = [releaser, *invokers]
        _grant(services, name, {"roles/run.developer": [releaser], "roles/run.invoker": callers})
    return str(cloud.resources(SERVICES)[name]["uri"])


def _service(place: Environment, model: str, email: str, memory_mib: int, settings: Mapping[str, str]) -> Json:
    """Return the service of infra/endpoint/service.tf without what varies, all other variables at their defaults."""
    bodies_mib = (memory_mib - 320) // 40
    limits = {"MAX_BODY_MB": str(min(16, bodies_mib)), "MAX_IN_FLIGHT_MB": str(bodies_mib)}
    environment = {**limits, **settings, "GOOGLE_CLOUD_PROJECT": place.project, "MODEL_STORE": place.store}
    container = {
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": {
            "cpuIdle": True,
            "limits": {"cpu": "1", "memory": f"{memory_mib}Mi"},
            "startupCpuBoost": True,
        },
        "livenessProbe": _probe("/health/live", failures=3, period=10, timeout=5),
    }
    template = {
        "containers": [container],
        "executionEnvironment": "EXECUTION_ENVIRONMENT_GEN2",
        "maxInstanceRequestConcurrency": 20,
        "scaling": {"maxInstanceCount": 10},
        "serviceAccount": email,
        "timeout": "60s",
    }
    return {"description": f"Predictions of {model}", "ingress": "INGRESS_TRAFFIC_ALL", "template": template}


def _probe(path: str, *, failures: int, period: int, timeout: int) -> Json:
    get = {"httpGet": {"path": path}}
    return {**get, "failureThreshold": failures, "periodSeconds": period, "timeoutSeconds": timeout}


def _only_versions(bucket: str, model: str, title: str) -> Json:
    objects = f"projects/_/buckets/{bucket}/objects/{model}/"
    kind = 'resource.type == "storage.googleapis.com/Object"'
    expression = f'{kind} && resource.name.startsWith("{objects}")'
    return {"title": title, "description": f"Only the versions of {model}", "expression": expression}


def _account(cloud: CloudDouble, email: str) -> str:
    """Make a service account; return it as a member of policies."""
    name, _, domain = email.partition("@")
    project = f"projects/{domain.partition('.')[0]}"
    with api_client(cloud, "iam", "v1") as client:
        client.projects().serviceAccounts().create(name=project, body={"accountId": name}).execute()
    return f"serviceAccount:{email}"


def _grant(resources: Any, name: str, members: Mapping[str, list[str]]) -> None:
    """Add bindings to the policy of a resource."""
    bindings = [{"role": role, "members": those} for role, those in members.items()]
    policy = resources.getIamPolicy(resource=name).execute()
    policy["bindings"] = [*policy.get("bindings", ()), *bindings]
    resources.setIamPolicy(resource=name, body={"policy": policy}).execute()


def _grant_in_bucket(cloud: CloudDouble, name: str, binding: Json) -> None:
    with api_client(cloud, "storage", "v1") as client:
        policy = client.buckets().getIamPolicy(bucket=name, optionsRequestedPolicyVersion=3).execute()
        policy = {**policy, "version": 3, "bindings": [*policy["bindings"], binding]}
        client.buckets().setIamPolicy(bucket=name, body=policy).execute()
