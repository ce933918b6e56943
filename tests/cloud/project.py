"""The one project of the double: its number, the APIs that are enabled, and every resource outside Cloud Storage."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.cloud.errors import NotEnabled, denied
from tests.cloud.schemas import Json

# What a project made in the console has: https://cloud.google.com/service-usage/docs/enabled-service#default
FRESH_APIS = frozenset(
    {
        "analyticshub.googleapis.com",
        "bigquery.googleapis.com",
        "bigqueryconnection.googleapis.com",
        "bigquerydatapolicy.googleapis.com",
        "bigquerydatatransfer.googleapis.com",
        "bigquerymigration.googleapis.com",
        "bigqueryreservation.googleapis.com",
        "bigquerystorage.googleapis.com",
        "cloudapis.googleapis.com",
        "cloudtrace.googleapis.com",
        "dataform.googleapis.com",
        "dataplex.googleapis.com",
        "datastore.googleapis.com",
        "logging.googleapis.com",
        "monitoring.googleapis.com",
        "servicemanagement.googleapis.com",
        "serviceusage.googleapis.com",
        "sql-component.googleapis.com",
        "storage-api.googleapis.com",
        "storage-component.googleapis.com",
        "storage.googleapis.com",
        "telemetry.googleapis.com",
    }
)
PROJECT = re.compile(r"(?:^|(?<=/))projects/([^/:]+)")


@dataclass
class Project:
    """Everything that the services share; whoever changes it holds `lock`.

    enabled: APIs by host. policies: IAM policies by full resource name, `//run.googleapis.com/projects/...`.
    collections: the prefixes of the collections that there are. agents: service agents that were made when first used.
    """

    id: str
    billing_account: str = "012345-6789AB-CDEF01"
    enabled: set[str] = field(default_factory=set)
    created: str = field(default_factory=lambda: now())
    lock: threading.RLock = field(default_factory=threading.RLock)
    operations: dict[str, Json] = field(default_factory=dict)
    policies: dict[str, Json] = field(default_factory=dict)
    collections: set[str] = field(default_factory=set)
    agents: set[str] = field(default_factory=set)
    _resources: defaultdict[str, dict[str, Json]] = field(default_factory=lambda: defaultdict(dict))
    _held: defaultdict[str, threading.RLock] = field(default_factory=lambda: defaultdict(threading.RLock))

    @property
    def number(self) -> str:
        """The number that stands for the project's id."""
        return project_number(self.id)

    def agent(self, name: str) -> str:
        """Return the e-mail address of a Google service agent, for example of `gcp-sa-cloudbuild`."""
        return service_agent(self.id, name)

    def resources(self, collection: str) -> dict[str, Json]:
        """Return the resources of a collection by their full names; changing it changes the project."""
        return self._resources[collection]

    def get(self, collection: str, name: str) -> Json | None:
        """Return a copy of one resource, or None."""
        return copy.deepcopy(self._resources[collection].get(name))

    def below(self, name: str) -> list[tuple[str, str]]:
        """Return collection and name of every resource whose name goes on from this one."""
        return [
            (kind, known) for kind, all_ in self._resources.items() for known in all_ if known.startswith(f"{name}/")
        ]

    @contextlib.contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Let one request at a time change a resource, while others are free to go on."""
        with self.lock:
            held = self._held[name]
        with held:
            yield

    def canonical(self, name: str, api: str) -> str:
        """Return a resource's name with the project's id in the place of its number.

        Raises CloudError: 403 for another project, as Google answers without telling whether that exists.
        """
        for found in PROJECT.findall(name):
            if found not in (self.id, self.number, "_", "-"):
                raise denied(
                    f"Permission denied on resource project {found}.",
                    error_info("CONSUMER_INVALID", service=api, consumer=f"projects/{found}"),
                )
        return PROJECT.sub(lambda found: "projects/_" if found[1] == "_" else f"projects/{self.id}", name)

    def check_enabled(self, api: str, consumer: str | None = None) -> None:
        """Refuse a call to an API that is not enabled.

        Raises CloudError: 403 SERVICE_DISABLED, with the address where a person enables it.
        """
        if api in self.enabled and consumer is None:
            return
        number = consumer or self.number
        address = f"https://console.developers.google.com/apis/api/{api}/overview?project={number}"
        raise NotEnabled(
            f"{api} has not been used in project {number} before or it is disabled. Enable it by visiting {address} "
            "then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our "
            "systems and retry.",
            error_info("SERVICE_DISABLED", service=api, consumer=f"projects/{number}", containerInfo=number),
        )


def error_info(reason: str, **metadata: str) -> Json:
    """Return the detail of an error that programs read."""
    kind = "type.googleapis.com/google.rpc.ErrorInfo"
    return {"@type": kind, "reason": reason, "domain": "googleapis.com", "metadata": metadata}


def now() -> str:
    """Return the present as the newer APIs write it."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def project_number(project: str) -> str:
    """Return the number that stands for a project id, always the same one."""
    return str(10**11 + int(hashlib.sha256(project.encode()).hexdigest(), 16) % 10**11)


def service_agent(project: str, name: str) -> str:
    """Return the e-mail address of a Google service agent in a project, by the project's id."""
    return f"service-{project_number(project)}@{name}.iam.gserviceaccount.com"


def digest(*values: Any, length: int = 16) -> str:
    """Return hexadecimal digits that stand for values: etags, generated ids."""
    return hashlib.sha256(repr(values).encode()).hexdigest()[:length]


def apis_of(names: Iterable[str] | None, known: Iterable[str]) -> set[str]:
    """Return the APIs to start with: the ones named, or all that are known."""
    return set(known) | FRESH_APIS if names is None else set(names)
