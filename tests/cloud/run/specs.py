"""What a revision's template asks of its instances, with Cloud Run's defaults; what the double cannot do is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.cloud.errors import invalid, unimplemented
from tests.cloud.run.probes import Probe, default_startup
from tests.cloud.schemas import Json

DEFAULT_PORT = 8080
DEFAULT_CONCURRENCY = 80
DEFAULT_TIMEOUT_SECONDS = 300.0
DEFAULT_CPU = "1"
DEFAULT_MEMORY = "512Mi"
UNITS = {"": 1, "m": 1e-3, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
# Each would change what an instance is or sees; whoever asks for one shall hear that it is not there.
UNIMPLEMENTED = ("nodeSelector", "sandboxes", "serviceMesh", "sessionAffinity", "volumes", "workloadIdentityConfig")
UNIMPLEMENTED_IN_CONTAINERS = ("readinessProbe", "sandboxLauncher", "sourceCode", "volumeMounts", "workingDir")


@dataclass(frozen=True)
class Spec:
    """One container, as a template declares it."""

    image: str
    container: str
    command: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    port: int
    startup: Probe
    liveness: Probe | None
    checked: bool
    concurrency: int
    timeout_seconds: float
    cpu: float
    memory_bytes: int
    service_account: str


def read_template(template: Json, service: str) -> Spec:
    """Return what a template asks for; raises CloudError: 501 for what the double does not do."""
    container = _only_container(template)
    limits = container.get("resources", {}).get("limits", {})
    port = _port(container)
    cpu = _quantity(limits.get("cpu", DEFAULT_CPU))
    return Spec(
        image=container["image"],
        container=container.get("name") or f"{service}-1",
        command=tuple(container.get("command", ())),
        arguments=tuple(container.get("args", ())),
        environment=dict(map(_variable, container.get("env", ()))),
        port=port,
        startup=_probe(container["startupProbe"], port) if "startupProbe" in container else default_startup(port),
        liveness=_probe(container["livenessProbe"], port) if "livenessProbe" in container else None,
        checked=not template.get("healthCheckDisabled", False),
        concurrency=template.get("maxInstanceRequestConcurrency") or (DEFAULT_CONCURRENCY if cpu >= 1 else 1),
        timeout_seconds=_seconds(template.get("timeout")) or DEFAULT_TIMEOUT_SECONDS,
        cpu=cpu,
        memory_bytes=int(_quantity(limits.get("memory", DEFAULT_MEMORY))),
        service_account=template.get("serviceAccount", ""),
    )


def _only_container(template: Json) -> Json:
    for name in UNIMPLEMENTED:
        if template.get(name):
            raise unimplemented(f"the template's {name}")
    containers = template["containers"]
    if len(containers) != 1:
        raise unimplemented("sidecars")
    for name in UNIMPLEMENTED_IN_CONTAINERS:
        if containers[0].get(name):
            raise unimplemented(f"a container's {name}")
    container: Json = containers[0]
    return container


def _port(container: Json) -> int:
    ports = container.get("ports") or [{}]
    if ports[0].get("name", "http1") not in ("", "http1"):
        raise unimplemented("HTTP/2 to the container")
    return ports[0].get("containerPort") or DEFAULT_PORT


def _variable(variable: Json) -> tuple[str, str]:
    if "valueSource" in variable:
        raise unimplemented("environment variables from secrets")
    return variable["name"], variable.get("value", "")


def _probe(probe: Json, port: int) -> Probe:
    if "grpc" in probe:
        raise unimplemented("gRPC probes")
    get = probe.get("httpGet")
    asked = (get if get is not None else probe.get("tcpSocket", {})).get("port") or port
    if asked != port:
        raise unimplemented("probes of another port than the container's")
    return Probe(
        path=None if get is None else get.get("path") or "/",
        headers={header["name"]: header.get("value", "") for header in (get or {}).get("httpHeaders", ())},
        initial_delay_seconds=probe.get("initialDelaySeconds", 0),
        period_seconds=probe.get("periodSeconds") or 10,
        timeout_seconds=probe.get("timeoutSeconds") or 1,
        failure_threshold=probe.get("failureThreshold") or 3,
        port=port,
        default=probe == _default_startup_json(port),
    )


def _default_startup_json(port: int) -> Json:
    """Return what Cloud Run fills in where no startup probe is declared, as it comes back with the next update."""
    return {"timeoutSeconds": 240, "periodSeconds": 240, "failureThreshold": 1, "tcpSocket": {"port": port}}


def _seconds(duration: str | None) -> float:
    return float(duration.removesuffix("s")) if duration else 0.0


def _quantity(text: Any) -> float:
    """Read a quantity as Kubernetes writes it: 512Mi, 1Gi, 2, 500m."""
    found = re.fullmatch(rf"(\d+(?:\.\d+)?)({'|'.join(UNITS)})", str(text))
    if found is None:
        raise invalid(f"A quantity such as 2, 500m or 512Mi is expected, found: {text}")
    return float(found[1]) * UNITS[found[2]]
