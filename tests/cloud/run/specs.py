"""What a revision's template, complete as it is kept, asks of its instances; what the double cannot do is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.cloud.errors import unimplemented
from tests.cloud.instants import read_duration
from tests.cloud.run.probes import Probe
from tests.cloud.run.secrets import SecretVariable, secret_variables
from tests.cloud.run.template import default_startup, quantity
from tests.cloud.schemas import Json

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
    secrets: tuple[SecretVariable, ...]
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
    limits = container["resources"]["limits"]
    port = _port(container)
    return Spec(
        image=container["image"],
        container=container.get("name") or f"{service}-1",
        command=tuple(container.get("command", ())),
        arguments=tuple(container.get("args", ())),
        environment={one["name"]: one.get("value", "") for one in container.get("env", ()) if "valueSource" not in one},
        secrets=secret_variables(container),
        port=port,
        startup=_probe(container["startupProbe"], port),
        liveness=_probe(container["livenessProbe"], port) if "livenessProbe" in container else None,
        checked=not template.get("healthCheckDisabled", False),
        concurrency=template["maxInstanceRequestConcurrency"],
        timeout_seconds=read_duration(template["timeout"]),
        cpu=quantity(limits["cpu"]),
        memory_bytes=int(quantity(limits["memory"])),
        service_account=template["serviceAccount"],
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
    port: Json = container["ports"][0]
    if port["name"] != "http1":
        raise unimplemented("HTTP/2 to the container")
    return int(port["containerPort"])


def _probe(probe: Json, port: int) -> Probe:
    if "grpc" in probe:
        raise unimplemented("gRPC probes")
    get = probe.get("httpGet")
    if (probe["tcpSocket"] if get is None else get)["port"] != port:
        raise unimplemented("probes of another port than the container's")
    return Probe(
        path=None if get is None else get["path"],
        headers={header["name"]: header.get("value", "") for header in (get or {}).get("httpHeaders", ())},
        initial_delay_seconds=probe.get("initialDelaySeconds", 0),
        period_seconds=probe["periodSeconds"],
        timeout_seconds=probe["timeoutSeconds"],
        failure_threshold=probe["failureThreshold"],
        port=port,
        default=probe == default_startup(port),
    )
